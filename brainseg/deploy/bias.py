"""Bias correction: the mean error that rounding leaves in each channel goes into the biases."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper
from torch import Tensor

from brainseg.data.parts import spread
from brainseg.deploy.rewrites import replace_constants
from brainseg.deploy.torch_graph import QUANTIZED, TorchGraph
from brainseg.terminal import bar

IMAGES = 64
"""As many calibration images go through the network at once: means over all their pixels."""


@torch.inference_mode()
def correct_bias(
    exact: ModelProto, quantized: ModelProto, images: NDArray[np.float32]
) -> ModelProto:
    """Shift biases so that each channel of each convolution has the mean of the float network.

    Convolutions are corrected in the order of the graph, each on what the corrected ones before it
    give (Nagel et al. 2019, arXiv:1906.04721, section 4.2, with means from images as in its
    appendix D). Those without a bias are left as they are.

    Args:
        exact: the float network.
        quantized: the same with Q and DQ.
        images: N×1×H×W in [0, 1], for calibration; `IMAGES` of them, evenly spread, are used.

    Raises:
        InputError: the network holds an operator that `TorchGraph` does not know.
    """
    batch = torch.from_numpy(images[spread(len(images), IMAGES)])
    expected = {
        step.name: _means(values[step.output])
        for step, values in TorchGraph(exact).walk(batch)
        if step.kind == "Conv"
    }
    graph = TorchGraph(quantized)
    shifts: dict[str, NDArray[np.float32]] = {}
    for step, values in bar(graph.walk(batch), "Correcting biases", total=len(graph.steps)):
        if step.kind == "Conv" and len(step.inputs) > 2 and step.name in expected:
            shift = expected[step.name] - _means(values[step.output])
            values[step.output] += shift.reshape(-1, 1, 1)
            shifts[step.inputs[2]] = shift.numpy()
    return _shifted(quantized, shifts)


def _means(activation: Tensor) -> Tensor:
    """Of each channel of N×C×H×W."""
    return activation.double().mean((0, 2, 3)).float()


def _shifted(model: ModelProto, shifts: Mapping[str, NDArray[np.float32]]) -> ModelProto:
    """A copy of a graph with something added to biases, float ones or those of 32-bit integers."""
    arrays = {each.name: each for each in model.graph.initializer}
    changed = {}
    for name, shift in shifts.items():
        stored = f"{name}{QUANTIZED}"
        if stored in arrays:
            shift = np.rint(shift / numpy_helper.to_array(arrays[f"{stored}_scale"]))
        else:
            stored = name
        value = numpy_helper.to_array(arrays[stored])
        changed[stored] = (value + shift).astype(value.dtype)
    return replace_constants(model, changed)
