"""What takes up contrast agent in a healthy head: venous sinuses, dura, plexus, pituitary gland.

Positions are MNI coordinates in mm, of an average head. Shapes off the midline count for both
sides.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from brainseg.data.phantom.field import (
    Array,
    Ellipsoid,
    Point,
    Shape,
    Tube,
    Volume,
    column,
    mirrored,
    path,
    union,
)

LOW, HIGH = (-80.0, -120.0, -90.0), (80.0, 90.0, 90.0)  # what the volume covers, mm

VESSELS: list[Shape] = [
    *path(2.0, (0, -38, 6), (0, -46, 10), (0, -62, 2), (0, -78, -8), (0, -94, -18)),  # straight
    *path(3.8, (34, -32, -60), (34, -26, -76), (36, -20, -110)),  # jugular vein
    *path(1.1, (3, -4, 14), (3, -22, 13), (0, -38, 6)),  # internal cerebral veins
    *path(1.1, (3, -38, 6), (14, -34, -2), (20, -18, -12)),  # basal veins
    *path(1.3, (7, 2, 20), (10, -14, 21), (15, -30, 18), (23, -40, 10)),  # choroid plexus
    Ellipsoid((24, -42, 8), (3.0, 4.0, 4.0)),
    *path(1.1, (26, -40, 2), (34, -28, -10), (34, -16, -16)),
    *path(1.2, (8, -48, -36), (2, -44, -34)),  # of the fourth ventricle
    *path(1.5, (0, -22, -66), (1, -17, -52), (-1, -13, -38), (0, -11, -26)),  # basilar artery
    *path(0.9, (0, -11, -24), (10, -14, -20), (22, -26, -10)),  # posterior cerebral
    *path(1.2, (10, 6, -24), (22, 9, -22), (34, 6, -16), (40, 2, -8)),  # middle cerebral
    *path(0.9, (40, 2, -8), (42, -12, 4), (40, -24, 14)),
    *path(0.9, (40, 2, -8), (42, 14, 0), (40, 22, 10)),
    *path(0.9, (8, 8, -22), (2, 18, -18), (2, 38, -6), (2, 42, 8), (2, 30, 26), (2, 4, 36)),
    *path(2.6, (12, 8, -33), (13, 0, -34), (15, -8, -36)),  # cavernous sinus
    Ellipsoid((0, 3, -33), (6, 4.5, 3.5)),  # pituitary gland
    *path(1.0, (0, 2, -32), (0, 0, -24)),  # its stalk
]
TRANSVERSE = ((0, -94, -18), (24, -92, -20), (46, -78, -22), (58, -56, -28), (54, -44, -42))
SIGMOID = ((54, -44, -42), (46, -42, -52), (34, -32, -60))


def onto_surface(depth: Volume, corners: Sequence[Point]) -> list[Point]:
    """Lay a chain of `corners` on the surface of the brain, with a point every few mm."""
    ends = np.array(corners, float)
    shares = np.linspace(0, 1, 6, endpoint=False)
    points = np.concatenate([a + np.outer(shares, b - a) for a, b in pairwise(ends)])
    points = np.concatenate([points, ends[-1:]]).T
    steps = np.eye(3)[:, :, None] * 2.0
    for _ in range(4):  # Newton's method along the gradient
        slope = np.array([depth.at(points + step) - depth.at(points - step) for step in steps]) / 4
        points = points - slope * (depth.at(points) + 0.5) / np.maximum((slope**2).sum(0), 0.25)
    return [(x, y, z) for x, y, z in points.T.tolist()]


def midline(depth: Volume, degrees: Array) -> Array:
    """Points (3×N, mm) of the brain's surface in the midsagittal plane, seen from its centre.

    0° is anterior, 90° superior, 180° posterior.
    """
    radians = np.deg2rad(degrees)
    rays = np.stack([0 * radians, np.cos(radians), np.sin(radians)])
    steps = np.arange(30.0, 120.0, 0.5)
    points = column((0, -18, 8), rays[..., None]) + rays[..., None] * steps
    leaves = np.argmax(depth.at(points) < 0, axis=1)
    return np.asarray(points[:, np.arange(len(degrees)), leaves])


def sinuses(depth: Volume) -> list[Shape]:
    """Superior sagittal, transverse and sigmoid sinus, along the surface of the brain."""
    course = midline(depth, np.linspace(15, 197, 27)).T.tolist()
    widths = np.linspace(1.4, 3.8, len(course))  # wider towards the back
    sagittal = [
        Tube(start, end, width)
        for width, (start, end) in zip(widths, pairwise(course), strict=False)
    ]
    sides = [path(2.8, *onto_surface(depth, corners)) for corners in (TRANSVERSE, SIGMOID)]
    return [*sagittal, *sides[0], *sides[1]]


def falx(points: Array) -> Array:
    """Distance in mm from the middle of the falx (0 in it), -30 beside where it hangs."""
    x, y, z = points
    above = np.hypot((y + 14) / 58, (z - 2) / 36) - 1  # it arches over the corpus callosum
    return np.where((above > 0) & (z > -20 + 0.55 * np.maximum(-y - 60, 0)), -np.abs(x), -30.0)


def tentorium(points: Array) -> Array:
    """Distance in mm from the middle of the tentorium (0 in it), -30 beside where it hangs."""
    x, y, z = points
    height = 8 - 0.42 * np.maximum(-y - 46, 0) - 0.5 * np.abs(x)
    hangs = (y < -30) & (np.hypot(x / 22, (y + 28) / 20) > 1)
    return np.where(hangs, -np.abs(z - height) * 0.85, -30.0)


def vessels(depth: Volume) -> Volume:
    """Sample the distance (mm, positive inside) of all vessels.

    Args:
        depth: mm below the brain's surface.
    """
    return union(mirrored([*VESSELS, *sinuses(depth)]), LOW, HIGH, 1.0, reach=3.0)
