"""A checkpoint becomes `model.fp32.onnx`: one file that any ONNX runtime takes."""

import logging
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from brainseg import __version__
from brainseg.data.parts import read_test, to_input
from brainseg.files import replacing
from brainseg.model.unet import build_model, load_weights
from brainseg.run import Run
from brainseg.runtime.open import open_session
from brainseg.terminal import quiet

OPSET = 18
"""The newest whose operators all have CUDA kernels: Pad lacks one from 19, MaxPool from 22."""

PARITY_LIMIT = 1e-4
PARITY_IMAGES = 16

log = logging.getLogger(__name__)


def export(run: Run) -> Path:
    """Export the best checkpoint of `run` in fp32.

    The graph takes `image` (N×1×H×W in [0, 1]; N is free, H and W are fixed) and gives
    `probability` (the same shape). Its metadata say from what it was made, and its `parity`:
    the largest absolute difference of probabilities to torch on real test images, above
    `PARITY_LIMIT` a warning.

    Raises:
        InputError: the run has no configuration, checkpoint or test images.
    """
    network, config = load_network(run), run.read_config()
    size = config["data"]["image_size"]
    images = to_input(read_test(run)["images"][:PARITY_IMAGES])
    with replacing(run.onnx("fp32")) as target:
        _write_graph(network, size, target)
        difference = parity(network, target, images)
        model = onnx.load(target)
        for node in model.graph.node:
            node.ClearField("metadata_props")  # stack traces with this machine's folders
        properties = {
            "brainseg": __version__,
            "attention": config["model"]["attention"],
            "image_size": size,
            "mode": "fp32",
            "input_range": "[0, 1]",
            "parity": difference,
        }
        onnx.helper.set_model_props(model, {key: str(value) for key, value in properties.items()})
        onnx.save(model, target)
    if difference > PARITY_LIMIT:
        log.warning(
            "%s differs from its checkpoint by up to %.1e in probability (expected at most %.0e).",
            run.onnx("fp32"),
            difference,
            PARITY_LIMIT,
        )
    return run.onnx("fp32")


def load_network(run: Run) -> nn.Module:
    """The best checkpoint of `run` in eval mode: images N×1×H×W in [0, 1] to probabilities.

    Raises:
        InputError: the run has no configuration or no checkpoint.
    """
    arguments = run.read_config()["model"] | {"weights": "none"}  # nothing to download
    network = build_model(**arguments)
    load_weights(network, run.best)
    return nn.Sequential(network, nn.Sigmoid()).eval()


def parity(network: nn.Module, path: Path, images: NDArray[np.float32]) -> float:
    """Largest absolute difference of probabilities between torch and an ONNX file on the CPU.

    Args:
        network: in eval mode, ends in probabilities.
        path: the ONNX file.
        images: N×1×H×W in [0, 1].
    """
    with torch.inference_mode():
        expected = network(torch.from_numpy(images)).numpy()
    return float(np.abs(open_session(path).run(images) - expected).max())


def _write_graph(network: nn.Module, size: int, target: Path) -> None:
    with quiet():
        torch.onnx.export(
            network,
            (torch.rand(2, 1, size, size),),  # a batch of 1 would be taken for a constant
            target,
            input_names=["image"],
            output_names=["probability"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
