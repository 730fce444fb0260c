"""One rule for intensities of every format: from numbers of any type and range to bytes."""

import numpy as np
from numpy.typing import NDArray

from brainseg.errors import InputError

LARGEST = 1e100
"""Numbers of this size count as not finite, so that no difference of others overflows."""

WHITE_PERCENTILE = 99.9
"""Of the head's pixels; a hot pixel or a bright vessel above it does not darken the rest."""

NEGATIVE_SHARE = 0.05
"""Share of the head's pixels that may be negative, as noise around zero is."""

FLAT_SHARE = 0.10
"""Share of the pixels with one value from which that value is a background."""

PADDED_SHARE = 0.01
"""Share of the pixels with one extreme value from which that value may be padding."""


def to_grey(
    values: NDArray, source: object, padding: NDArray[np.bool_] | None = None
) -> NDArray[np.uint8]:
    """Scale an image or a volume of any shape so that 0 stays black and its head uses all of uint8.

    The 99.9th percentile of what is brighter than zero becomes white. What is not finite, and
    padding, becomes black and counts for nothing. Padding is what `padding` says, and an extreme
    value, shared by many pixels, that is farther from all others than these are from each other, or
    the only one below zero beside a background of zero. A background below zero is moved to zero.

    Args:
        values: numbers of any real type.
        source: what they were read from, for messages.
        padding: pixels that the file itself declares to be none.

    Raises:
        InputError: there is no finite value, or zero lies within the head: the values were
            normalised (z-scored), and nothing tells black from dark.
    """
    with np.errstate(invalid="ignore"):  # a NaN may be of the kind that signals
        numbers = np.asarray(values, dtype=np.float64)
    kept = np.abs(numbers) < LARGEST
    if not kept.any():
        raise InputError(f"{source} holds no finite value. Replace the file or remove it.")
    if padding is not None:
        kept &= ~padding
    if not kept.any():
        return np.zeros(numbers.shape, np.uint8)
    kept &= ~_find_padding(numbers, kept)
    found = numbers[kept]
    floor = _find_floor(found, source)
    head = found[found > floor] - floor
    if not head.size:
        return np.zeros(numbers.shape, np.uint8)
    top: float = np.percentile(head, WHITE_PERCENTILE).item()
    shifted = np.where(kept, numbers, floor) - floor
    return np.rint(np.clip(shifted, 0, top) / top * 255).astype(np.uint8)


def invert(values: NDArray, padding: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Turn an image whose lowest value is white: its highest, as of air, becomes 0.

    Padding counts for nothing. Where it stands for the air, the range stays as it is.
    """
    with np.errstate(invalid="ignore"):  # a NaN may be of the kind that signals
        numbers = np.asarray(values, dtype=np.float64)
    kept = np.abs(numbers) < LARGEST
    kept = kept if padding is None else kept & ~padding
    if not kept.any():
        return numbers
    black = np.percentile(numbers[kept], WHITE_PERCENTILE)
    least = numbers[kept].min() if padding is not None and padding.any() else 0.0
    return np.where(kept, np.maximum(black - numbers, 0) + least, numbers)


def _find_padding(numbers: NDArray[np.float64], kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels with an extreme value that stands apart and is no part of the range."""
    padding = np.zeros(numbers.shape, bool)
    for extreme in (np.min, np.max):
        left = kept & ~padding
        many = PADDED_SHARE * np.count_nonzero(left)
        value = extreme(numbers[left])
        at_value = left & (numbers == value)
        rest = numbers[left & ~at_value]
        if not rest.size or not np.ptp(rest) or np.count_nonzero(at_value) < many:
            continue
        apart = np.abs(rest - value).min() > np.ptp(rest)
        beside_black = value < 0 <= rest.min() and np.count_nonzero(rest == 0) >= many
        if apart or beside_black:
            padding |= at_value
    return padding


def _find_floor(found: NDArray[np.float64], source: object) -> float:
    """The value that is black: zero, or a flat background below it."""
    lowest = float(found.min())
    share = int((found < 0).sum()) / max(int((found != 0).sum()), 1)
    if share <= NEGATIVE_SHARE:
        return 0.0
    if np.count_nonzero(found == lowest) >= FLAT_SHARE * found.size:
        return lowest
    raise InputError(
        f"{source} is negative in {share:.0%} of its pixels other than 0. Expected intensities as "
        "scanned, from 0. Was it normalised (z-scored)? Use the original."
    )
