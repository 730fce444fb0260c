"""Drawing a glioma, a meningioma or a pituitary tumour (section I-B of the paper) into a slice.

Points are MNI coordinates in mm, of shape 3×…; `depth` is a point's depth in mm below the brain's
surface, negative outside.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainseg.data.phantom.field import Array, Field, blend, column, inside, sheet

SELLA = np.array([0.0, 5.0, -32.0])
REACH = {"glioma": 0.55, "meningioma": 0.9, "pituitary": 0.1}
"""How far around it, in radii, a tumour can change tissue: oedema, dural tail."""


@dataclass(frozen=True)
class Tumor:
    """A tumour: its position, size, brightness and individual outline."""

    kind: str  #: of `vocabulary.TUMORS`
    centre: Array  #: MNI coordinates, mm
    radius: float  #: mm
    brightness: float  #: of the part that takes up contrast agent, in [0, 1]
    necrosis: float  #: brightness of a glioma's core, in [0, 1]
    rim: float  #: mean thickness of a glioma's enhancing rim, in radii
    falx: float  #: side (±1) on which a meningioma hangs on the falx, 0 where on the outer dura
    push: float  #: how far it moves the brain aside, in radii
    shape: Field
    detail: Field
    texture: Field


def place(
    kind: str,
    radius: float,
    falx: float,
    rng: np.random.Generator,
    depth_at: Callable[[Array], Array],
) -> Array:
    """Draw a centre (MNI, mm) where a tumour of this kind and radius (mm) grows."""
    if kind == "pituitary":  # it fills the sella first and then grows upwards
        return SELLA + rng.normal(0.0, 1.0, 3) + [0.0, 0.0, 0.4 * radius]
    low, high = [[-50.0], [-82.0], [-35.0]], [[50.0], [52.0], [62.0]]  # where slices are large
    points = rng.uniform(low, high, (3, 20_000))
    depth = depth_at(points)
    if kind == "glioma":
        fits = (depth > 0.5 * radius + 8) & (np.abs(points[0]) > 12)  # beside the ventricles
    elif falx:
        points[0] = 0.6 * radius * falx
        fits = (points[2] > 35) & (depth_at(points) > 4)
    else:
        fits = np.abs(depth - 0.6 * radius) < 1.0
    return points[:, np.flatnonzero(fits)[0]]


def dura_depth(tumor: Tumor, points: Array, depth: Array) -> Array:
    """Distance in mm from the dura on which a meningioma grows, positive on its side."""
    return tumor.falx * points[0] if tumor.falx else depth


def outline(tumor: Tumor, points: Array, depth: Array) -> Array:
    """Distance in mm from the tumour's outline, positive inside."""
    offset = points - column(tumor.centre, points)
    bump, detail = tumor.radius * tumor.shape(points), tumor.radius * tumor.detail(points)
    if tumor.kind == "glioma":
        sphere = tumor.radius - np.linalg.norm(offset, axis=0) + 0.22 * bump + 0.09 * detail
        return np.minimum(sphere, depth - 1.0)
    if tumor.kind == "meningioma":
        sphere = tumor.radius - np.linalg.norm(offset, axis=0) + 0.09 * bump + 0.02 * detail
        dura = np.minimum(dura_depth(tumor, points, depth), depth)
        return np.minimum(sphere, dura + 1.5)  # flat against it
    offset[2] *= np.where(offset[2] > 0, 0.8, 1.0)  # higher than wide
    return tumor.radius - np.linalg.norm(offset, axis=0) + 0.08 * bump + 0.03 * detail


def is_near(tumor: Tumor, points: Array, depth: Array) -> NDArray[np.bool_]:
    """Where the tumour, its oedema or its dural tail can have changed the tissue."""
    return outline(tumor, points, depth) > -REACH[tumor.kind] * tumor.radius - 6


def displace(tumor: Tumor, points: Array, depth: Array) -> Array:
    """Find where in the healthy brain the tissue at `points` was before the tumour grew."""
    offset = points - column(tumor.centre, points)
    distance = np.linalg.norm(offset, axis=0)
    moved = tumor.push * tumor.radius * np.exp(-((distance / (1.7 * tumor.radius)) ** 2))
    return points - offset / (distance + 1e-6) * moved * np.clip(depth / 12, 0, 1)


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
        and its necrotic core, without the oedema; that of a meningioma is without its tail.
    """
    edge = outline(tumor, points, depth)
    paint = {"glioma": _glioma, "meningioma": _meningioma, "pituitary": _pituitary}[tumor.kind]
    return paint(tumor, image, points, depth, edge), edge > 0


def _glioma(tumor: Tumor, image: Array, points: Array, depth: Array, edge: Array) -> Array:
    texture, detail = tumor.texture(points), tumor.detail(points)
    reach = np.clip(0.38 + 0.2 * texture, 0.2, REACH["glioma"]) * tumor.radius
    oedema = inside(edge + reach, 5.0) * inside(depth - 2)
    image = blend(image, 0.6 * image, oedema)
    rim = (tumor.rim + 0.12 * texture + 0.06 * detail) * tumor.radius
    core = tumor.necrosis * (1 + 0.15 * detail)
    bright = tumor.brightness * (1 + 0.12 * np.clip(texture + detail, -2, 2))
    solid = blend(bright, core, inside(edge - rim, 3.0))
    return blend(image, solid, inside(edge, 3.0))


def _meningioma(tumor: Tumor, image: Array, points: Array, depth: Array, edge: Array) -> Array:
    surface = dura_depth(tumor, points, depth)
    image = blend(image, 0.7 * image, inside(edge + 1.5) * inside(depth))  # a cleft of fluid
    tail = sheet(surface + 1.0, 4.0) * inside(edge + 0.6 * tumor.radius, 0.6 * tumor.radius)
    tail = tail * inside(depth + 3.0)
    bright = _solid(tumor, points)
    return blend(blend(image, bright, 0.9 * tail), bright, inside(edge))


def _pituitary(tumor: Tumor, image: Array, points: Array, depth: Array, edge: Array) -> Array:
    return blend(image, _solid(tumor, points), inside(edge))


def _solid(tumor: Tumor, points: Array) -> Array:
    """Brightness of homogeneous tumour tissue."""
    return tumor.brightness * (1 + 0.06 * tumor.texture(points) + 0.04 * tumor.detail(points))
