"""Outlines of a prediction and of the truth: pixels in a picture, or lines to draw above one."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from skimage.measure import block_reduce, find_contours

PREDICTION = (240, 228, 66)
"""Yellow of the colour-blind-safe palette of Okabe and Ito (2008)."""

TRUTH = (86, 180, 233)
"""Sky blue of the same palette, darker than its yellow in a grey print too."""

MOST_CORNERS = 1000
"""Of an outline in full resolution. That of a tumour in 224×224 pixels has fewer than 300."""

SIMPLIFIED = "Outlines in very many parts are simplified."
"""What `trace` does, for people."""

Ring = NDArray[np.float64]
"""Corners (x, y) of a closed line, N×2, in pixels: (0, 0) is the corner of the picture."""


def overlay(image: np.ndarray, mask: np.ndarray, truth: np.ndarray | None = None) -> np.ndarray:
    """Draw the outline of `mask` in yellow and, where given, that of `truth` in sky blue.

    The prediction's line runs just inside its edge and the truth's just outside, so that both
    stay visible where they agree. Lines are one pixel wide on an image of 256 pixels, two on 512.

    Args:
        image: grey image, H×W, uint8.
        mask: predicted tumour, H×W, bool.
        truth: annotated tumour, H×W, bool.

    Returns:
        H×W×3, uint8, RGB.
    """
    width = max(1, round(max(image.shape) / 256))
    picture = np.repeat(image[..., None], 3, axis=2)
    if truth is not None:
        picture[~_erode(~truth, width, outside=True) & ~truth] = TRUTH
    picture[mask & ~_erode(mask, width, outside=False)] = PREDICTION
    return picture


def _erode(mask: NDArray[np.bool_], times: int, *, outside: bool) -> NDArray[np.bool_]:
    """Take away the pixels at the edge, some times; `outside` stands around the picture."""
    for _ in range(times):
        wide = np.pad(mask, 1, constant_values=outside)
        across, along = wide[1:-1], wide[:, 1:-1]
        mask = mask & across[:, :-2] & across[:, 2:] & along[:-2] & along[2:]
    return mask


def trace(mask: NDArray[np.bool_], most: int = MOST_CORNERS) -> list[Ring]:
    """The outline of each part and each hole of a mask, which may be empty.

    A mask in very many parts is traced at a half, a third, … of its resolution: its outlines would
    cover the picture, and take minutes to draw.

    Args:
        mask: H×W.
        most: corners that full resolution may have.
    """
    scale, coarse = 1, np.pad(mask, 1)
    while (corners := _count_corners(coarse)) > most:
        scale = max(scale + 1, int(scale * np.sqrt(corners / most)))
        shares = block_reduce(mask, scale, np.mean)
        # Scattered pixels are half of no block: about as much is kept as the mask has.
        level = min(0.5, np.quantile(shares, 1 - mask.mean()))
        coarse = np.pad((shares >= level) & (shares > 0), 1)
    if not coarse.any():
        return []
    # Marching squares counts from the middle of the first pixel, which is the margin's here.
    lines = find_contours(coarse.astype(float), 0.5)
    return [scale * (ring[:, ::-1] - 0.5) for ring in _keep_corners(lines)]


def to_svg(rings: Sequence[Ring]) -> str:
    """Outlines from `trace` as the `d` of an SVG path, in half pixels: place it under `scale(.5)`.

    Corners lie half way between two pixels, so that all numbers are integers.
    """
    if not rings:
        return ""
    corners = np.rint(2 * np.concatenate(rings)).astype(int)
    steps = [f"{x} {y}" for x, y in np.diff(corners, axis=0).tolist()]  # relative ones are short
    ends = np.cumsum([len(ring) for ring in rings]).tolist()
    lines = [
        f"M{corners[start, 0]} {corners[start, 1]}l{' '.join(steps[start : end - 1])}z"
        for start, end in pairwise([0, *ends])
    ]
    return "".join(lines).replace(" -", "-")


def _count_corners(mask: NDArray[np.bool_]) -> int:
    """Where four pixels meet that are neither all alike nor two halves."""
    a, b, c, d = (mask[i : i - 1 or None, j : j - 1 or None] for i in (0, 1) for j in (0, 1))
    return int(np.count_nonzero((a ^ b ^ c ^ d) | ((a == d) & (b == c) & (a != b))))


def _keep_corners(lines: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """The points of closed lines at which the direction changes; all lines at once."""
    sizes = np.array([len(line) - 1 for line in lines])
    points = np.concatenate([line[:-1] for line in lines])
    ends = np.cumsum(sizes)
    following = np.arange(1, len(points) + 1)
    following[ends - 1] = ends - sizes
    steps = points[following] - points
    turns = np.empty(len(points), bool)
    turns[following] = (steps != steps[following]).any(axis=1)
    return np.split(points[turns], np.add.reduceat(turns, ends - sizes).cumsum()[:-1])
