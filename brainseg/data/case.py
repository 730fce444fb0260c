"""A case is one slice: its files, class and patient; and a problem is what is wrong with a file."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from brainseg.errors import InputError

logger = logging.getLogger(__name__)

CLASSES = ("glioma", "meningioma", "pituitary", "notumor")


@dataclass(frozen=True)
class Case:
    """One slice, and what its data set tells about it.

    Attributes:
        id: its name, once in a data set.
        label: one of `CLASSES`, `None` where the data set does not tell.
        patient: `None` where unknown.
        image: file of the image.
        mask: file of the mask; `None` where there is none. A MATLAB file holds both.
        plane: `axial`, `coronal` or `sagittal`, where the format tells.
        spacing: mm between rows and between columns, where the format tells.
        fold: number of the fold that the data set's authors put it in, from 0.
        source: what a slice was cut from, such as `P1/t1c.nii.gz axial 57`; `None`: the image.
    """

    id: str
    label: str | None
    patient: str | None
    image: Path
    mask: Path | None
    plane: str | None = None
    spacing: tuple[float, float] | None = None
    fold: int | None = None
    source: str | None = None

    @property
    def unmasked(self) -> bool:
        """Whether it shows a tumour whose outline nobody drew."""
        return self.mask is None and self.label != "notumor"


@dataclass(frozen=True)
class Problem:
    """What makes a file unusable.

    `kind` is `layout`, `id`, `label`, `image`, `mask`, `size`, `flat` (an image that shows nothing)
    or `outside` (a tumour outside the head). What is not `fatal` is only told.
    """

    kind: str
    path: str
    message: str
    fatal: bool = True


OnProblem = Callable[[Problem], None]
"""Is told each problem of a data set; where it returns, reading goes on without that file."""


def refuse(problem: Problem) -> None:
    """Stop at the first problem that is fatal; tell the others.

    Raises:
        InputError: the problem is fatal.
    """
    if problem.fatal:
        raise InputError(problem.message)
    logger.warning("%s", problem.message)
