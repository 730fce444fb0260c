"""Which threshold is best on a run's validation slices, and whether test-time augmentation pays."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainseg.data.parts import read_val
from brainseg.evaluation.metrics import mean_iou, tumor_iou
from brainseg.files import hash_file, write_json
from brainseg.run import Run
from brainseg.terminal import bar

THRESHOLDS = np.round(np.arange(0.05, 0.96, 0.01), 2).astype(np.float32)

USUAL = 0.5

Segment = Callable[[NDArray[np.uint8], str], NDArray[np.float32]]
"""Images N×H×W and a way of test-time augmentation to probabilities N×H×W."""


def validate(run: Run, mode: str, ways: tuple[str, ...], segment: Segment) -> dict[str, Any]:
    """Measure thresholds on the validation slices, for some ways of test-time augmentation.

    What is known of the same network is not measured again. The test slices play no part.

    Args:
        run: with validation slices.
        mode: of its networks.
        ways: of test-time augmentation, such as `none` and `flips`.
        segment: uses the network.

    Returns:
        The content of `validation.<mode>.json`: under `tta`, for each way, the scores at the
        `usual` threshold of 0.5 and at the `best`, that of the largest mean IoU, and `ms` per
        slice.

    Raises:
        InputError: the run has no validation slices.
    """
    network = hash_file(run.onnx(mode))
    file = run.validation(mode)
    known = run.read(file) if file.exists() else None
    if known is None or known["network"] != network:
        known = {"network": network, "n": 0, "tta": {}}
    missing = [way for way in ways if way not in known["tta"]]
    if missing:
        val = read_val(run)
        known["n"] = len(val["images"])
        for way in missing:
            known["tta"][way] = _measure(val["images"], val["masks"] > 0, way, segment)
        write_json(file, known)
    return known


def _measure(
    images: NDArray[np.uint8], masks: NDArray[np.bool_], way: str, segment: Segment
) -> dict[str, Any]:
    counts = np.zeros((len(THRESHOLDS), 4), np.int64)
    spent = 0.0
    for index in bar(range(len(images)), f"Measuring on validation slices (tta: {way})"):
        start = time.perf_counter()
        probabilities = segment(images[index : index + 1], way)[0]
        spent += time.perf_counter() - start
        counts += count(probabilities, masks[index])
    scored = [
        {"threshold": float(f"{threshold:.2f}"), **_scores(each)}
        for threshold, each in zip(THRESHOLDS, counts, strict=True)
    ]
    usual = next(each for each in scored if each["threshold"] == USUAL)
    best = max(scored, key=_rank)
    return {"usual": usual, "best": best, "ms": round(1000 * spent / len(images), 2)}


def count(probabilities: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """`tp, fp, fn, tn` at each of `THRESHOLDS`, T×4.

    Args:
        probabilities: of an image, H×W.
        mask: its truth.
    """
    below = np.searchsorted(THRESHOLDS, probabilities, side="right")  # thresholds that it reaches
    tumor, other = (
        np.bincount(below[part], minlength=len(THRESHOLDS) + 1) for part in (mask, ~mask)
    )
    fn, tn = tumor.cumsum()[:-1], other.cumsum()[:-1]
    return np.stack([tumor.sum() - fn, other.sum() - tn, fn, tn], axis=1).astype(np.int64)


def _rank(scored: dict[str, Any]) -> tuple[float, float]:
    """By mean IoU; of equals, the one nearest to the usual threshold."""
    return scored["mean_iou"] or 0.0, -abs(scored["threshold"] - USUAL)


def _scores(counts: NDArray[np.int64]) -> dict[str, float | None]:
    return {"mean_iou": mean_iou(counts), "tumor_iou": tumor_iou(counts)}
