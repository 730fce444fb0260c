"""A slice cut from a volume."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainseg.vocabulary import NEGATIVE

Cut = Callable[[], "Iterator[VolumeSlice]"]
"""Cuts one volume into its slices."""


@dataclass(frozen=True)
class VolumeSlice:
    """One slice of a volume in the radiological view: anterior or superior is up.

    Attributes:
        id: its name, usable as a file name.
        label: its class, `None` where unknown.
        patient: name of the patient.
        examination: name of the examination, in which `patient_pattern` finds the patient.
        place: path of the examination, likewise, where its name does not tell.
        pixels: H×W uint8, grey.
        mask: H×W bool; `None` where the slice is unlabelled.
        plane: `axial`, `coronal` or `sagittal`, `None` where unknown.
        source: the file, relative to the data set's folder, and the position in it.
    """

    id: str
    label: str | None
    patient: str
    examination: str
    place: str
    pixels: NDArray[np.uint8]
    mask: NDArray[np.bool_] | None
    plane: str | None
    source: str


def label_of(mask: NDArray[np.bool_] | None, tumor: str | None) -> str | None:
    """Class of a slice: `tumor` where its mask shows one, the negative class where it is empty."""
    if mask is None:
        return None
    return tumor if mask.any() else NEGATIVE
