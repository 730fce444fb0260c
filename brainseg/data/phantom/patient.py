"""Synthetic patients: the parameters of a head, a tumour and a scanner."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from brainseg.data.phantom.anatomy import templates
from brainseg.data.phantom.field import Array, Field, smooth_noise
from brainseg.data.phantom.tumor import Tumor, place
from brainseg.vocabulary import CLASSES, TUMORS

WARP = 3.5  # mm, standard deviation of a head's deformation
AXIAL_PITCH = -8.0  # degrees: towards the line from eye to ear
PLANES = {  # unit vectors along a slice's columns and rows and across it: anterior is up or left
    "axial": ((1, 0, 0), (0, -1, 0), (0, 0, 1)),
    "coronal": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "sagittal": ((0, -1, 0), (0, 0, -1), (1, 0, 0)),
}

Range = tuple[float, float]


@dataclass(frozen=True)
class Difficulty:
    """How tumours and image quality are drawn; pairs are ranges."""

    radius: dict[str, Range]  #: mm
    brightness: dict[str, Range]  #: of what takes up contrast agent; white matter is 1
    necrosis: Range  #: of a glioma's core; white matter is 1
    rim: float  #: mean thickness of a glioma's rim, in radii
    white: Range  #: brightness of white matter
    fat: Range  #: brightness
    vessel: Range  #: brightness of what takes up contrast agent in a healthy head
    noise: Range  #: Rician, standard deviation of a channel
    bias: float  #: standard deviation of the bias field's logarithm
    view: Range  #: width of a slice, mm


DIFFICULTIES = {
    "easy": Difficulty(
        radius={"glioma": (22.0, 30.0), "meningioma": (20.0, 28.0), "pituitary": (18.0, 23.0)},
        brightness=dict.fromkeys(TUMORS, (1.95, 2.05)),
        necrosis=(0.40, 0.55),
        rim=0.25,
        white=(0.40, 0.46),
        fat=(0.45, 0.52),
        vessel=(0.45, 0.55),
        noise=(0.01, 0.02),
        bias=0.04,
        view=(222.0, 240.0),
    ),
    "hard": Difficulty(
        radius={"glioma": (8.0, 33.0), "meningioma": (8.5, 30.0), "pituitary": (6.5, 20.0)},
        brightness={"glioma": (0.9, 1.9), "meningioma": (1.3, 2.0), "pituitary": (1.15, 1.8)},
        necrosis=(0.50, 0.95),
        rim=0.15,
        white=(0.23, 0.33),
        fat=(0.45, 0.85),
        vessel=(0.50, 0.75),
        noise=(0.003, 0.012),
        bias=0.2,
        view=(222.0, 256.0),
    ),
}


@dataclass(frozen=True)
class Patient:
    """A head in a scanner: its tumour, its anatomy, its pose and the look of its images."""

    plane: str
    focus: Array  #: tumour's centre, or where one could have been: MNI, mm, before the warp
    radius: float
    tumor: Tumor | None
    pose: Array  #: 3×3, scanner to MNI
    shift: Array  #: mm
    view: float  #: width of a slice, mm
    warp: tuple[Field, Field, Field]
    folds: tuple[Field, Field, Field]
    tissue: dict[str, float]
    bias: Field
    texture: Field
    noise: float
    blur: float  #: standard deviation of the point spread, mm


def draw_tissue(level: Difficulty, rng: np.random.Generator) -> dict[str, float]:
    """Draw the brightness of each tissue, and how wide the `sulci` are (1: average)."""
    white, fat, vessel = (rng.uniform(*span) for span in (level.white, level.fat, level.vessel))
    return {
        "white": white,
        "gray": white * rng.uniform(0.78, 0.93),
        "fluid": white * rng.uniform(0.25, 0.45),
        "sulci": rng.uniform(1.0, 2.5),
        "bone": white * rng.uniform(0.1, 0.25),
        "marrow": fat * rng.uniform(0.2, 0.45),
        "muscle": white * rng.uniform(0.75, 1.0),
        "mucosa": vessel * rng.uniform(0.55, 0.8),
        "fat": fat,
        "vessel": vessel,
        "dura": white + (vessel - white) * rng.uniform(0.2, 0.7),
        "air": 0.02,
    }


def make_tumor(kind: str, level: Difficulty, white: float, rng: np.random.Generator) -> Tumor:
    """Draw a tumour of a kind, in a brain whose white matter has the brightness `white`."""
    radius = rng.uniform(*level.radius[kind])
    falx = float(rng.choice([0, 0, -1, 1]) if kind == "meningioma" else 0)
    return Tumor(
        kind=kind,
        centre=place(kind, radius, falx, rng, templates()["depth"].at),
        radius=radius,
        brightness=white * rng.uniform(*level.brightness[kind]),
        necrosis=white * rng.uniform(*level.necrosis),
        rim=level.rim,
        falx=falx,
        push=rng.uniform(0.1, 0.35),
        shape=smooth_noise(rng, 0.8 * radius),
        detail=smooth_noise(rng, 0.3 * radius),
        texture=smooth_noise(rng, 0.5 * radius),
    )


def unwarped(point: Array, warp: tuple[Field, ...]) -> Array:
    """Find the point that `warp` moves to `point`, so that slices meet even a small tumour."""
    found = point[:, None]
    for _ in range(3):
        found = point[:, None] - WARP * np.stack([field(found) for field in warp])
    return found[:, 0]


def make_patient(number: int, seed: int, difficulty: str) -> Patient:
    """Draw patient `number` (from 0): classes in rotation, then planes in rotation."""
    level = DIFFICULTIES[difficulty]
    rng = np.random.default_rng([seed, number])
    name = CLASSES[number % len(CLASSES)]
    # A healthy brain is cut where a tumour could have been, so that the cut gives nothing away.
    kind = name if name in TUMORS else TUMORS[rng.integers(len(TUMORS))]
    tissue = draw_tissue(level, rng)
    tumor = make_tumor(kind, level, tissue["white"], rng)
    warp = (smooth_noise(rng, 70.0), smooth_noise(rng, 70.0), smooth_noise(rng, 70.0))
    bias = smooth_noise(rng, 90.0)
    plane = list(PLANES)[number // len(CLASSES) % len(PLANES)]
    angles = rng.normal([AXIAL_PITCH * (plane == "axial"), 0.0, 0.0], 4.0)
    rotation = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    return Patient(
        plane=plane,
        focus=unwarped(tumor.centre, warp),
        radius=tumor.radius,
        tumor=tumor if name in TUMORS else None,
        pose=rotation / rng.uniform(0.95, 1.05, 3),
        shift=rng.normal(0.0, 4.0, 3),
        view=rng.uniform(*level.view),
        warp=warp,
        folds=(smooth_noise(rng, 14.0), smooth_noise(rng, 14.0), smooth_noise(rng, 14.0)),
        tissue=tissue,
        bias=lambda points: np.exp(level.bias * bias(points)),
        texture=smooth_noise(rng, 7.0),
        noise=rng.uniform(*level.noise),
        blur=rng.uniform(0.3, 0.7),
    )
