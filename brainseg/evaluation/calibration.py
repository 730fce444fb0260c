"""Whether probabilities can be taken literally, and the effect of the threshold."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainseg.evaluation.metrics import mean_iou, tumor_iou

BINS = 10
"""Bins of equal width of the reliability diagram."""

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""Thresholds of the sweep; everything else uses 0.5."""


def describe_probabilities(
    probabilities: NDArray[np.uint8], masks: NDArray[np.uint8]
) -> dict[str, Any]:
    """Calibration and the effect of the threshold over a split, as plain JSON.

    Args:
        probabilities: maps N×H×W, 0..255 for 0..1.
        masks: true masks, N×H×W, nonzero is tumour.

    Returns:
        `calibration` from `calibrate` and `thresholds` from `sweep_thresholds`.
    """
    levels = count_levels(probabilities, masks)
    return {"calibration": calibrate(levels), "thresholds": sweep_thresholds(levels)}


def count_levels(probabilities: NDArray[np.uint8], masks: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count each image's pixels by truth and by level of probability.

    Args:
        probabilities: maps N×H×W, 0..255 for 0..1.
        masks: true masks, N×H×W, nonzero is tumour.

    Returns:
        N×2×256: background and tumour, by level.
    """
    keys = (masks > 0) * np.uint16(256) + probabilities
    counts = [np.bincount(image.ravel(), minlength=512) for image in keys]
    return np.reshape(counts, (-1, 2, 256)).astype(np.int64)


def calibrate(levels: NDArray[np.int64]) -> dict[str, Any]:
    """Compare predicted probabilities with the share of tumour pixels.

    Args:
        levels: from `count_levels`.

    Returns:
        `bins`, a dictionary each: `low`, `high`, `n` pixels, `confidence` (mean probability) and
        `share` (of tumour among them), the last two `None` where there is no pixel. `ece`, the
        expected calibration error: the mean of |confidence - share| over all pixels (Guo et al.,
        arXiv:1706.04599, Eq. 3, for the probability of tumour). Nearly all pixels are clearly
        background, which hides the others; so `ece_uncertain` includes only those whose level is
        neither the first nor the last, and `uncertain` is their share.
    """
    pooled = levels.sum(axis=0)
    uncertain = pooled.copy()
    uncertain[:, [0, 255]] = 0
    total = int(pooled.sum())
    return {
        "bins": _bins(pooled),
        "ece": _calibration_error(pooled),
        "ece_uncertain": _calibration_error(uncertain),
        "uncertain": int(uncertain.sum()) / total if total else None,
    }


def sweep_thresholds(
    levels: NDArray[np.int64], thresholds: Sequence[float] = THRESHOLDS
) -> list[dict[str, Any]]:
    """The metrics of SPEC section 8 at other thresholds.

    For inspection only: a threshold chosen on the test split makes the scores too good.

    Args:
        levels: from `count_levels`.
        thresholds: in (0, 1]; a pixel is tumour if its probability is at least this.

    Returns:
        Per threshold `threshold`, `mean_iou`, `tumor_iou`, `dice`, `detection_rate` and
        `false_positive_rate`.
    """
    # Pixels of each kind with at least this level, N×2×257; none reaches level 256.
    above = np.pad(levels[..., ::-1].cumsum(axis=-1)[..., ::-1], ((0, 0), (0, 0), (0, 1)))
    totals = levels.sum(axis=-1)
    rows = []
    for threshold in thresholds:
        fp, tp = above[..., int(np.ceil(round(255 * threshold, 9)))].T
        fn, tn = totals[:, 1] - tp, totals[:, 0] - fp
        rows.append({"threshold": threshold, **_scores(np.stack([tp, fp, fn, tn], axis=-1))})
    return rows


def _scores(counts: NDArray[np.int64]) -> dict[str, float | None]:
    """Of pixel counts N×4."""
    tp, fp, fn, _ = counts.T
    tumor = tp + fn > 0
    dices = 2 * tp[tumor] / (2 * tp + fp + fn)[tumor]
    return {
        "mean_iou": mean_iou(counts),
        "tumor_iou": tumor_iou(counts),
        "dice": _mean(dices),
        "detection_rate": _mean(tp[tumor] > 0),
        "false_positive_rate": _mean(fp[~tumor] > 0),
    }


def _bins(pooled: NDArray[np.int64]) -> list[dict[str, Any]]:
    """The reliability diagram of 2×256 counts."""
    numbers, said, found = _by_bin(pooled)
    return [
        {
            "low": index / BINS,
            "high": (index + 1) / BINS,
            "n": int(n),
            "confidence": float(confidence / n) if n else None,
            "share": float(share / n) if n else None,
        }
        for index, (n, confidence, share) in enumerate(zip(numbers, said, found, strict=True))
    ]


def _calibration_error(pooled: NDArray[np.int64]) -> float | None:
    numbers, said, found = _by_bin(pooled)
    return float(np.abs(said - found).sum() / numbers.sum()) if numbers.any() else None


def _by_bin(pooled: NDArray[np.int64]) -> NDArray[np.float64]:
    """Per bin, 3×`BINS`: pixels, the sum of their probabilities, and tumour pixels."""
    level = np.arange(256)
    bins = np.minimum(level * BINS // 255, BINS - 1)
    n = pooled.sum(axis=0)
    sums = [np.bincount(bins, weights, BINS) for weights in (n, n * level / 255, pooled[1])]
    return np.stack(sums)


def _mean(values: NDArray[Any]) -> float | None:
    return float(np.mean(values)) if np.size(values) else None
