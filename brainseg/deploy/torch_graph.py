"""An exported network as a torch module: what changes its weights by what they do runs on it.

It takes float graphs and those with Q and DQ. There, quantizing and dequantizing is rounding to the
same steps, through which gradients pass unchanged within the range (straight-through estimator,
arXiv:1308.3432), so that the module computes what the file does, and can be trained.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper
from torch import Tensor, nn

from brainseg.deploy.torch_operators import OPERATORS, name_unknown
from brainseg.errors import InputError

QUANTIZED = "_quantized"
"""With this in its name onnxruntime keeps the integers of a weight or bias."""

COUNTS = "/steps"
"""With this in its name a buffer tells into how many steps the largest weight of a channel goes."""

_ROUNDING = ("QuantizeLinear", "DequantizeLinear")

_LIMIT = 127
"""The largest integer of weights in 8 bits that are all zero."""

_SMALLEST = 1e-20
"""A weight that might as well be zero, but whose steps have an inverse in float."""


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
            InputError: it holds an operator, or a form of one, that is not known here.
        """
        super().__init__()
        graph = ir.from_proto(model).graph
        self.steps = [_read_step(node) for node in graph]
        computed = [step for step in self.steps if step.kind not in _ROUNDING]
        unknown = {name_unknown(step.kind, step.attributes, step.inputs) for step in computed}
        if names := sorted(name for name in unknown if name is not None):
            raise InputError(
                f"The network has operators that cannot be run in torch here: {', '.join(names)}. "
                "--correct-bias, --learn-rounding, --weight-bits mixed and int8_qat need that; "
                "leave them out."
            )
        (self.image,) = (value.name or "" for value in graph.inputs)
        last = next(step for step in self.steps if step.output == graph.outputs[0].name)
        self.logits = last.output
        if last.kind == "Sigmoid":
            self.logits = last.inputs[0]
            self.steps.remove(last)
        self._givers = {step.output: step for step in self.steps}
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
        return self.get_buffer(_constant_key(name))

    def fitted(self) -> dict[str, NDArray[np.float32]]:
        """Weights and biases in float, by the name of the tensor in the float network."""
        kept = (self.weights, self.biases)
        return {
            name: found[key].detach().cpu().numpy()
            for name, key in self._names.items()
            for found in kept
            if key in found
        }

    def giver(self, name: str) -> Step | None:
        """The step that computes a value; `None` of the image and of constants."""
        return self._givers.get(name)

    def weight_of(self, step: Step) -> str | None:
        """Name of the weight of a convolution in 8 bits; `None` of any other step."""
        giver = self.giver(step.inputs[1]) if step.kind == "Conv" else None
        if giver is None or giver.kind != "DequantizeLinear":
            return None
        return giver.inputs[0].removesuffix(QUANTIZED)

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
        largest = _largest(self.weight(name)).clamp(min=_SMALLEST)
        return largest / self.constant(name + COUNTS)

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
                limit = self._limits[name] = int(np.abs(integers).max()) or _LIMIT
                largest = _largest(self.weight(name))
                counts = torch.where(largest > 0, largest / _tensor(scale), limit)
                self._keep_constant(name + COUNTS, counts)
        for step in self.steps:
            if step.kind == "Conv" and len(step.inputs) > 2 and step.inputs[2] in arrays:
                self._keep(self.biases, step.inputs[2], arrays.pop(step.inputs[2]))
        for name, array in arrays.items():
            self._keep_constant(name, _tensor(array))

    def _keep_constant(self, name: str, value: Tensor) -> None:
        self.register_buffer(_constant_key(name), value, persistent=False)


def _largest(weight: Tensor) -> Tensor:
    """Magnitude in each output channel."""
    return weight.flatten(1).abs().amax(1)


def _key(name: str) -> str:
    return name.replace(".", "/")


def _constant_key(name: str) -> str:
    """Not the name of a method, whatever the file calls it."""
    return f"={_key(name)}"


def _tensor(array: Any) -> Tensor:
    return torch.from_numpy(np.array(array))


def _read_step(node: ir.Node) -> Step:
    inputs = tuple("" if value is None else value.name or "" for value in node.inputs)
    attributes = {name: each.value for name, each in node.attributes.items()}
    return Step(node.name or "", node.op_type, inputs, node.outputs[0].name or "", attributes)
