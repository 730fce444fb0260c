"""What a difference is worth: how far it would move, had other patients been in the split."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import ttest_1samp

FEWEST = 8
"""Patients below which no interval is given: from fewer, that of a bootstrap is far too narrow."""

Metric = Callable[[ArrayLike], NDArray[np.float64]]
"""Pixel counts `tp, fp, fn, tn` (…, 4) to scores (…), NaN where undefined."""


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
        Lower and upper end, or `None` where fewer than `FEWEST` patients have a value, or where all
        values are the same: draws of them tell nothing of other patients.
    """
    numbers = np.array(values, dtype=float)
    defined = ~np.isnan(numbers)
    names, index = np.unique(np.array(patients, dtype=str)[defined], return_inverse=True)
    if len(names) < FEWEST or np.ptp(numbers[defined]) == 0:
        return None
    sums = np.bincount(index, weights=numbers[defined])
    counts = np.bincount(index)
    drawn = _draw(np.ones(len(names), bool), resamples, seed)
    return _percentiles(drawn @ sums / (drawn @ counts), level)


def pooled_bootstrap(
    counts: ArrayLike,
    patients: Sequence[str],
    metric: Metric,
    *,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float] | None:
    """Percentile interval of a pooled metric, from a cluster bootstrap over patients.

    As `patient_bootstrap`, for metrics that are not means over images. Patients with a tumour and
    patients without are drawn apart, as many of each as there are: a split's share of tumours was
    chosen, and IoU means nothing in a draw without one.

    Args:
        counts: pixel counts `tp, fp, fn, tn` of each image, N×4.
        patients: the patient of each image; of images without tumour an empty one (unknown) is a
            patient of its own.
        metric: of pixel counts, such as `mean_ious`.
        resamples: number of bootstrap samples.
        seed: seed of the draw; the same arguments give the same interval.
        level: share of the samples' scores that lie in the interval.

    Returns:
        Lower and upper end, or `None` where fewer than `FEWEST` patients have a tumour, or an image
        with one has no patient.
    """
    (sums,) = _sum_by_patient(counts, patients)
    tumor = _have_tumor(sums)
    if not are_known(counts, patients) or tumor.sum() < FEWEST:
        return None
    return _percentiles(metric(_draw(tumor, resamples, seed) @ sums), level)


def auc_bootstrap(
    own: ArrayLike,
    others: ArrayLike,
    own_patients: Sequence[str],
    other_patients: Sequence[str],
    *,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float] | None:
    """Percentile interval of the area under the ROC curve, from a bootstrap over patients.

    The area is the chance that a value of the one group is higher than one of the other (ties
    count half); patients of both groups are drawn with replacement, each with all of its values.

    Args:
        own: values of the group that should be higher, N.
        others: values of the other group, M.
        own_patients: the patient of each of `own`.
        other_patients: the patient of each of `others`.
        resamples: number of bootstrap samples.
        seed: seed of the draws.
        level: share of the samples' areas that lie in the interval.

    Returns:
        Lower and upper end, or `None` where a patient is unknown (empty) or one of the groups has
        fewer than `FEWEST`.
    """
    (names, index), (other_names, other_index) = (
        np.unique(np.array(patients, str), return_inverse=True)
        for patients in (own_patients, other_patients)
    )
    known = "" not in names and "" not in other_names
    if not known or min(len(names), len(other_names)) < FEWEST:
        return None
    above = np.sign(np.subtract.outer(np.asarray(own, float), np.asarray(others, float)))
    wins = np.zeros((len(names), len(other_names)))
    np.add.at(wins, (index[:, None], other_index), (above + 1) / 2)
    drawn = _draw(np.ones(len(names), bool), resamples, seed)
    other_drawn = _draw(np.ones(len(other_names), bool), resamples, seed + 1)
    pairs = (drawn @ np.bincount(index)) * (other_drawn @ np.bincount(other_index))
    return _percentiles(((drawn @ wins) * other_drawn).sum(axis=1) / pairs, level)


def paired_interval(
    reference: ArrayLike,
    variant: ArrayLike,
    patients: Sequence[str],
    metric: Metric,
    *,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float] | None:
    """Percentile interval of how a pooled metric changes between two networks on the same images.

    A cluster bootstrap over patients, as in `pooled_bootstrap`; both networks are scored on the
    same draw, so that what is hard about a patient cancels. Of several seeds the mean change is
    taken: the interval tells of other patients, not of other trainings.

    Args:
        reference: pixel counts `tp, fp, fn, tn` of each image, N×4, or of several seeds S×N×4.
        variant: those of the other network on the same images.
        patients: the patient of each image; of images without tumour an empty one (unknown) is a
            patient of its own.
        metric: of pixel counts, such as `mean_ious`.
        resamples: number of bootstrap samples.
        seed: seed of the draw; the same arguments give the same interval.
        level: share of the samples' differences that lie in the interval.

    Returns:
        Lower and upper end of variant minus reference, or `None` as in `pooled_bootstrap`.
    """
    before, after = (_sum_by_patient(counts, patients) for counts in (reference, variant))
    tumor = _have_tumor(before[0])
    if not are_known(reference, patients) or tumor.sum() < FEWEST:
        return None
    drawn = _draw(tumor, resamples, seed)
    return _percentiles(_change(drawn @ before, drawn @ after, metric), level)


