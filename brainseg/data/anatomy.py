"""The anatomy of a head: the ICBM152 brain, and a drawn skull, scalp, face and neck around it.

The templates are those that the package `nilearn` ships, so that nothing has to be downloaded.
Points are MNI coordinates in mm, of shape 3×….
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from brainseg.data.tumor import Array, Field, blend, inside


@dataclass(frozen=True)
class Volume:
    """A volume on a regular grid over MNI space."""

    values: NDArray[np.float32]
    spacing: float  #: mm
    origin: Array  #: MNI coordinates of the first voxel, mm

    def at(self, points: Array) -> Array:
        """Sample linearly at `points` (3×…, mm)."""
        origin = self.origin.reshape(3, *[1] * (points.ndim - 1))
        return ndimage.map_coordinates(
            self.values, (points - origin) / self.spacing, float, order=1, mode="nearest"
        )


@cache
def templates() -> dict[str, Volume]:
    """Load `t1`, `gray` and `white` (in [0, 1]) and `depth` (mm below the brain's surface)."""
    from nilearn import datasets  # takes seconds to import, and a finished data set needs none

    def volume(name: str, resolution: int) -> Volume:
        image = getattr(datasets, f"load_mni152_{name}")(resolution=resolution)
        return Volume(image.get_fdata(dtype=np.float32), resolution, image.affine[:3, 3])

    mask = volume("brain_mask", 2)
    near = ndimage.distance_transform_edt(mask.values == 0) <= 5  # closes sulci and fissures
    brain = ndimage.distance_transform_edt(near) > 5
    depth = ndimage.distance_transform_edt(brain) - ndimage.distance_transform_edt(~brain)
    depth = ndimage.gaussian_filter(2.0 * depth, 1.0)
    return {
        "t1": volume("template", 1),
        "gray": volume("gm_template", 1),
        "white": volume("wm_template", 1),
        "depth": Volume(depth.astype(np.float32), mask.spacing, mask.origin),
    }


def head_depth(points: Array, depth: Array) -> Array:
    """Depth in mm below the skin: skull and scalp around the brain, a face and a neck below it."""
    x, y, z = points
    face = 65 * (1 - np.sqrt((x / 68) ** 2 + ((y - 22) / 74) ** 2 + ((z + 70) / 85) ** 2))
    neck = 58 - np.sqrt(x**2 + (0.85 * (y + 20)) ** 2 + np.maximum(z + 60, 0) ** 2)
    return 5 * np.logaddexp.reduce([(depth + 13) / 5, face / 5, neck / 5])  # a smooth maximum


def paint_head(points: Array, depth: Array, tissue: dict[str, float], texture: Field) -> Array:
    """Draw the head without a tumour, noise or bias (H×W, in [0, 1]).

    Args:
        points: 3×H×W, the pixels' MNI coordinates in mm.
        depth: H×W, mm below the brain's surface.
        tissue: brightness of `white`, `gray`, `fluid`, `bone`, `flesh` and `scalp`, in [0, 1].
        texture: of the flesh.
    """
    brain = templates()
    skin = head_depth(points, depth)
    x, y, z = points
    eyes = 12 - np.sqrt((np.abs(x) - 32) ** 2 + (y - 60) ** 2 + (z + 40) ** 2)
    flesh = np.clip(tissue["flesh"] * (1 + 0.4 * texture(points)), tissue["bone"], None)
    image = blend(flesh, tissue["fluid"], inside(eyes))
    image = blend(image, tissue["bone"], inside(depth + 8))
    image = blend(tissue["scalp"] * inside(skin - 1), image, inside(skin - 5))
    white, gray = brain["white"].at(points), brain["gray"].at(points)
    fluid = np.clip(1 - white - gray, 0, 1)
    matter = tissue["white"] * white + tissue["gray"] * gray + tissue["fluid"] * fluid
    return blend(image, matter * (0.6 + 0.5 * brain["t1"].at(points)), inside(depth + 1))
