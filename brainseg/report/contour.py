"""Outlines of masks as SVG paths."""

import numpy as np
from numpy.typing import NDArray
from skimage.measure import find_contours


def contour(mask: NDArray[np.bool_]) -> str:
    """Outline of a binary mask as the `d` of an SVG path, in half pixels; holes are outlined too.

    The corner of the picture is (0, 0), the middle of its first pixel (1, 1): under `scale(.5)` it
    lies on the picture. Empty for an empty mask.
    """
    lines = find_contours(np.pad(mask, 1).astype(float), 0.5)
    # Marching squares counts from the middle of the first pixel, which is the margin's here; its
    # points lie between two pixels, so that their doubles are integers.
    return "".join(_to_path(np.rint(2 * line - 1).astype(int)) for line in lines)


def _to_path(ring: NDArray[np.int_]) -> str:
    """A closed ring of (row, column) as its corners, in relative steps: they are short."""
    steps = np.diff(ring, axis=0)
    corners = ring[:-1][(steps != np.roll(steps, 1, axis=0)).any(axis=1), ::-1]
    text = " ".join(f"{x} {y}" for x, y in np.diff(corners, axis=0).tolist())
    return "M{} {}l".format(*corners[0]) + text.replace(" -", "-") + "z"
