"""How far a mean would move, had other patients been in the split."""

from collections.abc import Sequence

import numpy as np


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
    # How often each patient is drawn, resamples×patients: the draws themselves are not needed.
    drawn = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=resamples
    )
    low, high = np.quantile(drawn @ sums / (drawn @ counts), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
