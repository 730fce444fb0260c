"""Fields over the head: random ones, sampled volumes, and the distances of simple shapes.

Points are MNI coordinates in mm, of shape 3×…; a distance is in mm and positive inside.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float64]
Field = Callable[[Array], Array]
Point = tuple[float, float, float]

FAR = 30.0  # mm; no shape knows of points farther out
KNOTS = 24


def column(point: Array | Sequence[float], points: Array) -> Array:
    """Reshape one point so that it broadcasts against `points` (3×…)."""
    return np.reshape(np.asarray(point, float), (3, *[1] * (points.ndim - 1)))


def smooth_noise(rng: np.random.Generator, spacing: float) -> Field:
    """Make a random smooth field over the head, about N(0, 1) with bumps of some `spacing` mm.

    It maps points (3×…, mm) to values (…) and repeats itself after 24 bumps.
    """
    knots = rng.standard_normal((KNOTS, KNOTS, KNOTS))
    # Quadratic B-splines over independent knots have a mean variance of 0.55³: scale it to 1.
    return lambda points: (
        0.55**-1.5
        * ndimage.map_coordinates(
            knots, points / spacing + KNOTS // 2, order=2, mode="grid-wrap", prefilter=False
        )
    )


def inside(distance: Array, softness: float = 2.0) -> Array:
    """Weight in [0, 1] of what lies at `distance` mm inside an edge of width `softness` mm."""
    return np.clip(distance / softness + 0.5, 0.0, 1.0)


def sheet(distance: Array, thickness: float) -> Array:
    """Weight in [0, 1] of a layer `thickness` mm thick along a surface `distance` mm away."""
    return np.exp(-((2 * distance / thickness) ** 2))


def blend(image: Array | float, value: Array | float, weight: Array) -> Array:
    """Lay `value` over `image` with an opacity of `weight`."""
    return image + (value - image) * weight


@dataclass(frozen=True)
class Volume:
    """A volume on a regular grid over MNI space."""

    values: NDArray[np.float32]
    spacing: float  #: mm
    origin: Array  #: MNI coordinates of the first voxel, mm

    def at(self, points: Array) -> Array:
        """Sample linearly at `points` (3×…, mm)."""
        return ndimage.map_coordinates(
            self.values,
            (points - column(self.origin, points)) / self.spacing,
            float,
            order=1,
            mode="nearest",
        )


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid along the axes of MNI space."""

    centre: Point
    axes: Point  #: half lengths, mm

    def distance(self, points: Array) -> Array:
        """Distance in mm from the surface, to first order."""
        unit = (points - column(self.centre, points)) / column(self.axes, points)
        norm = np.linalg.norm(unit, axis=0)
        slope = np.linalg.norm(unit / column(self.axes, points), axis=0)
        return (1 - norm) * norm / np.maximum(slope, 1e-6)

    def box(self) -> tuple[Array, Array]:
        """Return two opposite corners."""
        centre, axes = np.array(self.centre), np.array(self.axes)
        return centre - axes, centre + axes


@dataclass(frozen=True)
class Tube:
    """A straight tube with round ends."""

    start: Point
    end: Point
    radius: float  #: mm

    def distance(self, points: Array) -> Array:
        """Distance in mm from the surface."""
        start, axis = column(self.start, points), np.subtract(self.end, self.start)
        along = np.tensordot(axis, points - start, 1) / (axis @ axis)
        nearest = np.multiply.outer(axis, np.clip(along, 0, 1))
        return self.radius - np.linalg.norm(points - start - nearest, axis=0)

    def box(self) -> tuple[Array, Array]:
        """Return two opposite corners."""
        ends = np.array([self.start, self.end])
        return ends.min(0) - self.radius, ends.max(0) + self.radius


Shape = Ellipsoid | Tube


def path(radius: float, *points: Point) -> list[Shape]:
    """Make a chain of tubes through `points`."""
    return [Tube(start, end, radius) for start, end in pairwise(points)]


def mirrored(shapes: Iterable[Shape]) -> list[Shape]:
    """Add the other side's counterpart of every shape that is not in the midline."""

    def other(point: Point) -> Point:
        return (-point[0], point[1], point[2])

    pairs: list[Shape] = []
    for shape in shapes:
        pairs.append(shape)
        if isinstance(shape, Ellipsoid) and shape.centre[0]:
            pairs.append(Ellipsoid(other(shape.centre), shape.axes))
        elif isinstance(shape, Tube) and (shape.start[0] or shape.end[0]):
            pairs.append(Tube(other(shape.start), other(shape.end), shape.radius))
    return pairs


def union(
    shapes: Iterable[Shape], low: Point, high: Point, spacing: float, reach: float = 8.0
) -> Volume:
    """Sample the distance of the union of `shapes` over the box from `low` to `high` (mm).

    Distances are right up to `reach` mm outside; farther out they may be too low.
    """
    origin = np.array(low, float)
    shape = (np.subtract(high, low) / spacing).astype(int) + 1
    values = np.full(shape, -FAR, np.float32)
    for part in shapes:
        lower, upper = part.box()
        first = np.clip(np.floor((lower - reach - origin) / spacing).astype(int), 0, shape)
        last = np.clip(np.ceil((upper + reach - origin) / spacing).astype(int) + 1, 0, shape)
        window = tuple(slice(start, stop) for start, stop in zip(first, last, strict=True))
        points = np.array(np.mgrid[window], float) * spacing + origin.reshape(3, 1, 1, 1)
        np.maximum(values[window], part.distance(points), out=values[window], casting="same_kind")
    return Volume(values, spacing, origin)
