"""The test split that a run carries with it, so that nothing after training needs the raw data."""

import numpy as np
from numpy.typing import NDArray

from brainseg.errors import InputError
from brainseg.run import Run


def read_test(run: Run) -> dict[str, NDArray]:
    """`ids`, `classes`, `patients` (N), `images` and `masks` (N×H×W, uint8) of the test split.

    Raises:
        InputError: the run has none.
    """
    if not run.test.exists():
        raise InputError(
            f"{run.path} has no {run.test.name}, which training writes first. Train it again."
        )
    with np.load(run.test) as arrays:
        return dict(arrays)


def to_input(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the network takes: N×H×W in 0..255 becomes N×1×H×W in [0, 1]."""
    return images[:, None].astype(np.float32) / np.float32(255)
