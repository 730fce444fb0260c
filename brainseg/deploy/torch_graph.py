"""An exported network as a torch module: what changes its weights by what they do runs on it.

It takes float graphs and those with Q and DQ. There, quantizing and dequantizing is rounding to the
same steps, through which gradients pass unchanged within the range (straight-through estimator,
arXiv:1308.3432), so that the module computes what the file does, and can be trained.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from brainseg.errors import InputError

QUANTIZED = "_quantized"
"""With this in its name onnxruntime keeps the integers of a weight or bias."""

COUNTS = "/steps"
"""With this in its name a buffer tells into how many steps the largest weight of a channel goes."""


class Step(NamedTuple):
    """A node: what it computes from which values."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any]


class TorchGraph(nn.Module):
    """The network of an ONNX file, to its logits.

    Attributes:
        steps: its nodes in the order in which they are computed.
        weights: of convolutions that the file holds in 8 bits, as float: by the name of the tensor,
            with `/` for the dots. Each pass rounds them to as many steps as the file has.
        biases: of all convolutions, in float, likewise.
    """

    def __init__(self, model: ModelProto, exact: ModelProto | None = None) -> None:
        """Read a graph.

        Args:
            model: float or with Q and DQ, from image to probability.
            exact: the float network that `model` was quantized from; without it, its weights are
                those that the file's integers stand for.

        Raises:
            InputError: it holds an operator that is not known here.
        """
        super().__init__()
        graph = ir.from_proto(model).graph
        self.steps = [_read_step(node) for node in graph]
        if unknown := {step.kind for step in self.steps} - {*OPERATORS, *_ROUNDING}:
            raise InputError(
                f"{', '.join(sorted(unknown))}: torch runs no such operator here, so that biases, "
                "rounding and weights cannot be fitted (correct_bias, learn_rounding, int8_qat)."
            )
        (self.image,) = (value.name or "" for value in graph.inputs)
        last = next(step for step in self.steps if step.output == graph.outputs[0].name)
        self.logits = last.inputs[0] if last.kind == "Sigmoid" else last.output
        self.steps.remove(last) if last.kind == "Sigmoid" else None
        self._last_use = {name: step for step in self.steps for name in step.inputs}
        self.weights, self.biases = nn.ParameterDict(), nn.ParameterDict()
        self._limits: dict[str, int] = {}
        self._names: dict[str, str] = {}
        self._read_constants(model, exact)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images N×1×H×W in [0, 1]."""
        *_, (_, values) = self.walk(images)
        return values[self.logits]

    def walk(self, images: Tensor) -> Iterator[tuple[Step, dict[str, Tensor]]]:
        """Compute one step after the other; what no later step needs is gone after the next one.

        Yields:
            Each step and the values that are held, by name, its inputs and its output among them.
            What is put in place of its output there, the later steps take.
        """
        values = {self.image: images}
        for step in self.steps:
            values[step.output] = self._compute(step, values)
            yield step, values
            for name in set(step.inputs) & values.keys():
                if self._last_use[name] is step:
                    del values[name]

    def constant(self, name: str) -> Tensor:
        """An array of the file, such as a scale."""
        return self.get_buffer(_key(name))

    def fitted(self) -> dict[str, NDArray[np.float32]]:
        """Weights and biases in float, by the name of the tensor in the float network."""
        kept = (self.weights, self.biases)
        return {
            name: found[key].detach().cpu().numpy()
            for name, key in self._names.items()
            for found in kept
            if key in found
        }

    def weight(self, name: str) -> Tensor:
        """A weight of `weights`, detached."""
        return self.weights[_key(name)].detach()

    def bias(self, name: str) -> Tensor:
        """A bias of `biases`, detached."""
        return self.biases[_key(name)].detach()

    def rounded(self, name: str) -> Tensor:
        """A weight of `weights` as a pass takes it: rounded to steps of its channels' scales."""
        weight, scale = self.weights[_key(name)], self.scale(name)
        zero = torch.zeros_like(scale, dtype=torch.int32)
        limit = self.limit(name)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -limit, limit)

    def scale(self, name: str) -> Tensor:
        """Size of a step in each output channel of a weight, in proportion to its largest value."""
        return _largest(self.weight(name)) / self.get_buffer(_key(name) + COUNTS)

    def limit(self, name: str) -> int:
        """The largest integer of a weight, 127 for 8 bits."""
        return self._limits[name]

    def _compute(self, step: Step, values: Mapping[str, Tensor]) -> Tensor:
        if step.kind == "QuantizeLinear":
            scale, zero = map(self.constant, step.inputs[1:])
            value = values[step.inputs[0]].float()
            return torch.fake_quantize_per_tensor_affine(value, scale, zero.int(), 0, 255)
        if step.kind == "DequantizeLinear":
            return self._dequantized(step, values)
        inputs = (
            None if not name else values[name] if name in values else self._fixed(name)
            for name in step.inputs
        )
        return OPERATORS[step.kind](step.attributes, *inputs)

    def _dequantized(self, step: Step, values: Mapping[str, Tensor]) -> Tensor:
        if step.inputs[0] in values:  # was rounded by the QuantizeLinear before it
            return values[step.inputs[0]]
        name = step.inputs[0].removesuffix(QUANTIZED)
        key = _key(name)
        return self.biases[key] if key in self.biases else self.rounded(name)

    def _fixed(self, name: str) -> Tensor:
        key = _key(name)
        return self.biases[key] if key in self.biases else self.constant(name)

    def _keep(self, found: nn.ParameterDict, name: str, value: NDArray[Any]) -> None:
        self._names[name] = _key(name)
        found[_key(name)] = nn.Parameter(_tensor(value.astype(np.float32)))

    def _read_constants(self, model: ModelProto, exact: ModelProto | None) -> None:
        arrays = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
        floats = {each.name: each for each in exact.graph.initializer} if exact else {}
        for step in self.steps:
            if step.kind == "DequantizeLinear" and step.inputs[0] in arrays:
                name = step.inputs[0].removesuffix(QUANTIZED)
                integers, scale = arrays.pop(step.inputs[0]), arrays[step.inputs[1]]
                value = integers * scale.reshape(-1, *[1] * (integers.ndim - 1))
                if name in floats:
                    value = numpy_helper.to_array(floats[name])
                if integers.dtype == np.int32:
                    self._keep(self.biases, name, value)
                    continue
                self._keep(self.weights, name, value)
                self._limits[name] = int(np.abs(integers).max())
                counts = _largest(self.weight(name)) / _tensor(scale)
                self.register_buffer(_key(name) + COUNTS, counts, persistent=False)
        for step in self.steps:
            if step.kind == "Conv" and len(step.inputs) > 2 and step.inputs[2] in arrays:
                self._keep(self.biases, step.inputs[2], arrays.pop(step.inputs[2]))
        for name, array in arrays.items():
            self.register_buffer(_key(name), _tensor(array), persistent=False)


