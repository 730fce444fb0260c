"""A case is one slice: its files, class and patient. A problem is what is wrong with a file."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from brainseg.errors import InputError
from brainseg.vocabulary import NEGATIVE

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Case:
    """One slice, and what its data set says about it.

    Attributes:
        id: unique within a data set.
        label: one of `vocabulary.CLASSES`; `None` where unknown.
        patient: `None` where unknown.
        image: file of the image.
        mask: file of the mask, `None` where there is none; a MATLAB file holds both.
        plane: `axial`, `coronal` or `sagittal`; `None` where unknown.
        fold: the fold that the data set's authors put it in, from 0.
        source: what a slice was cut from, such as `P1/t1c.nii.gz axial 57`; `None`: the image.
        labels: the values of the mask that are tumour, see `to_mask`.
    """

    id: str
    label: str | None
    patient: str | None
    image: Path
    mask: Path | None
    plane: str | None = None
    fold: int | None = None
    source: str | None = None
    labels: tuple[float, ...] | None = None

    @property
    def unmasked(self) -> bool:
        """Whether it may show a tumour that nobody outlined."""
        return self.mask is None and self.label != NEGATIVE


@dataclass(frozen=True)
class Problem:
    """What makes a file unusable.

    `kind` is `layout`, `id`, `label`, `patient`, `image`, `mask`, `size`, `flat` (an image that
    shows nothing) or `outside` (a tumour outside the head). One that is not `fatal` is only logged.
    """

    kind: str
    path: str
    message: str
    fatal: bool = True


OnProblem = Callable[[Problem], None]
"""Receives each problem of a data set. Where it returns, reading continues without that file."""


def refuse(problem: Problem) -> None:
    """Stop at the first fatal problem; log the others.

    Raises:
        InputError: the problem is fatal.
    """
    if problem.fatal:
        raise InputError(problem.message)
    logger.warning("%s", problem.message)


def name_some(names: Iterable[str]) -> str:
    """The first three names, for a message."""
    listed = list(names)
    return ", ".join(listed[:3]) + (", …" if len(listed) > 3 else "")
