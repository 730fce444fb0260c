"""The head in a slice, the reference for positions and distances of a tumour."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import center_of_mass, distance_transform_edt
from skimage.filters import threshold_li
from skimage.measure import label

SMALLEST_SHARE = 0.05
"""Smallest share of the image for the largest bright region to be a head."""

PART = 0.1
"""Bright regions of at least this share of the largest belong to the head: scalp, not captions."""


@dataclass(frozen=True)
class Head:
    """The head in a slice, with scalp and skull; its `diameter` is the unit of length.

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

    The head is the convex hull of the large regions above Li's threshold (minimum cross entropy,
    Pattern Recognition 26, 1993), so dark skull, airways and sinuses are inside, even where the
    image's edge opens them. Scalp and skull are included, as the paper's slices are not
    skull-stripped; the dark line of the skull is about 0.07 diameters deep. The hull also covers
    the gaps below the chin and beside the neck, down to the shoulders if visible. In sequences
    with a dark scalp it is the hull of the brain. A white frame is mistaken for the head. Beyond
    the image everything is outside, as in `metrics.hd95_px`.

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
    """Like `skimage.morphology.convex_hull_image` except for a few edge pixels, and faster."""
    import cv2  # needed only to measure; reports read the measured values

    hull = np.zeros(mask.shape, np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(cv2.findNonZero(mask.astype(np.uint8))), 1)
    return hull > 0
