"""The head in a slice: what positions and distances of a tumour are measured against."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import center_of_mass, distance_transform_edt
from skimage.filters import threshold_li
from skimage.measure import label

SMALLEST_SHARE = 0.05
"""Share of the image below which the largest bright region is not taken for a head."""

PART = 0.1
"""Bright regions of this share of the largest are of the head too: the scalp, but no caption."""


@dataclass(frozen=True)
class Head:
    """The head in a slice, with scalp and skull; image sizes compare by its `diameter`.

    Attributes:
        mask: H×W bool, convex.
        depth: H×W, distance in pixels of each pixel's centre to the nearest one outside; 0 there.
        diameter: of the disc of the same area, in pixels.
        centre: row and column of the centroid.
        contrast: 5th to 95th percentile of the image's intensities in the head.
    """

    mask: NDArray[np.bool_]
    depth: NDArray[np.floating]
    diameter: float
    centre: tuple[float, float]
    contrast: float


def find_head(image: NDArray[np.uint8]) -> Head | None:
    """Find the head in a slice (H×W uint8, dark background) of any plane and orientation.

    It is the convex hull of the large regions above Li's threshold (minimum cross entropy, Pattern
    Recognition 26, 1993): dark skull, airways and sinuses are inside, also those that the image's
    edge lays open. The slices of the paper are not skull-stripped, and scalp and skull stay; the
    dark line of the skull lies about 0.07 diameters deep. The hull also spans what a head leaves
    free below the chin and beside the neck, down to the shoulders where a slice shows them; in
    other sequences, where the scalp is dark, it is that of the brain. A white frame around a small
    image is taken for the head. Beyond the image everything is outside, as in `metrics.hd95_px`.

    Returns:
        `None` where no region above the threshold fills `SMALLEST_SHARE` of the image.
    """
    regions = label(image > threshold_li(image))
    sizes = np.bincount(regions.ravel())
    sizes[0] = 0  # the background
    if sizes.max() < SMALLEST_SHARE * image.size:
        return None
    mask = _convex_hull((sizes >= PART * sizes.max())[regions])
    low, high = np.percentile(image[mask], [5, 95])
    return Head(
        mask=mask,
        depth=distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1],
        diameter=2 * float(np.sqrt(mask.sum() / np.pi)),
        centre=center_of_mass(mask),
        contrast=float(high - low),
    )


def largest_component(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep the largest region of a mask with a pixel, H×W; pixels join by edge or corner."""
    regions = label(mask)
    return regions == 1 + np.bincount(regions.ravel())[1:].argmax()


def _convex_hull(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """As `skimage.morphology.convex_hull_image` but for a few pixels at its edge, and faster."""
    import cv2  # only who measures needs it: reports read what was measured

    hull = np.zeros(mask.shape, np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(cv2.findNonZero(mask.astype(np.uint8))), 1)
    return hull > 0
