"""Products of 8 bits that saturate on x86 without VNNI, and the layers that need 7 bits for it.

There `vpmaddubsw` multiplies unsigned activations by signed weights and adds two neighbours into 16
bits, with saturation. Neighbours are input channels 2i and 2i + 1 at one place of the kernel, as
onnxruntime's MLAS packs them (`ConvSymKernelAvx2.asm`, `QgemmU8S8KernelAvx2.asm`); with an odd
number of channels the last one pairs with the first of the next place. Depthwise convolutions are
computed in 32 bits. With weights of 7 bits nothing can saturate: 2·255·64 < 2¹⁵.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from torch import Tensor
from torch.nn import functional

from brainseg.deploy.static import convolution_weights, insert_qdq, reduce_range
from brainseg.deploy.torch_graph import Step, TorchGraph
from brainseg.deploy.torch_operators import OPERATORS
from brainseg.terminal import bar

LOWEST, HIGHEST = -(2**15), 2**15 - 1

STEPS_OF_7 = 64
"""From zero to the largest weight of a channel in 7 bits."""

IMAGES = 8
"""On which the layers are compared."""


def weights_of_seven(
    bits: str, model: ModelProto, ranges: Path, images: NDArray[np.float32]
) -> list[str]:
    """Names of the weights that get 7 bits.

    Args:
        bits: a value of `weight_bits`: all weights (`7`), none (`8`), those for which 7 bits lose
            less than saturation does (`mixed`), or all of them on a CPU where they do (`auto`).
        model: from `static.rewrite`.
        ranges: from `ranges.calibrate`.
        images: N×1×H×W in [0, 1].
    """
    if bits == "mixed":
        return list(choose_seven(insert_qdq(model, ranges, seven=()), model, images))
    all_of_them = bits == "7" or (bits == "auto" and reduce_range())
    return convolution_weights(model) if all_of_them else []


@torch.no_grad()
def choose_seven(
    model: ModelProto, exact: ModelProto, images: NDArray[np.float32]
) -> dict[str, tuple[float, float]]:
    """The weights that lose more by saturation with 8 bits than by rounding to 7.

    Args:
        model: with Q and DQ, all weights in 8 bits.
        exact: the float network that it was quantized from.
        images: N×1×H×W in [0, 1]; the first `IMAGES` count.

    Returns:
        Name of the weight → the squared error of its layer with 8 and with 7 bits.
    """
    graph = TorchGraph(model, exact)
    kernels = Kernels(graph)
    errors: dict[str, Tensor] = {}
    for image in bar(torch.from_numpy(images[:IMAGES]), "Comparing 7 and 8 bits"):
        for step, values in graph.walk(image[None]):
            if (lost := kernels.lost(step, values)) is not None:
                name = str(graph.weight_of(step))
                weight = graph.weight(name)
                rounded = graph.rounded(name), _round_to_seven(weight)
                eight, seven = (
                    OPERATORS["Conv"](step.attributes, values[step.inputs[0]], each - weight)
                    for each in rounded
                )
                pair = torch.stack([each.square().sum() for each in (eight + lost, seven)])
                errors[name] = errors.get(name, 0) + pair
    found = {name: (float(pair[0]), float(pair[1])) for name, pair in errors.items()}
    return {name: pair for name, pair in found.items() if pair[0] > pair[1]}


@torch.no_grad()
def predict_saturated(model: ModelProto, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities N×1×H×W where sums saturate.

    Args:
        model: with Q and DQ.
        images: N×1×H×W in [0, 1].
    """
    graph = TorchGraph(model)
    kernels = Kernels(graph)
    found = []
    for image in bar(torch.from_numpy(images), "Simulating kernels that saturate"):
        values: dict[str, Tensor] = {}
        for step, values in graph.walk(image[None]):
            if (lost := kernels.lost(step, values)) is not None:
                values[step.output] = values[step.output] + lost
        found.append(values[graph.logits].sigmoid())
    return torch.cat(found).numpy()


class Kernels:
    """The saturating convolutions of a network with Q and DQ."""

    def __init__(self, graph: TorchGraph) -> None:
        self._graph = graph

    def lost(self, step: Step, values: Mapping[str, Tensor]) -> Tensor | None:
        """What saturation adds to the output of a convolution, in float.

        `None` where the step is none, or is not in 8 bits, or no sum of it can saturate.
        """
        name = self._graph.weight_of(step)
        if name is None or step.attributes.get("group", 1) > 1:
            return None
        giver = self._graph.giver(step.inputs[0])
        if giver is None or giver.kind != "DequantizeLinear":
            return None
        scale, zero = map(self._graph.constant, giver.inputs[1:])
        step_size = self._graph.scale(name)[:, None, None]
        integers = (self._graph.rounded(name) / step_size[..., None]).round()
        image = (values[step.inputs[0]] / scale).round() + zero
        excess = saturate(image, integers, float(zero), step.attributes)
        if excess is None:
            return None
        return excess.reshape(values[step.output].shape) * scale * step_size


def saturate(
    image: Tensor, weight: Tensor, zero: float, attributes: Mapping[str, Any]
) -> Tensor | None:
    """What saturation adds to the sums of a convolution.

    Args:
        image: whole numbers of 0 to 255, N×C×H×W.
        weight: whole numbers of -128 to 127, M×C×kH×kW.
        zero: the image's zero point, with which it is padded.
        attributes: of the node.

    Returns:
        Whole numbers, N×M×(pixels of the output), or `None` where no sum can saturate.
    """
    pairs = functional.pad(weight.permute(0, 2, 3, 1).flatten(1), (0, weight[0].numel() % 2))
    pairs = pairs.unflatten(1, (-1, 2))
    largest = 255 * pairs.clamp(min=0).sum(2) > HIGHEST
    risky = largest | (255 * pairs.clamp(max=0).sum(2) < LOWEST)
    if not risky.any():
        return None
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    padded = functional.pad(image, (left, right, top, bottom), value=zero)
    columns = functional.unfold(
        padded,
        weight.shape[2:],
        tuple(attributes.get("dilations", (1, 1))),
        stride=tuple(attributes.get("strides", (1, 1))),
    )
    # unfold has the place of the kernel last; MLAS has the channel last.
    places = weight[0, 0].numel()
    order = torch.arange(columns.shape[1]).reshape(-1, places).T.flatten()
    order = functional.pad(order, (0, len(order) % 2)).unflatten(0, (-1, 2))
    excess = torch.zeros(len(image), len(weight), columns.shape[2])
    for channel in risky.any(1).nonzero().flatten().tolist():
        chosen = risky[channel]
        factors, rows = pairs[channel, chosen, :, None], order[chosen]
        sums = columns[:, rows[:, 0]] * factors[:, 0] + columns[:, rows[:, 1]] * factors[:, 1]
        excess[:, channel] = (sums.clamp(LOWEST, HIGHEST) - sums).sum(1)
    return excess


def _round_to_seven(weight: Tensor) -> Tensor:
    largest = weight.abs().amax((1, 2, 3), keepdim=True)
    size = torch.where(largest > 0, largest, 1) / STEPS_OF_7
    return (weight / size).round() * size
