"""Patients as the unit of every statistic, because slices of one resemble each other."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray


def are_known(counts: ArrayLike, patients: Sequence[str]) -> bool:
    """Whether each image with a tumour, of counts N×4 or S×N×4, has a known patient."""
    tumor = have_tumor(_with_seeds(counts)[0])
    return all(patient or not shown for patient, shown in zip(patients, tumor, strict=True))


def sum_by_patient(counts: ArrayLike, patients: Sequence[str]) -> NDArray[np.float64]:
    """Sum pixel counts of images, N×4 or S×N×4, to those of patients, S×P×4."""
    given, numbers = _with_seeds(counts), dict[str | int, int]()
    index = [
        numbers.setdefault(patient or position, len(numbers))
        for position, patient in enumerate(patients)
    ]
    sums = np.zeros((len(numbers), len(given), 4))
    np.add.at(sums, np.array(index, np.intp), given.swapaxes(0, 1))
    return sums.swapaxes(0, 1)


def name_patients(patients: Sequence[str]) -> list[str]:
    """The patients in the order of `sum_by_patient`, P; an unknown one has no name."""
    keys = dict.fromkeys(patient or place for place, patient in enumerate(patients))
    return [key if isinstance(key, str) else "" for key in keys]


def have_tumor(counts: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of the images or patients, N×4, have a true tumour."""
    return counts[:, 0] + counts[:, 2] > 0


def draw_patients(strata: NDArray[np.bool_], resamples: int, seed: int = 0) -> NDArray[np.int64]:
    """How often each patient is drawn from those of its stratum, resamples×patients; read-only."""
    return _draw(strata.tobytes(), resamples, seed)


@lru_cache(maxsize=8)  # comparisons draw from the same patients again and again
def _draw(strata: bytes, resamples: int, seed: int) -> NDArray[np.int64]:
    random, groups = np.random.default_rng(seed), np.frombuffer(strata, bool)
    drawn = np.empty((resamples, len(groups)), np.int64)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        chances = np.full(len(members), 1 / len(members))
        drawn[:, members] = random.multinomial(len(members), chances, size=resamples)
    drawn.flags.writeable = False
    return drawn


def _with_seeds(counts: ArrayLike) -> NDArray[np.float64]:
    """Counts N×4 or S×N×4 as S×N×4."""
    given = np.asarray(counts, dtype=float)
    return given if given.ndim == 3 else given[None]
