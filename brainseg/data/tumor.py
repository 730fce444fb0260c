"""Drawing a glioma, a meningioma or a pituitary tumour (section I-B of the paper) into a slice.

Points are MNI coordinates in mm, of shape 3×…; `depth` is a point's depth in mm below the brain's
surface, negative outside.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float64]
Field = Callable[[Array], Array]

KINDS = ("glioma", "meningioma", "pituitary")
SELLA = np.array([0.0, 5.0, -32.0])


def smooth_noise(rng: np.random.Generator, spacing: float) -> Field:
    """Make a random smooth field over the head, about N(0, 1) with bumps of some `spacing` mm.

    It maps points (3×…, mm) to values (…).
    """
    reach = 160.0
    count = int(2 * reach / spacing) + 4
    knots = rng.standard_normal((count, count, count))
    # Cubic B-splines over independent knots have a mean variance of 0.48³: scale it to 1.
    return lambda points: (
        3.0
        * ndimage.map_coordinates(
            knots, (points + reach) / spacing + 1, order=3, mode="nearest", prefilter=False
        )
    )


def inside(distance: Array, softness: float = 2.0) -> Array:
    """Weight in [0, 1] of what lies at `distance` mm inside an edge of width `softness` mm."""
    return np.clip(distance / softness + 0.5, 0.0, 1.0)


def blend(image: Array, value: Array | float, weight: Array) -> Array:
    """Lay `value` over `image` with an opacity of `weight`."""
    return image + (value - image) * weight


@dataclass(frozen=True)
class Tumor:
    """A tumour: where it is, how large, how bright, and what makes its outline its own."""

    kind: str  #: glioma, meningioma or pituitary
    centre: Array  #: MNI coordinates, mm
    radius: float  #: mm
    brightness: float  #: of the part that takes up contrast agent, in [0, 1]
    shape: Field
    texture: Field


def place(
    kind: str, radius: float, rng: np.random.Generator, depth_at: Callable[[Array], Array]
) -> Array:
    """Draw a centre (MNI, mm) where a tumour of this kind and radius (mm) grows."""
    if kind == "pituitary":  # it fills the sella first and then grows upwards
        return SELLA + rng.normal(0.0, 1.0, 3) + [0.0, 0.0, 0.4 * radius]
    low, high = [[-50.0], [-82.0], [-15.0]], [[50.0], [48.0], [62.0]]  # where slices are large
    points = rng.uniform(low, high, (3, 20_000))
    depth = depth_at(points)
    if kind == "glioma":
        fits = (depth > 0.9 * radius + 3) & (np.abs(points[0]) > 12)  # beside the ventricles
    else:
        fits = np.abs(depth - 0.55 * radius) < 1.0
    return points[:, np.flatnonzero(fits)[0]]


def outline(tumor: Tumor, points: Array, depth: Array) -> Array:
    """Distance in mm from the tumour's outline, positive inside."""
    offset = points - tumor.centre.reshape(3, *[1] * (points.ndim - 1))
    bump = tumor.radius * tumor.shape(points)
    if tumor.kind == "glioma":
        sphere = tumor.radius - np.linalg.norm(offset, axis=0) + 0.18 * bump
        return np.minimum(sphere, depth - 1.0)
    if tumor.kind == "meningioma":
        sphere = tumor.radius - np.linalg.norm(offset, axis=0) + 0.03 * bump
        return np.minimum(sphere, depth + 2.0)  # flat against the dura
    offset[2] *= np.where(offset[2] > 0, 0.8, 1.0)  # higher than wide
    return tumor.radius - np.linalg.norm(offset, axis=0) + 0.05 * bump


def draw(
    tumor: Tumor, image: Array, points: Array, depth: Array
) -> tuple[Array, NDArray[np.bool_]]:
    """Draw a tumour over a slice.

    Args:
        tumor: what to draw.
        image: H×W, in [0, 1].
        points: 3×H×W, the pixels' MNI coordinates in mm.
        depth: H×W, mm below the brain's surface.

    Returns:
        The slice with the tumour, and its mask (H×W). The mask of a glioma is its enhancing rim
        and its necrotic core, without the oedema.
    """
    edge = outline(tumor, points, depth)
    texture = tumor.texture(points)
    bright = tumor.brightness * (1 + 0.05 * texture)
    if tumor.kind == "glioma":
        swollen = inside(edge + (0.4 + 0.1 * texture) * tumor.radius, 4.0) * inside(depth - 2)
        image = blend(image, 0.6 * image, swollen)
        rim = (0.32 + 0.08 * texture) * tumor.radius
        core = blend(bright, 0.3 * tumor.brightness, inside(edge - rim, 3.0))
        return blend(image, core, inside(edge, 3.0)), edge > 0
    if tumor.kind == "meningioma":  # a cleft of fluid parts it from the brain
        image = blend(image, 0.5 * image, inside(edge + 2.0) * inside(depth))
    return blend(image, bright, inside(edge)), edge > 0