def paired_test(
    reference: ArrayLike,
    variant: ArrayLike,
    patients: Sequence[str],
    metric: Metric,
    *,
    resamples: int = 9999,
    seed: int = 0,
) -> float | None:
    """Two-sided p-value of a pooled metric's change between two networks on the same images.

    A permutation test over patients: if the networks were alike, each patient's results could as
    well have come from the other one. So they are exchanged at random, patient by patient, and
    the change is compared with those that such exchanges give (Good, Permutation, Parametric and
    Bootstrap Tests of Hypotheses, 2005, chapter 3). Unlike the t-test it asks for no distribution,
    and unlike Wilcoxon's it works on the pooled metric itself.

    Args:
        reference: as in `paired_interval`.
        variant: likewise.
        patients: likewise.
        metric: likewise.
        resamples: number of random exchanges; the smallest p-value is 1 / (resamples + 1).
        seed: seed of the exchanges.

    Returns:
        The p-value, or `None` where an image with a tumour has no patient (slices that might be one
        patient's are no evidence apart), or where the change is undefined.
    """
    before, after = (_sum_by_patient(counts, patients) for counts in (reference, variant))
    found = _change(before.sum(axis=-2), after.sum(axis=-2), metric)
    if not are_known(reference, patients) or np.isnan(found):
        return None
    # Patients whose results are the same can be exchanged without effect.
    changed = (before != after).any(axis=(0, 2))
    rest = before[:, ~changed].sum(axis=1, keepdims=True)
    before, after = before[:, changed], after[:, changed]
    kept = np.random.default_rng(seed).integers(2, size=(resamples, changed.sum())).astype(float)
    first = rest + kept @ before + (1 - kept) @ after
    second = rest + kept @ after + (1 - kept) @ before
    changes = _change(first, second, metric)
    # The tolerance counts exchanges that give the same change but for rounding.
    extreme = int(np.count_nonzero(np.abs(changes) >= abs(found) - 1e-12))
    return (1 + extreme) / (resamples + 1)


def training_test(changes: Sequence[float]) -> float | None:
    """Two-sided p-value of the mean change over trainings with several seeds: a paired t-test.

    Args:
        changes: variant minus reference, one per seed that both were trained with.

    Returns:
        The p-value, or `None` for one seed, which tells nothing about the next.
    """
    if len(changes) < 2:
        return None
    if np.ptp(changes) == 0:
        return 0.0 if any(changes) else 1.0
    return float(ttest_1samp(changes, 0).pvalue)


def training_interval(changes: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Interval of the mean change over trainings, from the t distribution.

    Args:
        changes: as in `training_test`.
        level: its coverage.

    Returns:
        Lower and upper end, or `None` for one seed.
    """
    if len(changes) < 2:
        return None
    if np.ptp(changes) == 0:
        return changes[0], changes[0]
    low, high = ttest_1samp(changes, 0).confidence_interval(level)
    return float(low), float(high)


def are_known(counts: ArrayLike, patients: Sequence[str]) -> bool:
    """Whether every image with a tumour, of counts N×4 or S×N×4, has a patient that is known."""
    tumor = _have_tumor(_with_seeds(counts)[0])
    return all(patient or not shown for patient, shown in zip(patients, tumor, strict=True))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number, so that one false alarm among all stays as rare as said.

    Holm's step-down method (Scandinavian Journal of Statistics 6, 1979, p. 65): the k-th smallest
    of m is multiplied by m - k + 1, none falls below a smaller one's, and none exceeds 1.

    Returns:
        The corrected p-values in the given order.
    """
    given = np.asarray(p_values, dtype=float)
    order = np.argsort(given)
    corrected = np.empty_like(given)
    steps = given[order] * np.arange(len(given), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected.tolist()


def _sum_by_patient(counts: ArrayLike, patients: Sequence[str]) -> NDArray[np.float64]:
    """Pixel counts of images, N×4 or S×N×4, to those of patients, S×P×4."""
    given, numbers = _with_seeds(counts), dict[str | int, int]()
    index = [
        numbers.setdefault(patient or position, len(numbers))
        for position, patient in enumerate(patients)
    ]
    sums = np.zeros((len(numbers), len(given), 4))
    np.add.at(sums, np.array(index, np.intp), given.swapaxes(0, 1))
    return sums.swapaxes(0, 1)


def _with_seeds(counts: ArrayLike) -> NDArray[np.float64]:
    """Counts N×4 or S×N×4 as S×N×4."""
    given = np.asarray(counts, dtype=float)
    return given if given.ndim == 3 else given[None]


def _have_tumor(counts: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of the images or patients, N×4, have a true tumour."""
    return counts[:, 0] + counts[:, 2] > 0


def _change(
    before: NDArray[np.float64], after: NDArray[np.float64], metric: Metric
) -> NDArray[np.float64]:
    """Mean over the seeds of what `metric` changes by: counts S×…×4 to (…)."""
    return (metric(after) - metric(before)).mean(axis=0)


def _draw(strata: NDArray[np.bool_], resamples: int, seed: int) -> NDArray[np.int64]:
    """How often each patient is drawn from those of its stratum, resamples×patients."""
    random = np.random.default_rng(seed)
    drawn = np.empty((resamples, len(strata)), np.int64)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        chances = np.full(len(members), 1 / len(members))
        drawn[:, members] = random.multinomial(len(members), chances, size=resamples)
    return drawn


def _percentiles(values: ArrayLike, level: float) -> tuple[float, float]:
    low, high = np.quantile(np.asarray(values), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
