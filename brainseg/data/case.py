"""A case is one slice: its files, class and patient."""

from dataclasses import dataclass
from pathlib import Path

CLASSES = ("glioma", "meningioma", "pituitary", "notumor")


@dataclass(frozen=True)
class Case:
    """One slice.

    `label` is one of `CLASSES`, `None` where the data set does not tell. `patient` is `None`
    where unknown. `mask` is `None` for a slice without tumour; a MATLAB file holds both.
    """

    id: str
    label: str | None
    patient: str | None
    image: Path
    mask: Path | None
