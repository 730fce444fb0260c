"""Which layers to keep in float, so that static quantization loses no more than was allowed."""

import logging
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto
from onnxruntime.quantization.qdq_loss_debug import (
    collect_activations,
    compute_activation_error,
    create_activation_matching,
    modify_model_output_intermediate_tensors,
)

from brainseg.benchmark.timing import ratio, time_rounds
from brainseg.data.parts import to_input
from brainseg.deploy.calibration import Batches
from brainseg.evaluation.cases import THRESHOLD
from brainseg.evaluation.metrics import confusion, mean_iou
from brainseg.runtime.open import open_session
from brainseg.scoring.score import predict_part
from brainseg.terminal import quiet

TRIES = 12
"""Layers that are tried, the worst first: each costs a pass over the validation split."""

ERROR_IMAGES = 4
"""Images on which the error of each layer is measured."""

ROUNDS = 40

logger = logging.getLogger(__name__)


def keep_within(
    model: ModelProto,
    make: Callable[[Collection[str]], ModelProto],
    val: Mapping[str, NDArray],
    max_drop: float,
) -> tuple[ModelProto, dict[str, Any]]:
    """Keep layers in float, the worst first, until the validation loss is within the budget.

    Greedy: the convolutions in the order of their own rounding error (signal to noise); one that
    does not lessen the loss is quantized again. The test split plays no part.

    Args:
        model: from `static.rewrite`.
        make: names of nodes that stay float to the quantized network.
        val: the validation split: `images` and `masks`, N×H×W.
        max_drop: of `mean_iou` against `model` on the validation split.

    Returns:
        The quantized network, and what was found out: `float_layers`, `within`, `loss`, `steps`
        (each try with its loss) and `slowdown` (time per image over that without float layers).
    """
    reference = _mean_iou(model, val)
    first = best = make(())
    loss = reference - _mean_iou(best, val)
    kept: list[str] = []
    steps: list[dict[str, Any]] = [{"layer": None, "loss": loss, "kept": True}]
    if loss > max_drop:
        images = to_input(val["images"][:ERROR_IMAGES])
        for node in rank_layers(model, first, images)[:TRIES]:
            candidate = make([*kept, node])
            found = reference - _mean_iou(candidate, val)
            steps.append({"layer": layer_name(model, node), "loss": found, "kept": found < loss})
            if found < loss:
                best, loss, kept = candidate, found, [*kept, node]
            if loss <= max_drop:
                break
    if loss > max_drop:
        logger.warning(
            "With %d layers in float the validation loss is %.4f, above the budget of %.4f: the "
            "%d worst were tried. Another calibration method may do.",
            len(kept),
            loss,
            max_drop,
            TRIES,
        )
    return best, {
        "float_layers": [layer_name(model, node) for node in kept],
        "within": loss <= max_drop,
        "loss": loss,
        "steps": steps,
        "slowdown": _slowdown(first, best, to_input(val["images"][:ROUNDS])) if kept else 1.0,
    }


@quiet()
def rank_layers(model: ModelProto, quantized: ModelProto, images: NDArray[np.float32]) -> list[str]:
    """The convolutions, by how much of their output is rounding error, the worst first.

    Args:
        model: the float network.
        quantized: the same with Q and DQ.
        images: N×1×H×W in [0, 1].
    """
    with tempfile.TemporaryDirectory() as folder:
        exact, rounded = (
            _activations(graph, images, Path(folder) / name)
            for name, graph in (("exact.onnx", model), ("rounded.onnx", quantized))
        )
    errors = compute_activation_error(create_activation_matching(rounded, exact))
    noise = {name: found["qdq_err"] for name, found in errors.items()}
    convolutions = [
        node for node in model.graph.node if node.op_type == "Conv" and node.output[0] in noise
    ]
    convolutions.sort(key=lambda node: noise[node.output[0]])
    return [node.name for node in convolutions]


def layer_name(model: ModelProto, node_name: str) -> str:
    """The module that a convolution comes from, or the node's own name where no weight tells it."""
    (node,) = (node for node in model.graph.node if node.name == node_name)
    return node.input[1].removeprefix("0.").removesuffix(".weight")


def _activations(
    model: ModelProto, images: NDArray[np.float32], path: Path
) -> dict[str, list[NDArray[Any]]]:
    onnx.save(model, path)
    modify_model_output_intermediate_tensors(path, path)
    return collect_activations(str(path), Batches(images))


def _mean_iou(model: ModelProto, part: Mapping[str, NDArray]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        probabilities = predict_part(open_session(path), part, "a candidate on validation")
    counts = confusion(probabilities >= THRESHOLD, part["masks"] > 0)
    return mean_iou(counts) or 0.0


def _slowdown(first: ModelProto, best: ModelProto, images: NDArray[np.float32]) -> float:
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        sessions = []
        for name, model in (("first.onnx", first), ("best.onnx", best)):
            onnx.save(model, Path(folder) / name)
            sessions.append(open_session(Path(folder) / name))
        passes = [lambda i, s=session: s.run(images[i : i + 1]) for session in sessions]
        time_rounds(passes, range(3), len(images), rng)
        before, after = time_rounds(passes, range(ROUNDS), len(images), rng)
    return ratio(after, before, rng)[0]
