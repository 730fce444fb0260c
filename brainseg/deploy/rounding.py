"""Learned rounding: whether a weight goes up or down is chosen by what comes out of its layer."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from torch import Tensor, nn

from brainseg.data.parts import spread
from brainseg.deploy.torch_graph import QUANTIZED, Step, TorchGraph
from brainseg.deploy.torch_operators import OPERATORS
from brainseg.terminal import bar

Integers = dict[str, NDArray[np.int8]]
"""By the name of the tensor that holds them in the graph."""

IMAGES = 32
"""Calibration images that go through the network at once."""

BATCH = 8
STEPS = 200
RATE = 0.05
"""Of Adam, for what decides between up and down."""

STRETCH = 0.1
"""How far the sigmoid reaches beyond 0 and 1, so that it gets there (paper, Eq. 23)."""

WEIGHT = 0.5
"""Of being undecided, against an error that is 1 where every weight goes to its nearest step."""

SHARPNESS = (20.0, 2.0)
"""Exponent of the regulariser at the start and at the end (paper, Eq. 24)."""


def learn_rounding(
    exact: ModelProto, quantized: ModelProto, images: NDArray[np.float32], seed: int
) -> Integers:
    """Choose for each 8-bit weight of a convolution between the two steps beside it.

    AdaRound (Nagel et al. 2020, arXiv:2004.10568): layer by layer, by gradients, so that the output
    comes close to that of the float network, from inputs that carry the error of the layers before.
    Where that helps nothing on these images, weights stay at the nearest step.

    Args:
        exact: the float network.
        quantized: the same with Q and DQ.
        images: N×1×H×W in [0, 1], for calibration; `IMAGES` of them, evenly spread, are used.
        seed: of the order of images.

    Returns:
        The integers of each weight, for `rewrites.replace_constants`.

    Raises:
        InputError: the network holds an operator that `TorchGraph` does not know.
    """
    batch = torch.from_numpy(images[spread(len(images), IMAGES)])
    float_graph, graph = TorchGraph(exact), TorchGraph(quantized, exact)
    outputs = _Outputs(float_graph, batch)
    chosen: Integers = {}
    order = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for step, values in bar(graph.walk(batch), "Learning to round", total=len(graph.steps)):
            if (name := graph.weight_of(step)) is None:
                continue
            layer = _Layer(graph, step, name, values)
            integers = _fit(layer, outputs.of(step.name), order)
            chosen[f"{name}{QUANTIZED}"] = integers.to(torch.int8).numpy()
            values[step.output] = layer.output(integers)
    return chosen


class _Outputs:
    """What the convolutions of the float network give, computed as far as it is asked for."""

    def __init__(self, graph: TorchGraph, images: Tensor) -> None:
        self._steps: Iterator[tuple[Step, dict[str, Tensor]]] = graph.walk(images)
        self._waiting: dict[str, Tensor] = {}

    def of(self, name: str) -> Tensor:
        """The output of the convolution with this name; it is given once."""
        while name not in self._waiting:
            step, values = next(self._steps)
            if step.kind == "Conv":
                self._waiting[step.name] = values[step.output]
        return self._waiting.pop(name)


class _Layer:
    """A convolution with its inputs, and its weights in steps."""

    def __init__(
        self, graph: TorchGraph, step: Step, name: str, values: Mapping[str, Tensor]
    ) -> None:
        self.step = step
        self.limit = graph.limit(name)
        weight = graph.weight(name)
        self.scale = graph.scale(name).reshape(-1, *[1] * (weight.dim() - 1))
        self.in_steps = weight / self.scale
        self.inputs = values[step.inputs[0]]
        self.bias = graph.bias(step.inputs[2]) if len(step.inputs) > 2 else None

    def output(self, integers: Tensor, rows: Tensor | slice = slice(None)) -> Tensor:
        weight = integers.clamp(-self.limit, self.limit) * self.scale
        return OPERATORS["Conv"](self.step.attributes, self.inputs[rows], weight, self.bias)


def _fit(layer: _Layer, target: Tensor, order: torch.Generator) -> Tensor:
    """The integers of the weights of a layer."""
    nearest = layer.in_steps.round().clamp(-layer.limit, layer.limit)
    error = _error(layer.output(nearest), target)
    if error == 0:
        return nearest
    floor = layer.in_steps.floor()
    share = (layer.in_steps - floor + STRETCH) / (1 + 2 * STRETCH)
    undecided = nn.Parameter(share.logit())
    optimizer = torch.optim.Adam([undecided], lr=RATE)
    start, end = SHARPNESS
    with torch.enable_grad():
        for number in range(STEPS):
            rows = torch.randperm(len(target), generator=order)[:BATCH]
            up = _up(undecided)
            loss = _error(layer.output(floor + up, rows), target[rows]) / error
            sharpness = start + (end - start) * number / STEPS
            loss += WEIGHT * (1 - (2 * up - 1).abs() ** sharpness).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    found = (floor + _up(undecided).round()).clamp(-layer.limit, layer.limit)
    return found if _error(layer.output(found), target) < error else nearest


def _up(undecided: Tensor) -> Tensor:
    """Between 0, down, and 1, up: the rectified sigmoid of the paper's Eq. 23."""
    return (undecided.sigmoid() * (1 + 2 * STRETCH) - STRETCH).clamp(0, 1)


def _error(found: Tensor, target: Tensor) -> Tensor:
    return (found - target).square().mean()
