"""What is written down of a network's predictions, so that nothing later needs the network."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from brainseg.data.parts import spread, to_input
from brainseg.evaluation.appropriateness import COLUMNS as APPROPRIATENESS
from brainseg.evaluation.appropriateness import measure_appropriateness
from brainseg.evaluation.calibration import describe_probabilities
from brainseg.evaluation.cases import COLUMNS, THRESHOLD, score_cases, summarize, to_uint8
from brainseg.files import write_csv, write_json, write_npz
from brainseg.model.coefficients import attention_coefficients
from brainseg.run import Run
from brainseg.vocabulary import TRUTH

ATTENDED = 4
"""Images of each class of which the attention's coefficients are kept."""

NAMES = ("ids", "classes", "patients")

Part = Mapping[str, NDArray]
"""`ids`, `classes`, `patients`, `images`, `masks` of a split, and `unmasked` where the outlines of
some tumours were never drawn."""


def record(
    run: Run,
    mode: str,
    part: Part,
    probabilities: NDArray[np.uint8],
    *,
    progress: bool = True,
) -> dict[str, Any]:
    """Write predictions, what they look like, their metrics, and last the score of each case.

    Images whose tumour nobody outlined are predicted and measured, but cannot be scored.

    Args:
        run: where to write; what it is called under `mode`.
        mode: of the network.
        part: the images, N, with their truth.
        probabilities: maps N×H×W.
        progress: whether to draw a bar, where standard error is a terminal.

    Returns:
        The metrics (SPEC section 8), with `calibration`, `thresholds`, and under `unmasked` how
        many images of each class could not be scored, and in what share a tumour is predicted.
    """
    write_npz(run.predictions(mode), ids=part["ids"], probabilities=probabilities)
    shapes = _shapes(part, probabilities >= THRESHOLD, progress)
    write_csv(run.appropriateness(mode), shapes, APPROPRIATENESS)
    masked = ~unmasked(part)
    cases = score_part(part, probabilities)
    metrics = summarize(cases) | describe_probabilities(
        probabilities[masked], part["masks"][masked]
    )
    metrics["unmasked"] = _describe_unmasked(part, probabilities)
    write_json(run.metrics_of(mode), metrics)
    write_csv(run.cases(mode), cases, COLUMNS)  # last: it says that the mode has been scored
    return metrics


def score_part(part: Part, probabilities: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """Score every image of a split but those whose tumour nobody outlined, see `score_cases`."""
    masked = ~unmasked(part)
    names = _names({name: part[name][masked] for name in NAMES})
    return score_cases(*names, probabilities[masked], part["masks"][masked])


def record_truth(run: Run, part: Part, *, progress: bool = True) -> None:
    """Write what the true tumours look like, as `record` does of predicted ones."""
    masked = ~unmasked(part)
    known = {name: values[masked] for name, values in part.items()}
    shapes = _shapes(known, known["masks"] > 0, progress)
    write_csv(run.appropriateness(TRUTH), shapes, APPROPRIATENESS)


def record_attention(run: Run, network: nn.Sequential, part: Part) -> None:
    """Write the coefficients of some images of each class, spread evenly over the split.

    Args:
        run: where to write.
        network: from `load_network`: the network and a sigmoid.
        part: the images with their classes.
    """
    rows = _spread(part["classes"])
    found = attention_coefficients(network[0], torch.from_numpy(to_input(part["images"][rows])))
    arrays = {name: to_uint8(values.numpy()) for name, values in found.items()}
    write_npz(run.attention, ids=part["ids"][rows], **arrays)


def _shapes(part: Part, masks: NDArray[np.bool_], progress: bool) -> list[dict[str, Any]]:
    return measure_appropriateness(*_names(part), part["images"], masks, progress=progress)


def _names(part: Part) -> tuple[list[str], list[str], list[str]]:
    """Ids, classes and patients."""
    ids, classes, patients = (part[name].tolist() for name in NAMES)
    return ids, classes, patients


def unmasked(part: Part) -> NDArray[np.bool_]:
    """Which images show a tumour that nobody outlined, N: they cannot be scored."""
    return part["unmasked"] if "unmasked" in part else np.zeros(len(part["ids"]), bool)


def _describe_unmasked(part: Part, probabilities: NDArray[np.uint8]) -> dict[str, Any]:
    found = probabilities.max(axis=(1, 2)) >= THRESHOLD
    bare, classes = unmasked(part), part["classes"]
    shares = {name: found[bare & (classes == name)] for name in sorted(set(classes[bare].tolist()))}
    return {
        name: {"n": len(hits), "predicted_share": float(hits.mean())}
        for name, hits in shares.items()
    }


def _spread(classes: NDArray[Any]) -> NDArray[np.intp]:
    """Indices of up to `ATTENDED` images of each class."""
    chosen = []
    for name in sorted(set(classes.tolist())):
        rows = np.flatnonzero(classes == name)
        chosen.append(rows[spread(len(rows), ATTENDED)])
    return np.sort(np.concatenate(chosen))
