"""The slices that a run carries with it, so that nothing after training needs the raw data."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainseg.errors import InputError
from brainseg.run import Run


def read_test(run: Run) -> dict[str, NDArray]:
    """`ids`, `classes`, `patients` (N), `images` and `masks` (N×H×W, uint8) of the test split.

    Raises:
        InputError: the run has none.
    """
    return _read(run, run.test)


def read_val(run: Run) -> dict[str, NDArray]:
    """The same of the validation split: to calibrate on, and to choose a mode by.

    Raises:
        InputError: the run has none.
    """
    return _read(run, run.val)


def to_input(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the network takes: N×H×W in 0..255 becomes N×1×H×W in [0, 1]."""
    return images[:, None].astype(np.float32) / np.float32(255)


def _read(run: Run, file: Path) -> dict[str, NDArray]:
    if not file.exists():
        raise InputError(f"{run.path} has no {file.name}, which training writes. Train it again.")
    with np.load(file) as arrays:
        return dict(arrays)