def _largest(weight: Tensor) -> Tensor:
    """Magnitude in each output channel; of one without weights, of the smallest number."""
    return weight.flatten(1).abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny)


def _key(name: str) -> str:
    return name.replace(".", "/")


def _tensor(array: Any) -> Tensor:
    return torch.from_numpy(np.array(array))


def _read_step(node: ir.Node) -> Step:
    inputs = tuple("" if value is None else value.name or "" for value in node.inputs)
    attributes = {name: each.value for name, each in node.attributes.items()}
    return Step(node.name or "", node.op_type, inputs, node.outputs[0].name or "", attributes)


def _convolve(
    given: Mapping[str, Any], image: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    top, left, bottom, right = given.get("pads", (0, 0, 0, 0))
    if (top, left) == (bottom, right):
        padding = (top, left)
    else:
        image, padding = functional.pad(image, (left, right, top, bottom)), (0, 0)
    return functional.conv2d(
        image,
        weight,
        bias,
        tuple(given.get("strides", (1, 1))),
        padding,
        tuple(given.get("dilations", (1, 1))),
        given.get("group", 1),
    )


def _max_pool(given: Mapping[str, Any], image: Tensor) -> Tensor:
    top, left, bottom, right = given.get("pads", (0, 0, 0, 0))
    padded = functional.pad(image, (left, right, top, bottom), value=-torch.inf)
    return functional.max_pool2d(
        padded, tuple(given["kernel_shape"]), tuple(given.get("strides", (1, 1)))
    )


def _depth_to_space(given: Mapping[str, Any], image: Tensor) -> Tensor:
    """Pixels first (DCR): torch's pixel_shuffle takes them the other way round (CRD)."""
    size = given["blocksize"]
    if given.get("mode", "DCR") == "DCR":
        count, channels, height, width = image.shape
        turned = image.reshape(count, size * size, channels // size**2, height, width)
        image = turned.transpose(1, 2).reshape(image.shape)
    return functional.pixel_shuffle(image, size)


def _enlarge(
    given: Mapping[str, Any], image: Tensor, _: Any, scales: Tensor | None = None, *size: Tensor
) -> Tensor:
    shape = size[0].tolist()[2:] if size else None
    factors = None if size or scales is None else scales.tolist()[2:]
    return functional.interpolate(image, shape, factors, mode=given.get("mode", "nearest"))


OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Conv": _convolve,
    "MaxPool": _max_pool,
    "DepthToSpace": _depth_to_space,
    "Resize": _enlarge,
    "Relu": lambda _, x: functional.relu(x),
    "LeakyRelu": lambda given, x: functional.leaky_relu(x, given.get("alpha", 0.01)),
    "Sigmoid": lambda _, x: x.sigmoid(),
    "Add": lambda _, x, y: x + y,
    "Sub": lambda _, x, y: x - y,
    "Mul": lambda _, x, y: x * y,
    "Div": lambda _, x, y: x / y,
    "Concat": lambda given, *parts: torch.cat(parts, given["axis"]),
    "GlobalAveragePool": lambda _, x: x.mean((2, 3), keepdim=True),
    "GlobalMaxPool": lambda _, x: x.amax((2, 3), keepdim=True),
    "ReduceMean": lambda given, x, axes: x.mean(axes.tolist(), bool(given.get("keepdims", 1))),
    "ReduceMax": lambda given, x, axes: x.amax(axes.tolist(), bool(given.get("keepdims", 1))),
}
"""Operator of ONNX → its attributes and inputs to its output."""

_ROUNDING = ("QuantizeLinear", "DequantizeLinear")
