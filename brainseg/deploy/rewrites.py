"""Rewrites of an exported network that let more of it be quantized: graph in, new graph out.

The first three change no value beyond float rounding; `store_weights` is itself a quantization.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper
from onnx_ir.tape import Tape

Array = NDArray[Any]

STAYS_FLOAT = ".float_"
"""In the names of nodes that OpenVINO cannot take in 8 bits: four scales, shuffled into one."""

MANY_WEIGHTS = 1_000_000
"""Weights of a transposed convolution from which the file's size counts more than its speed."""

STORED_FROM = 1024
"""Elements from which a weight is stored in 8 bits: smaller ones weigh nothing."""

OUTPUT_AXIS = {"Conv": 0, "ConvTranspose": 1}
"""Kind of convolution → the axis of its weight that counts output channels."""


def batch_norm_to_depthwise(model: ModelProto) -> ModelProto:
    """Write every BatchNormalization as a depthwise 1×1 convolution.

    A norm that no convolution precedes (ResNetV2's pre-activation) cannot fold into one, and no
    runtime has an 8-bit kernel for it: it would stay a float island between 8-bit convolutions.
    """

    def replace(node: ir.Node, tape: Tape) -> ir.Value:
        gain, bias, mean, variance = map(_read, node.inputs[1:])
        slope = gain / np.sqrt(variance + node.attributes.get_float("epsilon", 1e-5))
        weight, offset = slope.reshape(-1, 1, 1, 1), bias - mean * slope
        return _convolve(tape, node, "", weight, offset, group=len(slope))

    return _rewrite(model, ["BatchNormalization"], replace)


def transposed_to_convolution(model: ModelProto) -> ModelProto:
    """Write every transposed convolution that doubles the size as ordinary ones + DepthToSpace.

    A 3×3 stride-2 transposed convolution gives each of the four phases of its output (even or odd
    row, even or odd column) from a 2×2 neighbourhood. Where its weights are many, four
    convolutions hold exactly its nine taps (1×1, 1×2, 2×1, 2×2). Elsewhere one 2×2 convolution to
    4·C channels is faster; seven of its sixteen taps are zero.
    """

    def replace(node: ir.Node, tape: Tape) -> ir.Value | None:
        if not _doubles(node):
            return None
        weight = _read(node.inputs[1])
        bias = _read(node.inputs[2]) if len(node.inputs) > 2 else np.zeros(weight.shape[1])
        convolve = _four_phases if weight.size >= MANY_WEIGHTS else _one_convolution
        return convolve(node, tape, weight, bias)

    return _rewrite(model, ["ConvTranspose"], replace)


def reduce_to_global_pool(model: ModelProto) -> ModelProto:
    """Write means and maxima over height and width as global pooling.

    GlobalAveragePool has an 8-bit kernel, ReduceMean has none, and neither Reduce keeps the
    blocked layout of its neighbours.
    """
    pools = {"ReduceMean": "GlobalAveragePool", "ReduceMax": "GlobalMaxPool"}

    def replace(node: ir.Node, tape: Tape) -> ir.Value | None:
        axes = _read(node.inputs[1]) if len(node.inputs) > 1 else []
        if not node.attributes.get_int("keepdims", 1) or sorted(a % 4 for a in axes) != [2, 3]:
            return None
        return tape.op(pools[node.op_type], node.inputs[:1], name=f"{node.name}.pool")

    return _rewrite(model, pools, replace)


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
    changed = ir.from_proto(model)
    graph = changed.graph
    for node in list(graph):
        if node.op_type not in OUTPUT_AXIS:
            continue
        stored: Any = node.inputs[1]
        weight, name = _read(stored), stored.name
        if weight is None or weight.dtype != np.float32 or weight.size < STORED_FROM:
            continue
        integers, scale, zero = (
            symmetric_per_channel(weight, OUTPUT_AXIS[node.op_type])
            if per_channel
            else asymmetric(weight)
        )
        tape = Tape(graph)
        value = _constant(tape, f"{name}.int8", integers)
        value = tape.op("Cast", [value], {"to": ir.DataType.FLOAT})
        if zero is not None:
            value = tape.op("Sub", [value, _constant(tape, f"{name}.zero", zero)])
        value = tape.op("Mul", [value, _constant(tape, f"{name}.scale", scale)])
        stored.replace_all_uses_with(value)
        del graph.initializers[name]
        value.name = name
        graph.insert_before(graph[0], tape.nodes)
    return ir.to_proto(changed)


def replace_constants(model: ModelProto, arrays: Mapping[str, Array]) -> ModelProto:
    """A copy of a graph in which the constants of these names are others; other names are none."""
    changed = ModelProto()
    changed.CopyFrom(model)
    for each in changed.graph.initializer:
        if each.name in arrays:
            each.CopyFrom(numpy_helper.from_array(arrays[each.name], each.name))
    return changed


