"""Rewrites of an exported network that let more of it be quantized: graph in, new graph out.

The first three change no value beyond float rounding; `store_weights` is itself a quantization.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Array = NDArray[Any]
Replacement = tuple[list[NodeProto], dict[str, Array]]
"""Nodes that take the place of one, and the constants that they need."""

STAYS_FLOAT = ".float_"
"""In the names of nodes that OpenVINO cannot take in 8 bits: four scales, shuffled into one."""

MANY_WEIGHTS = 1_000_000
"""Weights of a transposed convolution from which the file's size counts more than its speed."""

STORED_FROM = 1024
"""Elements from which a weight is stored in 8 bits: smaller ones weigh nothing."""


def batch_norm_to_depthwise(model: ModelProto) -> ModelProto:
    """Write every BatchNormalization as a depthwise 1×1 convolution.

    A norm that no convolution precedes (ResNetV2's pre-activation) cannot fold into one, and no
    runtime has an 8-bit kernel for it: it would stay a float island between 8-bit convolutions.
    """

    def rewrite(node: NodeProto, constants: dict[str, Array]) -> Replacement | None:
        if node.op_type != "BatchNormalization":
            return None
        gain, bias, mean, variance = (constants[name] for name in node.input[1:])
        slope = gain / np.sqrt(variance + _attributes(node).get("epsilon", 1e-5))
        weight, offset = f"{node.name}.weight", f"{node.name}.bias"
        convolution = helper.make_node(
            "Conv",
            [node.input[0], weight, offset],
            node.output[:1],
            name=node.name,
            kernel_shape=[1, 1],
            group=len(slope),
        )
        arrays = {weight: slope.reshape(-1, 1, 1, 1), offset: bias - mean * slope}
        return [convolution], {name: array.astype(np.float32) for name, array in arrays.items()}

    return _rewrite(model, rewrite)


def transposed_to_convolution(model: ModelProto) -> ModelProto:
    """Write every transposed convolution that doubles the size as ordinary ones + DepthToSpace.

    A 3×3 stride-2 transposed convolution gives each of the four phases of its output (even or odd
    row, even or odd column) from a 2×2 neighbourhood. Where its weights are many, four
    convolutions hold exactly its nine taps (1×1, 1×2, 2×1, 2×2). Elsewhere one 2×2 convolution to
    4·C channels is faster; seven of its sixteen taps are zero.
    """

    def rewrite(node: NodeProto, constants: dict[str, Array]) -> Replacement | None:
        if node.op_type != "ConvTranspose" or not _doubles(node):
            return None
        weight = constants[node.input[1]]
        bias = constants[node.input[2]] if len(node.input) > 2 else np.zeros(weight.shape[1])
        bias = bias.astype(np.float32)
        return (_four_phases if weight.size >= MANY_WEIGHTS else _one_convolution)(
            node, weight, bias
        )

    return _rewrite(model, rewrite)


def reduce_to_global_pool(model: ModelProto) -> ModelProto:
    """Write means and maxima over height and width as global pooling.

    GlobalAveragePool has an 8-bit kernel, ReduceMean has none, and neither Reduce keeps the
    blocked layout of its neighbours.
    """
    pools = {"ReduceMean": "GlobalAveragePool", "ReduceMax": "GlobalMaxPool"}

    def rewrite(node: NodeProto, constants: dict[str, Array]) -> Replacement | None:
        if node.op_type not in pools or not _attributes(node).get("keepdims", 1):
            return None
        axes = constants[node.input[1]].tolist() if len(node.input) > 1 else []
        if sorted(axis % 4 for axis in axes) != [2, 3]:
            return None
        pool = helper.make_node(
            pools[node.op_type], node.input[:1], node.output, name=f"{node.name}.pool"
        )
        return [pool], {}

    return _rewrite(model, rewrite)


def store_weights(model: ModelProto, *, per_channel: bool = False) -> ModelProto:
    """Store the large float weights as int8, and compute the float ones from them at load.

    Written as Cast, Sub (the zero point) and Mul (the scale), which runtimes fold into constants
    when they load the file: it is a quarter of the size, and as fast as fp32. DequantizeLinear
    would not be folded, and would round the zero point.

    Args:
        model: with float weights of convolutions.
        per_channel: `False` is the paper's Eq. 14-15, one range [w_min, w_max] a tensor and a zero
            point that is not a whole number. `True` is symmetric with one scale per output
            channel, which halves the error.
    """
    constants, added = _constants(model), dict[str, Array]()
    outputs = {
        node.input[1]: 1 if node.op_type == "ConvTranspose" else 0
        for node in model.graph.node
        if node.op_type in ("Conv", "ConvTranspose")
    }
    nodes: list[NodeProto] = []
    for name, axis in outputs.items():
        weight = constants.get(name)
        if weight is None or weight.dtype != np.float32 or weight.size < STORED_FROM:
            continue
        integers, scale, zero = (
            symmetric_per_channel(weight, axis) if per_channel else asymmetric(weight)
        )
        added |= {f"{name}.int8": integers, f"{name}.scale": scale}
        source = f"{name}.float"
        nodes.append(helper.make_node("Cast", [f"{name}.int8"], [source], to=TensorProto.FLOAT))
        if zero is not None:
            added[f"{name}.zero"] = zero
            nodes.append(helper.make_node("Sub", [source, f"{name}.zero"], [f"{name}.centred"]))
            source = f"{name}.centred"
        nodes.append(helper.make_node("Mul", [source, f"{name}.scale"], [name]))
    return _rebuild(model, [*nodes, *model.graph.node], added)


