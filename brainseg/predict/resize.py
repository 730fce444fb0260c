"""Resizing in NumPy: the same numbers with and without OpenCV, and on every machine.

OpenCV's bytes are the same everywhere, and `resize_bytes` gives the very same. Its floats are not
(on Intel's processors they differ by up to 1e-5 from what it computes elsewhere), so that
probabilities are always resized by `resize_map`.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

FIXED = 2048
"""Weights of bytes are multiples of 1 / 2048."""

APART = 1e-3
"""A part of a pixel that is narrower counts as none."""

Taps = tuple[NDArray[np.intp], NDArray]
"""For each new pixel, N×K both: old pixels, and the weight of each."""


def resize_map(values: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Resize a map bilinearly, in float32: along the rows, then along the columns.

    Args:
        values: H×W.
        height: of the result.
        width: of the result.
    """
    rows = _weigh(values.T, _linear_taps(values.shape[1], width)).T
    return np.ascontiguousarray(_weigh(rows, _linear_taps(len(values), height)))


def resize_bytes(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize H×W to size×size as `data.image.resize_image`: by area, or bilinearly if it grows."""
    height, width = image.shape
    if (height, width) == (size, size):
        return image
    if max(height, width) <= size:
        return _blend(image, _linear_taps(height, size), _linear_taps(width, size))
    if min(height, width) < size:  # there are no areas along a side that grows
        return _blend(image, _nearest_taps(height, size), _nearest_taps(width, size))
    steps = _scale(height, size), _scale(width, size)
    if all(abs(step - round(step)) < np.finfo(float).eps for step in steps):
        return _average(image, *map(round, steps))
    rows = _weigh(image.astype(np.float32).T, _area_taps(width, size)).T
    return np.rint(_weigh(rows, _area_taps(height, size))).astype(np.uint8)


def _weigh(values: NDArray, taps: Taps) -> NDArray:
    """Weighted sums of rows; the order of the sums decides their last digits."""
    pixels, weights = taps
    total = values[pixels[:, 0]] * weights[:, :1]
    for k in range(1, pixels.shape[1]):
        total += values[pixels[:, k]] * weights[:, k, None]
    return total


def _blend(image: NDArray[np.uint8], lines: Taps, columns: Taps) -> NDArray[np.uint8]:
    """Two by two pixels for each new one, in integers."""
    rows = _weigh(image.T.astype(np.int64), _whole(columns)).T >> 4
    pixels, weights = _whole(lines)
    parts = (rows[pixels] * weights[..., None]) >> 16
    return ((parts.sum(axis=1) + 2) >> 2).astype(np.uint8)


def _average(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Means of whole blocks of pixels."""
    lines, columns = (side // step for side, step in zip(image.shape, (height, width), strict=True))
    sums = image.reshape(lines, height, columns, width).sum(axis=(1, 3), dtype=np.int64)
    if (height, width) == (2, 2):
        return ((sums + 2) >> 2).astype(np.uint8)
    return np.rint(sums.astype(np.float32) * np.float32(1 / (height * width))).astype(np.uint8)


def _scale(old: int, new: int) -> float:
    return 1 / (new / old)


def _whole(taps: Taps) -> Taps:
    pixels, weights = taps
    return pixels, np.rint(weights * np.float32(FIXED)).astype(np.int64)


@cache
def _linear_taps(old: int, new: int) -> Taps:
    """The two pixels between whose middles the middle of a new one lies."""
    place = ((np.arange(new) + 0.5) * _scale(old, new) - 0.5).astype(np.float32)
    first = np.floor(place)
    return _pair(first, place - first, old)


@cache
def _nearest_taps(old: int, new: int) -> Taps:
    """One pixel; two where the edge between them lies within the new one."""
    each = np.arange(new)
    first = np.floor(each * _scale(old, new))
    beyond = ((each + 1) - (first + 1) * (new / old)).astype(np.float32)
    return _pair(first, np.where(beyond <= 0, np.float32(0), beyond - np.floor(beyond)), old)


def _pair(first: NDArray, share: NDArray[np.float32], old: int) -> Taps:
    """A pixel and the next, which gets `share`."""
    pixels = np.clip(np.stack([first, first + 1], axis=1), 0, old - 1).astype(np.intp)
    return pixels, np.stack([np.float32(1) - share, share], axis=1)


@cache
def _area_taps(old: int, new: int) -> Taps:
    """All pixels that a new one covers, by the share of it that they fill."""
    scale = _scale(old, new)
    start = np.arange(new) * scale
    end = start + scale
    covered = np.minimum(scale, old - start)
    stop = np.minimum(np.floor(end), old - 1)
    first = np.minimum(np.ceil(start), stop)
    before, after = first - start, end - stop
    each = np.arange(int((stop - first).max()) + 2)  # a part, whole pixels, a part
    whole = (stop - first)[:, None]
    parts = np.where((each > 0) & (each <= whole), 1.0, 0.0)
    parts[:, 0] = np.where(before > APART, before, 0)
    parts[each == whole + 1] = np.where(after > APART, np.minimum(np.minimum(after, 1), covered), 0)
    pixels = np.clip(first[:, None] - 1 + each, 0, old - 1).astype(np.intp)
    return pixels, (parts / covered[:, None]).astype(np.float32)
