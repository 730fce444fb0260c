"""Cross-layer equalization: no channel of an activation takes the levels of the others.

Where a convolution leads to others through nothing but a rectifier, a channel can be made smaller
on the way and larger on arrival: the function stays the same, but for float rounding (Nagel et al.,
arXiv:1906.04721, Eq. 11). As each output channel has a scale of its own for its weights, not the
weights of the first convolution are made equal to those of the next, but the activations between
them (as in SmoothQuant with α = ½, arXiv:2211.10438).
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import ModelProto

from brainseg.deploy.ranges import observe

Array = NDArray[Any]

RECTIFIERS = ("Relu", "LeakyRelu")
"""For these f(s·x) = s·f(x) for every s > 0."""


class Chain(NamedTuple):
    """A convolution and what it leads to.

    Attributes:
        first: has the channels along axis 0 of its weight.
        middle: name of the activation between them.
        others: the convolutions that take it, at least one.
    """

    first: ir.Node
    middle: str
    others: list[ir.Node]


def equalize(model: ModelProto, images: NDArray[np.float32]) -> ModelProto:
    """Scale the channels between convolutions so that activations and weights share the burden.

    Channel c of an activation becomes √(a·w) where its largest magnitude was a, and w the largest
    magnitude that the next weights have for it, in rows divided by their own largest.

    Args:
        model: from `static.rewrite`.
        images: N×1×H×W in [0, 1]; channels that they leave at zero are not scaled.
    """
    magnitudes = measure_channels(model, images)
    changed = ir.from_proto(model)
    for first, middle, others in find_chains(changed.graph):
        before = magnitudes[middle]
        after = np.max([weigh_inputs(node) for node in others], axis=0)
        there = (before > 0) & (after > 0)
        factor = np.sqrt(np.divide(before, after, out=np.ones_like(before), where=there))
        for constant in first.inputs[1:]:
            _multiply(constant, 1 / factor, axis=0)
        for node in others:
            _multiply(node.inputs[1], factor, _input_axis(node))
    return ir.to_proto(changed)


class _Magnitudes:
    """Keeps the largest magnitude in each channel of each activation N×C×H×W."""

    def __init__(self) -> None:
        self.found: dict[str, Array] = {}

    def collect(self, name_to_arr: Mapping[str, list[Array]]) -> None:
        for name, arrays in name_to_arr.items():
            largest = np.max([np.abs(array).max(axis=(0, 2, 3)) for array in arrays], axis=0)
            self.found[name] = np.maximum(self.found.get(name, 0), largest)


def measure_channels(model: ModelProto, images: NDArray[np.float32]) -> dict[str, Array]:
    """Name of an activation → the largest magnitude of each channel on images N×1×H×W."""
    magnitudes = _Magnitudes()
    observe(model, images, magnitudes)
    return magnitudes.found


def find_chains(graph: ir.Graph) -> Iterator[Chain]:
    """Convolutions whose output, rectified or not, goes to convolutions and nowhere else."""
    for node in graph:
        if not _is_simple(node):
            continue
        middle = node.outputs[0]
        users = middle.consumers()
        if [user.op_type for user in users] in [[kind] for kind in RECTIFIERS]:
            middle = users[0].outputs[0]
            users = middle.consumers()
        if users and all(_is_simple(user) and user.inputs[0] is middle for user in users):
            yield Chain(node, str(middle.name), list(users))


def weigh_inputs(node: ir.Node) -> Array:
    """The largest weight of each input channel, in rows that are divided by their own largest."""
    weight = np.abs(_read(node.inputs[1]))
    largest = weight.max(axis=(1, 2, 3), keepdims=True)
    axes = tuple({0, 1, 2, 3} - {_input_axis(node)})
    return np.divide(weight, largest, out=np.zeros_like(weight), where=largest > 0).max(axis=axes)


def _is_simple(node: ir.Node) -> bool:
    """Whether it is a convolution, whole or depthwise, with constants that are its own."""
    if node.op_type != "Conv":
        return False
    constants = [value for value in node.inputs[1:] if value is not None]
    if any(each.const_value is None or len(each.uses()) > 1 for each in constants):
        return False
    return node.attributes.get_int("group", 1) in (1, len(_read(constants[0])))


def _input_axis(node: ir.Node) -> int:
    """Of the weight; a depthwise convolution has its channels along axis 0 only."""
    return 0 if node.attributes.get_int("group", 1) > 1 else 1


def _multiply(constant: Any, factor: Array, axis: int) -> None:
    array = _read(constant)
    shape = [-1 if each == axis else 1 for each in range(array.ndim)]
    scaled = (array * factor.reshape(shape)).astype(np.float32)
    constant.const_value = ir.tensor(scaled, name=constant.name)


def _read(constant: Any) -> Array:
    array: Array = constant.const_value.numpy()
    return array
