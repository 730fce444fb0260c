"""How far a mean would move, had other patients been in the split."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def patient_bootstrap(
    values: Sequence[float | None],
    patients: Sequence[str],
    *,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float] | None:
    """Percentile interval of the mean over images, from a cluster bootstrap over patients.

    Patients are drawn with replacement, each with all of its images, because slices of one patient
    resemble each other: drawing images would give an interval that is too narrow (Davison and
    Hinkley, Bootstrap Methods and their Application, 1997, section 3.8).

    Args:
        values: one per image; `None` and NaN are left out.
        patients: the patient of each image.
        resamples: number of bootstrap samples.
        seed: seed of the draw; the same arguments give the same interval.
        level: share of the samples' means that lie in the interval.

    Returns:
        Lower and upper end, or `None` where fewer than two patients have a value.
    """
    numbers = np.array(values, dtype=float)
    defined = ~np.isnan(numbers)
    names, index = np.unique(np.array(patients, dtype=str)[defined], return_inverse=True)
    if len(names) < 2:
        return None
    sums = np.bincount(index, weights=numbers[defined])
    counts = np.bincount(index)
    drawn = _draw(len(names), resamples, seed)
    return _percentiles(drawn @ sums / (drawn @ counts), level)


def paired_interval(
    reference: ArrayLike,
    variant: ArrayLike,
    patients: Sequence[str],
    metric: Callable[[ArrayLike], float | None],
    *,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float] | None:
    """Percentile interval of how a pooled metric changes between two networks on the same images.

    A cluster bootstrap over patients, as in `patient_bootstrap`; both networks are scored on the
    same draw, so that what is hard about a patient cancels.

    Args:
        reference: pixel counts `tp, fp, fn, tn` of each image, N×4.
        variant: those of the other network on the same images, N×4.
        patients: the patient of each image; an empty one (unknown) is a patient of its own.
        metric: of pixel counts, such as `mean_iou`.
        resamples: number of bootstrap samples.
        seed: seed of the draw; the same arguments give the same interval.
        level: share of the samples' differences that lie in the interval.

    Returns:
        Lower and upper end of variant minus reference, or `None` with fewer than two patients.
    """
    names = [patient or f"unknown {index}" for index, patient in enumerate(patients)]
    clusters, index = np.unique(names, return_inverse=True)
    if len(clusters) < 2:
        return None
    sums = np.zeros((2, len(clusters), 4))
    for pooled, counts in zip(sums, (reference, variant), strict=True):
        np.add.at(pooled, index, np.asarray(counts, dtype=float))
    drawn = _draw(len(clusters), resamples, seed)
    pairs = zip(drawn @ sums[0], drawn @ sums[1], strict=True)
    scores = [(metric(before), metric(after)) for before, after in pairs]
    return _percentiles([b - a for a, b in scores if a is not None and b is not None], level)


def _draw(patients: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """How often each patient is drawn, resamples×patients: the draws themselves are not needed."""
    chances = np.full(patients, 1 / patients)
    return np.random.default_rng(seed).multinomial(patients, chances, size=resamples)


def _percentiles(values: ArrayLike, level: float) -> tuple[float, float]:
    low, high = np.quantile(np.asarray(values), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
