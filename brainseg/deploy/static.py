"""Static 8-bit quantization: ranges measured on calibration images, then Q and DQ around operators.

The graph is rewritten first, so that convolutions fuse with what stands around them.
"""

import tempfile
from collections.abc import Collection
from pathlib import Path

import onnx
from onnx import ModelProto
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from brainseg.deploy.rewrites import (
    STAYS_FLOAT,
    batch_norm_to_depthwise,
    reduce_to_global_pool,
    store_weights,
    transposed_to_convolution,
)
from brainseg.environment import cpu_flags
from brainseg.terminal import quiet

OPERATORS = (
    *("Conv", "Add", "Mul", "Concat", "Sigmoid", "LeakyRelu", "Relu", "MaxPool"),
    *("GlobalAveragePool", "DepthToSpace"),
)
"""Those that have 8-bit kernels; the others stay float."""

REWRITES = (batch_norm_to_depthwise, transposed_to_convolution, reduce_to_global_pool)
"""What makes more of the graph quantizable, in this order."""

WITHOUT_SATURATION = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"}
"""CPU features with which products of 8 bits add up without saturation (else: 7-bit weights)."""


@quiet()
def rewrite(model: ModelProto) -> ModelProto:
    """The fp32 graph in the form that quantizes best; the same function, but for rounding."""
    for change in REWRITES:
        model = change(model)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source.onnx", Path(folder) / "target.onnx"
        onnx.save(model, source)
        # Symbolic shapes need sympy and gain nothing: only the batch is symbolic.
        quant_pre_process(source, target, skip_symbolic_shape=True)
        return _unshare(onnx.load(target))


def quantize_graph(model: ModelProto, ranges: Path, keep_float: Collection[str] = ()) -> ModelProto:
    """`insert_qdq`, and weights of layers that stay float are stored as int8 all the same."""
    return store_weights(insert_qdq(model, ranges, keep_float), per_channel=True)


@quiet()
def insert_qdq(
    model: ModelProto,
    ranges: Path,
    keep_float: Collection[str] = (),
    seven: Collection[str] | None = None,
) -> ModelProto:
    """Quantize weights (per channel) and activations to 8 bits.

    Args:
        model: from `rewrite`.
        ranges: from `ranges.calibrate`.
        keep_float: names of nodes that are not to be quantized.
        seven: names of weights that get 7 bits; by default all of them where this CPU needs it.
    """
    if seven is None:
        seven = convolution_weights(model) if reduce_range() else ()
    excluded = [node.name for node in model.graph.node if _stays_float(node)]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "model.onnx"
        quantize_static(
            model,
            target,
            calibration_cache_path=ranges,
            quant_format=QuantFormat.QDQ,
            # Unsigned activations fuse more on x86: tensors with several consumers included.
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=list(OPERATORS),
            nodes_to_exclude=[*excluded, *keep_float],
            extra_options={
                "TensorQuantOverrides": {
                    name: [{"axis": 0, "reduce_range": True}] for name in seven
                }
            },
        )
        return onnx.load(target)


def convolution_weights(model: ModelProto) -> list[str]:
    """Names of the weights of all convolutions."""
    return [node.input[1] for node in model.graph.node if node.op_type == "Conv"]


def reduce_range() -> bool:
    """Whether this CPU needs 7-bit weights, because sums of 8-bit products would saturate."""
    return not WITHOUT_SATURATION.intersection(cpu_flags())


def _unshare(model: ModelProto) -> ModelProto:
    """Give each convolution weights and a bias of its own, so that they can be fitted to it."""
    arrays, taken = {each.name: each for each in model.graph.initializer}, set()
    for node in model.graph.node:
        for index, name in enumerate(node.input if node.op_type == "Conv" else ()):
            if name in arrays and name in taken:
                own = model.graph.initializer.add()
                own.CopyFrom(arrays[name])
                own.name = node.input[index] = f"{name}.{node.name}"
            taken.add(name)
    return model


def _stays_float(node: onnx.NodeProto) -> bool:
    """The last sigmoid gives the probabilities, which 8 bits would round before the threshold."""
    return STAYS_FLOAT in node.name or "probability" in node.output
