"""Whether other patients, or other trainings, would show a difference too."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import ttest_1samp

from brainseg.evaluation.bootstrap import FEWEST, RESAMPLES, Metric, expanded_percentiles
from brainseg.evaluation.patients import are_known, draw_patients, have_tumor, sum_by_patient


def paired_interval(
    reference: ArrayLike,
    variant: ArrayLike,
    patients: Sequence[str],
    metric: Metric,
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> tuple[float, float] | None:
    """Interval of how a pooled metric changes between two networks on the same images.

    A cluster bootstrap over patients, as in `pooled_bootstrap`. Both networks are scored on the
    same draw, so that the difficulty of a patient cancels. For several seeds the mean change is
    used: the interval is about other patients, not about other trainings.

    Args:
        reference: pixel counts `tp, fp, fn, tn` of each image, N×4, or of several seeds S×N×4.
        variant: those of the other network on the same images.
        patients: as in `pooled_bootstrap`.
        metric: of pixel counts, such as `mean_ious`.
        resamples: number of bootstrap samples.
        level: coverage of the interval.

    Returns:
        Lower and upper end of variant minus reference, or `None` as in `pooled_bootstrap`.
    """
    before, after = (sum_by_patient(counts, patients) for counts in (reference, variant))
    tumor = have_tumor(before[0])
    if not are_known(reference, patients) or tumor.sum() < FEWEST:
        return None
    drawn = draw_patients(tumor, resamples)
    changes = _change(drawn @ before, drawn @ after, metric)
    return expanded_percentiles(changes, tumor.sum(), level)


def paired_test(
    reference: ArrayLike,
    variant: ArrayLike,
    patients: Sequence[str],
    metric: Metric,
    *,
    resamples: int = 9999,
) -> float | None:
    """Two-sided p-value of a pooled metric's change between two networks on the same images.

    A permutation test over patients: if the networks were alike, each patient's results could just
    as well have come from the other one. So they are exchanged at random, patient by patient, and
    the change is compared with those after such exchanges (Good, Permutation, Parametric and
    Bootstrap Tests of Hypotheses, 2005, chapter 3). Unlike the t-test it assumes no distribution,
    and unlike Wilcoxon's it works on the pooled metric itself.

    Args:
        reference: as in `paired_interval`, as are the next three.
        variant: of the other network.
        patients: of each image.
        metric: of pixel counts.
        resamples: number of random exchanges; the smallest p-value is 1 / (resamples + 1).

    Returns:
        The p-value, or `None` where an image with a tumour has no patient (slices may then be of
        the same one, and are not independent), or where the change is undefined.
    """
    before, after = (sum_by_patient(counts, patients) for counts in (reference, variant))
    found = _change(before.sum(axis=-2), after.sum(axis=-2), metric)
    if not are_known(reference, patients) or np.isnan(found):
        return None
    # Patients whose results are the same can be exchanged without effect.
    changed = (before != after).any(axis=(0, 2))
    rest = before[:, ~changed].sum(axis=1, keepdims=True)
    before, after = before[:, changed], after[:, changed]
    kept = np.random.default_rng(0).integers(2, size=(resamples, changed.sum())).astype(float)
    first = rest + kept @ before + (1 - kept) @ after
    second = rest + kept @ after + (1 - kept) @ before
    changes = _change(first, second, metric)
    # The tolerance includes exchanges that give the same change except for rounding.
    extreme = int(np.count_nonzero(np.abs(changes) >= abs(found) - 1e-12))
    return (1 + extreme) / (resamples + 1)


def training_test(changes: Sequence[float]) -> float | None:
    """Two-sided p-value of the mean change over trainings with several seeds: a paired t-test.

    Args:
        changes: variant minus reference, one per seed that both were trained with.

    Returns:
        The p-value, or `None` for one seed, which says nothing about the next.
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


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number, so that a single false alarm among all stays as rare.

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


def _change(
    before: NDArray[np.float64], after: NDArray[np.float64], metric: Metric
) -> NDArray[np.float64]:
    """Mean change of `metric` over the seeds: counts S×…×4 to (…)."""
    return (metric(after) - metric(before)).mean(axis=0)
