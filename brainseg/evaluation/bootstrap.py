"""How far a score would move with other patients in the split."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, t

from brainseg.evaluation.patients import are_known, draw_patients, have_tumor, sum_by_patient

FEWEST = 8
"""Fewest patients for an interval: with fewer, a bootstrap interval is far too narrow."""

RESAMPLES = 2000
"""Bootstrap samples of an interval."""

Metric = Callable[[ArrayLike], NDArray[np.float64]]
"""Pixel counts `tp, fp, fn, tn` (…, 4) to scores (…), NaN where undefined."""


def patient_bootstrap(
    values: Sequence[float | None],
    patients: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float] | None:
    """Interval of the mean over images, from a cluster bootstrap over patients.

    Patients are drawn with replacement, each with all of its images, because slices of one patient
    resemble each other: drawing images would give an interval that is too narrow (Davison and
    Hinkley, Bootstrap Methods and their Application, 1997, section 3.8).

    Args:
        values: one per image; `None` and NaN are left out.
        patients: the patient of each image.
        resamples: number of bootstrap samples.
        seed: seed of the draw; the same arguments give the same interval.
        level: coverage of the interval.

    Returns:
        Lower and upper end, or `None` where fewer than `FEWEST` patients have a value, or where all
        values are the same: resampling them says nothing about other patients.
    """
    numbers = np.array(values, dtype=float)
    defined = ~np.isnan(numbers)
    names, index = np.unique(np.array(patients, dtype=str)[defined], return_inverse=True)
    if len(names) < FEWEST or np.ptp(numbers[defined]) == 0:
        return None
    sums = np.bincount(index, weights=numbers[defined])
    counts = np.bincount(index)
    drawn = draw_patients(np.ones(len(names), bool), resamples, seed)
    return expanded_percentiles(drawn @ sums / (drawn @ counts), len(names), level)


def pooled_bootstrap(
    counts: ArrayLike,
    patients: Sequence[str],
    metric: Metric,
) -> tuple[float, float] | None:
    """95 % interval of a pooled metric, from a cluster bootstrap over patients.

    As `patient_bootstrap`, for metrics that are not means over images. Patients with and without a
    tumour are drawn separately, each in their original number: a split's share of tumours is not
    random, and IoU means nothing in a draw without one.

    Args:
        counts: pixel counts `tp, fp, fn, tn` of each image, N×4.
        patients: the patient of each image; an image without tumour whose patient is unknown
            (empty) counts as a patient of its own.
        metric: of pixel counts, such as `mean_ious`.

    Returns:
        Lower and upper end, or `None` where fewer than `FEWEST` patients have a tumour, where an
        image with one has no patient, or where all draws score the same.
    """
    (sums,) = sum_by_patient(counts, patients)
    tumor = have_tumor(sums)
    if not are_known(counts, patients) or tumor.sum() < FEWEST:
        return None
    scores = metric(draw_patients(tumor, RESAMPLES) @ sums)
    return None if np.ptp(scores) == 0 else expanded_percentiles(scores, tumor.sum())


def auc_bootstrap(
    own: ArrayLike,
    others: ArrayLike,
    own_patients: Sequence[str],
    other_patients: Sequence[str],
) -> tuple[float, float] | None:
    """95 % interval of the area under the ROC curve, from a bootstrap over patients.

    The area is the probability that a value of one group is higher than one of the other (ties
    count half). Patients of both groups are drawn with replacement, each with all of its values.

    Args:
        own: values of the group that should be higher, N.
        others: values of the other group, M.
        own_patients: the patient of each of `own`.
        other_patients: the patient of each of `others`.

    Returns:
        Lower and upper end, or `None` where a patient is unknown (empty) or one of the groups has
        fewer than `FEWEST`.
    """
    (names, index), (other_names, other_index) = (
        np.unique(np.array(patients, str), return_inverse=True)
        for patients in (own_patients, other_patients)
    )
    known = "" not in names and "" not in other_names
    fewer = min(len(names), len(other_names))
    if not known or fewer < FEWEST:
        return None
    above = np.sign(np.subtract.outer(np.asarray(own, float), np.asarray(others, float)))
    wins = np.zeros((len(names), len(other_names)))
    np.add.at(wins, (index[:, None], other_index), (above + 1) / 2)
    drawn = draw_patients(np.ones(len(names), bool), RESAMPLES)
    other_drawn = draw_patients(np.ones(len(other_names), bool), RESAMPLES, seed=1)
    pairs = (drawn @ np.bincount(index)) * (other_drawn @ np.bincount(other_index))
    areas = ((drawn @ wins) * other_drawn).sum(axis=1) / pairs
    return expanded_percentiles(areas, fewer)


def expanded_percentiles(
    values: ArrayLike, patients: int, level: float = 0.95
) -> tuple[float, float]:
    """The ends of an interval: percentiles of bootstrap samples, further apart if patients are few.

    Draws of n patients vary less than n patients do, by sqrt((n - 1) / n), and do not include the
    uncertainty of that spread. The expanded percentile interval corrects both: its percentiles are
    as far out in the normal distribution as sqrt(n / (n - 1)) times Student's quantile
    (Hesterberg, The American Statistician 69, 2015, p. 371, arXiv:1411.5279).

    Args:
        values: score of each bootstrap sample.
        patients: number of patients n that were drawn from, at least 2.
        level: coverage of the interval.

    Returns:
        Lower and upper end.
    """
    reach = t.ppf((1 + level) / 2, patients - 1) * np.sqrt(patients / (patients - 1))
    low, high = np.quantile(np.asarray(values), norm.cdf([-reach, reach]))
    return float(low), float(high)
