"""The position of a segmented tumour in the head, its shape, and its look inside and at its edge.

Distances are relative to the head's diameter or the tumour's own depth, and intensities to the
head's contrast, so that images of any size and brightness can be compared.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import (
    binary_fill_holes,
    center_of_mass,
    distance_transform_edt,
    find_objects,
    gaussian_filter,
)
from scipy.spatial import ConvexHull
from skimage.measure import find_contours, label

from brainseg.evaluation.head import Head, find_head, largest_component
from brainseg.vocabulary import MEASURES

BAND = 0.03
"""Width of the bands on both sides of the outline, in diameters of the head: about 5 mm."""

DEEPEST = 3.0
"""Smallest depth in pixels of a tumour that has a rim and a core."""


def measure_tumor(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> dict[str, float | None]:
    """Measure the largest component of a tumour mask, its holes filled.

    - `area_share`: its area as a share of the head's.
    - `surface_distance`: from its edge to the nearest point of the head's surface, in diameters of
      the head; 0 where it touches. The head includes scalp and skull, see `head.find_head`.
    - `centre_distance`: from its centroid to the head's, in diameters of the head. The sella is
      near the middle of the head in all three planes and any orientation.
    - `roundness` 4πA/P² and `solidity` A/(area of the convex hull), both of one polygon: the
      half-level contour of the mask smoothed with a Gaussian of 1 pixel. The roundness of a square
      is π/4 at any angle, and neither exceeds 1. Counting pixels (`skimage.measure.perimeter`)
      gives a disc 0.9 to 2, depending on the angle.
    - `sharpness`: absolute difference of the mean intensities within `BAND` inside and outside the
      outline (within the head), divided by the head's contrast. Blur lowers it, but so do a faint
      tumour and a misplaced outline.
    - `ring_contrast`: mean of the outer third minus mean of the inner half of the depth below the
      outline, divided by the head's contrast. Above 0: a bright ring.
    - `heterogeneity`: the coefficient of variation of the intensities inside.

    Args:
        image: grey slice with a dark background, H×W.
        mask: tumour, H×W.

    Returns:
        The keys of `MEASURES`. `None` where undefined: all for an empty mask, those relative to the
        head where `find_head` finds none, the shape of a mask that smoothing removes, the ring of a
        tumour less than `DEEPEST` pixels deep, and any division by 0.
    """
    measures: dict[str, float | None] = dict.fromkeys(MEASURES)
    if not mask.any():
        return measures
    tumor = binary_fill_holes(largest_component(mask))
    head = find_head(image)
    measures |= _shape(tumor) | _texture(image[tumor])
    if head is not None:
        measures |= _position(tumor, head) | _edge(image, tumor, head)
    return measures


def count_components(mask: NDArray[np.bool_]) -> int:
    """Count the regions of a mask, H×W; pixels join by edge or corner."""
    return int(label(mask, return_num=True)[1])


def _position(tumor: NDArray[np.bool_], head: Head) -> dict[str, float | None]:
    gap = max(0.0, float(head.depth[tumor].min()) - 1)  # the outermost pixels are 1 deep
    return {
        "area_share": float(tumor.sum() / head.mask.sum()),
        "surface_distance": gap / head.diameter,
        "centre_distance": float(np.hypot(*np.subtract(center_of_mass(tumor), head.centre)))
        / head.diameter,
    }


def _shape(tumor: NDArray[np.bool_]) -> dict[str, float | None]:
    smooth = gaussian_filter(np.pad(tumor[_box(tumor)], 4).astype(float), 1)
    outlines = find_contours(smooth, 0.5)
    if not outlines:
        return {}
    outline = max(outlines, key=len)
    rows, columns = outline[:-1].T  # closed: the last point is the first
    area = abs(float(rows @ np.roll(columns, 1) - columns @ np.roll(rows, 1))) / 2
    length = float(np.hypot(*np.diff(outline, axis=0).T).sum())
    # In two dimensions the "volume" is the area.
    return {
        "roundness": 4 * np.pi * area / length**2,
        "solidity": area / float(ConvexHull(outline).volume),
    }


def _texture(inside: NDArray[np.uint8]) -> dict[str, float | None]:
    mean = float(inside.mean())
    return {"heterogeneity": float(inside.std()) / mean if mean else None}


def _edge(
    image: NDArray[np.uint8], tumor: NDArray[np.bool_], head: Head
) -> dict[str, float | None]:
    """Measure in a window around the tumour; beyond the image there is neither tumour nor head."""
    if not head.contrast:
        return {}
    width = max(1.0, BAND * head.diameter)
    margin = int(np.ceil(width)) + 1
    window = _box(np.pad(tumor, margin), margin)
    grey = np.pad(image, margin)[window]
    inside, around = (np.pad(mask, margin)[window] for mask in (tumor, head.mask))
    depth, distance = distance_transform_edt(inside), distance_transform_edt(~inside)
    deepest = float(depth.max())
    step = _difference(
        grey[inside & (depth <= width)], grey[~inside & around & (distance <= width)]
    )
    ring = None
    if deepest >= DEEPEST:
        ring = _difference(grey[inside & (depth <= deepest / 3)], grey[depth > deepest / 2])
    return {
        "sharpness": None if step is None else abs(step) / head.contrast,
        "ring_contrast": None if ring is None else ring / head.contrast,
    }


def _difference(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float | None:
    return float(first.mean() - second.mean()) if first.size and second.size else None


def _box(mask: NDArray[np.bool_], margin: int = 0) -> tuple[slice, ...]:
    """Bounding box of a mask, with a margin that must lie within the image."""
    sides = find_objects(mask.astype(np.uint8))[0]
    return tuple(slice(side.start - margin, side.stop + margin) for side in sides)