def asymmetric(weight: Array, bits: int = 8) -> tuple[Array, Array, Array]:
    """Eq. 14: map [w_min, w_max] to [-127, 127], or what fewer bits have instead of 127.

    Returns:
        Integers, scale and (float) zero point: `(integers - zero) · scale` is Eq. 15.
    """
    low, high, most = float(weight.min()), float(weight.max()), largest(bits)
    scale = (high - low) / (2 * most) or 1.0
    zero = -most - low / scale
    integers = np.clip(np.rint(weight / scale + zero), -most, most).astype(np.int8)
    return integers, np.array(scale, np.float32), np.array(zero, np.float32)


def symmetric_per_channel(weight: Array, axis: int, bits: int = 8) -> tuple[Array, Array, None]:
    """Map [-m, m] to [-127, 127] (as `asymmetric`), m the largest magnitude along `axis`."""
    others = tuple(set(range(weight.ndim)) - {axis})
    scale = np.abs(weight).max(axis=others, keepdims=True) / largest(bits)
    scale = np.where(scale == 0, 1, scale).astype(np.float32)
    return np.rint(weight / scale).astype(np.int8), scale, None


def largest(bits: int) -> int:
    """The largest integer of so many bits; its negative is the smallest that is used."""
    return 2 ** (bits - 1) - 1


_PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))


def _four_phases(node: ir.Node, tape: Tape, weight: Array, bias: Array) -> ir.Value:
    """Output row 2m sees input row m with tap 1; row 2m+1 sees m with tap 2, m+1 with tap 0."""
    taps = {0: [1], 1: [2, 0]}
    phases = []
    for row, column in _PHASES:
        kernel = weight[:, :, taps[row]][:, :, :, taps[column]].swapaxes(0, 1)
        suffix, pads = f".phase{row}{column}", [0, 0, row, column]
        phases.append(_convolve(tape, node, suffix, kernel, bias, pads=pads))
    joined = tape.op("Concat", phases, {"axis": 1}, name=f"{node.name}{STAYS_FLOAT}phases")
    return _depth_to_space(tape, joined, f"{node.name}{STAYS_FLOAT}shuffle")


def _one_convolution(node: ir.Node, tape: Tape, weight: Array, bias: Array) -> ir.Value:
    inputs, outputs = weight.shape[:2]
    kernels = np.zeros((4, outputs, inputs, 2, 2), np.float32)
    taps = {0: [(0, 1)], 1: [(0, 2), (1, 0)]}  # phase → (offset of the input, tap)
    for phase, (row, column) in enumerate(_PHASES):
        for down, row_tap in taps[row]:
            for right, column_tap in taps[column]:
                kernels[phase, :, :, down, right] = weight[:, :, row_tap, column_tap].T
    kernel = kernels.reshape(4 * outputs, inputs, 2, 2)
    joined = _convolve(tape, node, ".2x2", kernel, np.tile(bias, 4), pads=[0, 0, 1, 1])
    return _depth_to_space(tape, joined, f"{node.name}.shuffle")


def _depth_to_space(tape: Tape, phases: ir.Value, name: str) -> ir.Value:
    return tape.op("DepthToSpace", [phases], {"blocksize": 2, "mode": "DCR"}, name=name)


def _doubles(node: ir.Node) -> bool:
    given = node.attributes
    plain = given.get_int("group", 1) == 1 and set(given.get_ints("dilations", [1])) == {1}
    wanted = {
        "kernel_shape": [3] * 2,
        "strides": [2] * 2,
        "pads": [1] * 4,
        "output_padding": [1] * 2,
    }
    return plain and all(list(given.get_ints(key, ())) == value for key, value in wanted.items())


def _convolve(
    tape: Tape, node: ir.Node, suffix: str, weight: Array, bias: Array, **attributes: Any
) -> ir.Value:
    """A convolution of what `node` takes, named after it."""
    name = f"{node.name}{suffix}"
    arrays = {f"{name}.weight": weight, f"{name}.bias": bias}
    constants = [_constant(tape, key, each.astype(np.float32)) for key, each in arrays.items()]
    attributes["kernel_shape"] = list(weight.shape[2:])
    return tape.op("Conv", [node.inputs[0], *constants], attributes, name=name)


def _rewrite(
    model: ModelProto,
    kinds: Collection[str],
    replace: Callable[[ir.Node, Tape], ir.Value | None],
) -> ModelProto:
    """The model with nodes of `kinds` replaced by what `replace` records, if it gives an output.

    Constants that no node needs any more go.
    """
    changed = ir.from_proto(model)
    graph = changed.graph
    for node in [node for node in graph if node.op_type in kinds]:
        tape = Tape(graph)
        if (output := replace(node, tape)) is not None:
            ir.convenience.replace_nodes_and_values(
                graph, node, [node], tape.nodes, node.outputs[:1], [output]
            )
    for name, constant in list(graph.initializers.items()):
        if not constant.uses():
            del graph.initializers[name]
    return ir.to_proto(changed)


def _read(constant: Any) -> Any:
    """The array of a constant; `None` where the value is computed."""
    return None if constant.const_value is None else constant.const_value.numpy()


def _constant(tape: Tape, name: str, array: Array) -> ir.Value:
    return tape.initializer(ir.tensor(array, name=name))
