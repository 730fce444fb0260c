"""A slice that was cut from a file which holds more than one picture."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Cut = Callable[[], "Iterator[VolumeSlice]"]
"""Cuts one volume into its slices."""


@dataclass(frozen=True)
class VolumeSlice:
    """One slice of a volume, as radiologists look at it: anterior or superior is up.

    Attributes:
        id: its name, once in a data set, fit for a file name.
        label: its class, `None` where the data set does not tell.
        patient: whose it is.
        pixels: H×W uint8, grey.
        mask: H×W bool; `None` where nobody looked for a tumour.
        plane: `axial`, `coronal` or `sagittal`, `None` where unknown.
        spacing: mm between rows and between columns, `None` where unknown.
        source: the file, from the data set's folder, and the place in it.
    """

    id: str
    label: str | None
    patient: str
    pixels: NDArray[np.uint8]
    mask: NDArray[np.bool_] | None
    plane: str | None
    spacing: tuple[float, float] | None
    source: str


def label_of(mask: NDArray[np.bool_] | None, tumor: str | None) -> str | None:
    """Class of a slice: `tumor` where its mask shows one, `notumor` where it is empty."""
    if mask is None:
        return None
    return tumor if mask.any() else "notumor"