def asymmetric(weight: Array) -> tuple[Array, Array, Array]:
    """Eq. 14: map [w_min, w_max] to [-127, 127].

    Returns:
        Integers, scale and (float) zero point: `(integers - zero) · scale` is Eq. 15.
    """
    low, high = float(weight.min()), float(weight.max())
    scale = (high - low) / 254 or 1.0
    zero = -127 - low / scale
    integers = np.clip(np.rint(weight / scale + zero), -127, 127).astype(np.int8)
    return integers, np.array(scale, np.float32), np.array(zero, np.float32)


def symmetric_per_channel(weight: Array, axis: int) -> tuple[Array, Array, None]:
    """Map [-m, m] to [-127, 127], m the largest magnitude in each channel along `axis`."""
    others = tuple(set(range(weight.ndim)) - {axis})
    scale = np.abs(weight).max(axis=others, keepdims=True) / 127
    scale = np.where(scale == 0, 1, scale).astype(np.float32)
    return np.rint(weight / scale).astype(np.int8), scale, None


def _four_phases(node: NodeProto, weight: Array, bias: Array) -> Replacement:
    """Output row 2m sees input row m with tap 1; row 2m+1 sees m with tap 2, m+1 with tap 0."""
    taps = {0: [1], 1: [2, 0]}
    nodes: list[NodeProto] = []
    constants: dict[str, Array] = {}
    phases: list[str] = []
    for row, column in _PHASES:
        name = f"{node.name}.phase{row}{column}"
        kernel = weight[:, :, taps[row]][:, :, :, taps[column]].swapaxes(0, 1)
        constants |= {f"{name}.weight": np.ascontiguousarray(kernel), f"{name}.bias": bias}
        phases.append(f"{name}.output")
        nodes.append(
            helper.make_node(
                "Conv",
                [node.input[0], f"{name}.weight", f"{name}.bias"],
                phases[-1:],
                name=name,
                kernel_shape=list(kernel.shape[2:]),
                pads=[0, 0, row, column],
            )
        )
    joined = f"{node.name}{STAYS_FLOAT}phases"
    nodes.append(helper.make_node("Concat", phases, [joined], name=joined, axis=1))
    return [*nodes, _depth_to_space(f"{node.name}{STAYS_FLOAT}shuffle", node, joined)], constants


def _one_convolution(node: NodeProto, weight: Array, bias: Array) -> Replacement:
    inputs, outputs = weight.shape[:2]
    kernel = np.zeros((4, outputs, inputs, 2, 2), np.float32)
    taps = {0: [(0, 1)], 1: [(0, 2), (1, 0)]}  # phase → (offset of the input, tap)
    for phase, (row, column) in enumerate(_PHASES):
        for down, row_tap in taps[row]:
            for right, column_tap in taps[column]:
                kernel[phase, :, :, down, right] = weight[:, :, row_tap, column_tap].T
    name, joined = f"{node.name}.2x2", f"{node.name}.phases"
    convolution = helper.make_node(
        "Conv",
        [node.input[0], f"{name}.weight", f"{name}.bias"],
        [joined],
        name=name,
        kernel_shape=[2, 2],
        pads=[0, 0, 1, 1],
    )
    return [convolution, _depth_to_space(f"{node.name}.shuffle", node, joined)], {
        f"{name}.weight": kernel.reshape(4 * outputs, inputs, 2, 2),
        f"{name}.bias": np.tile(bias, 4),
    }


_PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))


def _depth_to_space(name: str, node: NodeProto, phases: str) -> NodeProto:
    return helper.make_node(
        "DepthToSpace", [phases], node.output, name=name, blocksize=2, mode="DCR"
    )


def _doubles(node: NodeProto) -> bool:
    wanted = {
        "kernel_shape": [3, 3],
        "strides": [2, 2],
        "pads": [1, 1, 1, 1],
        "output_padding": [1, 1],
    }
    given = _attributes(node)
    plain = given.get("group", 1) == 1 and set(given.get("dilations", [1])) == {1}
    return plain and all(given.get(name) == value for name, value in wanted.items())


def _rewrite(
    model: ModelProto, rewrite: Callable[[NodeProto, dict[str, Array]], Replacement | None]
) -> ModelProto:
    """Replace the nodes for which `rewrite` has something."""
    constants, added = _constants(model), dict[str, Array]()
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        replacing, arrays = rewrite(node, constants) or ([node], {})
        nodes += replacing
        added |= arrays
    return _rebuild(model, nodes, added)


def _rebuild(model: ModelProto, nodes: list[NodeProto], added: dict[str, Array]) -> ModelProto:
    """The model with other nodes and more constants; those that no node needs any more go."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.node[:], changed.graph.initializer[:]
    changed.graph.node.extend(nodes)
    needed = {name for node in nodes for name in node.input}
    needed -= {name for node in nodes for name in node.output}
    kept = [each for each in model.graph.initializer if each.name in needed]
    new = [numpy_helper.from_array(array, name) for name, array in added.items()]
    changed.graph.initializer.extend([*kept, *new])
    return changed


def _constants(model: ModelProto) -> dict[str, Array]:
    return {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}
