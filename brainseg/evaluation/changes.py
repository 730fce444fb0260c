"""How one network's results differ from another's on the same images: a mode's from fp32, say."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainseg.evaluation.bootstrap import patient_bootstrap
from brainseg.evaluation.cases import THRESHOLD, counts_of
from brainseg.evaluation.differences import paired_interval
from brainseg.evaluation.metrics import mean_ious

Cases = Sequence[Mapping[str, Any]]
"""Rows of `score_cases`."""


def mean_iou_change(before: Cases, after: Cases, level: float = 0.95) -> list[float] | None:
    """Interval over patients of how mean IoU changes, `None` as in `paired_interval`.

    Args:
        before: the cases of one network.
        after: those of the other one, on the same images in the same order.
        level: coverage of the interval.
    """
    patients = [case["patient"] for case in before]
    counts = counts_of(before), counts_of(after)
    interval = paired_interval(*counts, patients, mean_ious, level=level)
    return None if interval is None else list(interval)


def dice_change(before: Cases, after: Cases) -> list[float] | None:
    """95 % interval over patients of how Dice changes in the mean image with tumour.

    `None` where the patient of such an image is unknown, and as in `patient_bootstrap`: also where
    the change is the same in all of them.
    """
    pairs = zip(before, after, strict=True)
    shown = [(case, other) for case, other in pairs if case["dice"] is not None]
    patients = [case["patient"] for case, _ in shown]
    if not all(patients):
        return None
    interval = patient_bootstrap([other["dice"] - case["dice"] for case, other in shown], patients)
    return None if interval is None else list(interval)


def compare_maps(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> dict[str, float]:
    """How probabilities differ, pixel by pixel, where scores may hide it.

    A mean IoU that stays may be pixels lost in one place and won in another: the share that changes
    sides does not cancel (arXiv:2407.09141 calls them flips).

    Args:
        before: maps of `to_uint8`, N×H×W.
        after: those of another network on the same images.

    Returns:
        `probability_mae`, the mean absolute difference of a pixel's probability, and
        `disagreement`, the share of pixels that are on the other side of the threshold. Maps
        have a resolution of 1/255.
    """
    distance = np.maximum(before, after) - np.minimum(before, after)
    sides = (before >= THRESHOLD) != (after >= THRESHOLD)
    return {
        "probability_mae": float(distance.mean(dtype=np.float64)) / 255,
        "disagreement": float(sides.mean(dtype=np.float64)),
    }
