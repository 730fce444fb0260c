"""What makes an array a tumour mask, in every format."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from brainseg.errors import InputError

MOST_LABELS = 16
"""More values than this are no labels, but an image or a lossy mask."""

WHITE = 128
"""A single value from here on is white; below it only 1 is tumour without being named."""

STRAY_SHARE = 0.01
"""Share of a mask's own pixels that may be grey away from its edge."""

EDGE = 3
"""Width of the window, pixels, in which the soft edge of a mask shows both black and white."""

BLURRED_EDGE = 5
"""The same where a mask has many greys: it was resampled, or compressed with loss."""

BRIGHT = 25
"""Pixels brighter than this, of 255, show the head."""

BESIDE = 1e-3
"""Distance of a label from its whole number."""

LARGEST_SHARE = {2: 0.7, 3: 0.5}
"""Largest share of the head, in a slice and in a volume, that a tumour may fill."""


DOUBT = "is it an image, or were labels resampled other than by the nearest neighbour?"

LEAST_HEAD = 0.1
"""Share of a slice that shows the head, below which a tumour may fill all that is left of it."""


def to_mask(
    values: NDArray,
    source: object,
    labels: Sequence[float] | None = None,
    lossy: bool = False,
) -> NDArray[np.bool_]:
    """Read a tumour mask from numbers, of any shape.

    Without `labels` a mask has one value beside 0: 1, or anything white (from 128 on), with a soft
    edge of greys in between, from which half of white counts as tumour. Nothing else is guessed.

    Args:
        values: numbers of any real type.
        source: what they were read from, for messages.
        labels: the values that are tumour.
        lossy: whether compression may have changed the values, as in JPEG.

    Raises:
        InputError: there are several labels and none was chosen, compression changed them, or it is
            not a mask at all.
    """
    numbers = np.asarray(values)
    if numbers.dtype == bool:
        return numbers
    finite = bool(np.isfinite(numbers).all())
    numbers = _round_near(numbers) if finite else numbers
    if not finite or (numbers < 0).any():
        raise InputError(
            f"{source} is not a mask: it has values below 0 or that are not finite. Expected 0, "
            "and one value for the tumour; is it an image?"
        )
    found = np.unique(numbers[numbers > 0])
    if lossy and found.size and (labels is not None or found[-1] < WHITE):
        raise InputError(
            f"{source} was compressed with loss, as JPEG does, which changes labels: it has "
            f"{_listed(found)}. Expected black and white, without labels=…; save masks as PNG."
        )
    if labels is not None:
        _check_labels(found, source)
        return np.isin(numbers, np.asarray(labels))
    if found.size <= 1:
        if found.size and found[0] != 1 and found[0] < WHITE:
            raise _ambiguous(found, source)
        return numbers > 0
    if not _is_soft(numbers, found, lossy):
        raise _ambiguous(found, source)
    return numbers >= found[-1] / 2


def find_others(values: NDArray, labels: Sequence[float]) -> str:
    """The values of a label map that are not among `labels`, with commas between."""
    found = np.unique(_round_near(np.asarray(values)))
    return _listed(found[(found > 0) & ~np.isin(found, labels)])


def parse_labels(given: Any) -> tuple[float, ...] | None:
    """The option `labels`: a number, several with commas between, or a list; `None` for none.

    Raises:
        InputError: it is something else, or holds 0, which is never tumour.
    """
    if given is None:
        return None
    parts = given.strip("[]").split(",") if isinstance(given, str) else given
    listed = parts if isinstance(parts, Sequence) else [parts]
    try:
        labels = tuple(float(value) for value in listed if not isinstance(value, bool))
    except (TypeError, ValueError):
        labels = ()
    if not labels or any(label <= 0 or not label.is_integer() for label in labels):
        raise InputError(
            f"labels={given} cannot be used. Expected the values of the masks that are tumour, "
            "whole numbers above 0, such as 1,2,4."
        )
    return labels


def check_extent(mask: NDArray[np.bool_], pixels: NDArray[np.uint8], source: object) -> None:
    """Check that a mask, a slice or a volume, does not cover most of the head.

    A slice that shows little of the head, as the uppermost do, is not checked.

    Raises:
        InputError: it does, as the mask of a brain would.
    """
    head = np.count_nonzero(pixels > BRIGHT)
    if mask.ndim == 2 and head < LEAST_HEAD * pixels.size:
        return
    covered = np.count_nonzero(mask & (pixels > BRIGHT))
    if head and covered > LARGEST_SHARE[mask.ndim] * head:
        raise InputError(
            f"{source} covers {covered / head:.0%} of the head. Expected the mask of a tumour; is "
            "it one of the brain?"
        )


def _round_near(numbers: NDArray) -> NDArray:
    """Whole numbers where scaling to floats and back left them beside one, such as 0.99999."""
    if numbers.dtype.kind != "f":
        return numbers
    whole = np.rint(numbers)
    if not whole.any():
        return numbers  # else a faint mask would vanish
    return np.where(np.abs(numbers - whole) <= BESIDE, whole, numbers)


def _is_soft(numbers: NDArray, found: NDArray, lossy: bool) -> bool:
    """Whether the greys of a mask are its soft edge, or what compression made."""
    white = float(found[-1])
    if not (white >= WHITE or (white <= 1 and numbers.dtype.kind == "f")):
        return False
    blurred = lossy or found.size > MOST_LABELS
    margin = white / 4 if blurred else 0  # of few greys, each counts
    black, full = numbers <= margin, numbers >= white - margin
    width = BLURRED_EDGE if blurred else EDGE
    edge = ndimage.maximum_filter(black, width) & ndimage.maximum_filter(full, width)
    grey = ~black & ~full
    if blurred and np.count_nonzero(grey) > np.count_nonzero(full):
        return False  # noise has black and white everywhere
    return bool(np.count_nonzero(grey & ~edge) <= STRAY_SHARE * np.count_nonzero(~black))


def _check_labels(found: NDArray, source: object) -> None:
    if found.size > MOST_LABELS or not np.array_equal(found, np.rint(found)):
        raise InputError(
            f"{source} is not a label map: it has {found.size} values ({_listed(found)}). Expected "
            f"few whole numbers; {DOUBT}"
        )


def _ambiguous(found: NDArray, source: object) -> InputError:
    if found.size > MOST_LABELS or not np.array_equal(found, np.rint(found)):
        return InputError(
            f"{source} is not a mask: it has {found.size} values between 0 and {found[-1]:g}. "
            f"Expected 0, and one value for the tumour; {DOUBT}"
        )
    listed = _listed(found)
    return InputError(
        f"{source} is no black and white mask: beside 0 it has {listed}. If these are labels, "
        "choose those that are tumour in any of the masks with "
        f"data.labels=[{listed}] or some of them (--option labels={listed} for `brainseg`)."
    )


def _listed(found: NDArray) -> str:
    few = [f"{value:g}" for value in found[:MOST_LABELS]]
    return ",".join(few) + (",…" if found.size > len(few) else "")
