"""A checkpoint becomes `model.fp32.onnx`: one file that any ONNX runtime takes."""

import logging
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from brainseg import __version__
from brainseg.data.likeness import Likeness
from brainseg.data.parts import read_test, read_val, to_input
from brainseg.files import replacing
from brainseg.run import Run
from brainseg.runtime.session import Session
from brainseg.terminal import quiet
from brainseg.vocabulary import KEEP_ASPECT, LIKENESS, REFERENCE, USUAL_MODEL

OPSET = 18
"""The newest whose operators all have CUDA kernels: Pad lacks one from 19, MaxPool from 22."""

PARITY_LIMIT = 1e-4
PARITY_IMAGES = 16

logger = logging.getLogger(__name__)


def export(run: Run, network: nn.Module) -> Path:
    """Export the best checkpoint of `run` in fp32.

    The graph takes `image` (N×1×H×W in [0, 1]; N is free, H and W are fixed) and gives
    `probability` (the same shape). Its metadata say from what it was made.

    Args:
        run: a trained run.
        network: its checkpoint, from `load_network`.

    Raises:
        InputError: the run has no configuration.
    """
    config = run.read_config()
    with replacing(run.onnx(REFERENCE)) as target:
        _write_graph(network, config["data"]["image_size"], target)
        model = onnx.load(target)
        for node in model.graph.node:
            node.ClearField("metadata_props")  # stack traces with this machine's folders
        properties = {
            "brainseg": __version__,
            "model": config["model"].get("name", USUAL_MODEL),
            "attention": config["model"].get("attention", ""),
            "image_size": config["data"]["image_size"],
            "mode": REFERENCE,
            "input_range": "[0, 1]",
            KEEP_ASPECT: False,  # of training images, which are squeezed to a square
        }
        if run.val.exists():
            properties[LIKENESS] = Likeness.of(read_val(run)["images"]).to_text()
        onnx.helper.set_model_props(model, {key: str(value) for key, value in properties.items()})
        onnx.save(model, target)
    return run.onnx(REFERENCE)


def check_parity(run: Run, network: nn.Module, session: Session) -> float:
    """Compare an exported file with its checkpoint on some test images.

    Args:
        run: with test images.
        network: its checkpoint, from `load_network`.
        session: the exported file on the CPU.

    Returns:
        The largest absolute difference of a probability; above `PARITY_LIMIT` it is a warning.
    """
    difference = parity(network, session, to_input(read_test(run)["images"][:PARITY_IMAGES]))
    if difference > PARITY_LIMIT:
        logger.warning(
            "%s differs from its checkpoint by up to %.1e in probability (expected at most %.0e).",
            *(session.path, difference, PARITY_LIMIT),
        )
    return difference


def parity(network: nn.Module, session: Session, images: NDArray[np.float32]) -> float:
    """Largest absolute difference of probabilities between torch and an exported file.

    Args:
        network: in eval mode, ends in probabilities.
        session: the exported file.
        images: N×1×H×W in [0, 1].
    """
    with torch.inference_mode():
        expected = network(torch.from_numpy(images)).numpy()
    return float(np.abs(session.run(images) - expected).max())


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
