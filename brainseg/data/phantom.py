"""Synthetic T1 contrast-enhanced slices with drawn tumours, in the layout of the real data."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from scipy.spatial.transform import Rotation

from brainseg.data.anatomy import paint_head, templates
from brainseg.data.case import CLASSES
from brainseg.data.tumor import KINDS, Array, Field, Tumor, draw, place, smooth_noise
from brainseg.errors import InputError
from brainseg.files import read_json, write_csv, write_json

SMALLEST_SHARE = 20 / 96**2  #: of a slice that a tumour covers
QUICK_PIXELS = 60 * 96**2  #: drawn in about two seconds
FIELD_OF_VIEW = 228.0  # mm
HEAD_CENTRE = np.array([0.0, -15.0, -8.0])  # MNI, mm
PLANES = {  # unit vectors along a slice's columns and rows and across it: anterior is up or left
    "axial": ((1, 0, 0), (0, -1, 0), (0, 0, 1)),
    "coronal": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "sagittal": ((0, -1, 0), (0, 0, -1), (1, 0, 0)),
}


@dataclass(frozen=True)
class Difficulty:
    """How tumours and image quality are drawn; pairs are ranges."""

    radius: dict[str, tuple[float, float]]  #: mm
    brightness: tuple[float, float]  #: of what takes up contrast agent
    white: tuple[float, float]  #: brightness of white matter, which orders all other tissue
    scalp: tuple[float, float]
    noise: tuple[float, float]  #: Rician, standard deviation of a channel
    bias: float  #: standard deviation of the bias field


DIFFICULTIES = {
    "easy": Difficulty(
        radius={"glioma": (22.0, 30.0), "meningioma": (20.0, 28.0), "pituitary": (18.0, 23.0)},
        brightness=(0.80, 0.92),
        white=(0.40, 0.48),
        scalp=(0.45, 0.55),
        noise=(0.01, 0.02),
        bias=0.04,
    ),
    "hard": Difficulty(
        radius={"glioma": (14.0, 24.0), "meningioma": (14.0, 26.0), "pituitary": (8.0, 16.0)},
        brightness=(0.38, 0.58),
        white=(0.32, 0.44),
        scalp=(0.60, 0.95),
        noise=(0.015, 0.04),
        bias=0.12,
    ),
}


@dataclass(frozen=True)
class Patient:
    """A head in a scanner: its tumour, its anatomy, its pose and the look of its images."""

    plane: str
    focus: Array  #: MNI coordinates of the tumour's centre, or where one could have been
    radius: float
    tumor: Tumor | None
    pose: Array  #: 3×3, scanner to MNI
    shift: Array  #: mm
    warp: tuple[Field, Field, Field]
    tissue: dict[str, float]
    bias: Field
    flesh: Field
    noise: float


def make_patient(number: int, seed: int, difficulty: str) -> Patient:
    """Draw patient `number` (from 0): classes in rotation, then planes in rotation."""
    level = DIFFICULTIES[difficulty]
    rng = np.random.default_rng([seed, number])
    name = CLASSES[number % len(CLASSES)]
    # A healthy brain is cut where a tumour could have been, so that the cut gives nothing away.
    kind = name if name in KINDS else KINDS[rng.integers(len(KINDS))]
    radius = rng.uniform(*level.radius[kind])
    focus = place(kind, radius, rng, templates()["depth"].at)
    brightness = rng.uniform(*level.brightness)
    tumor = Tumor(
        kind, focus, radius, brightness, smooth_noise(rng, 0.8 * radius), smooth_noise(rng, 8.0)
    )
    white = rng.uniform(*level.white)
    bias = smooth_noise(rng, 90.0)
    rotation = Rotation.from_euler("xyz", rng.normal(0.0, 4.0, 3), degrees=True).as_matrix()
    return Patient(
        plane=list(PLANES)[number // len(CLASSES) % len(PLANES)],
        focus=focus,
        radius=radius,
        tumor=tumor if name in KINDS else None,
        pose=rotation / rng.uniform(0.94, 1.05),
        shift=rng.normal(0.0, 3.0, 3),
        warp=(smooth_noise(rng, 50.0), smooth_noise(rng, 50.0), smooth_noise(rng, 50.0)),
        tissue={
            "white": white,
            "gray": white * rng.uniform(0.68, 0.82),
            "fluid": white * rng.uniform(0.2, 0.35),
            "bone": rng.uniform(0.03, 0.08),
            "flesh": white * rng.uniform(0.6, 0.8),
            "scalp": rng.uniform(*level.scalp),
        },
        bias=lambda points: np.exp(level.bias * bias(points)),
        flesh=smooth_noise(rng, 7.0),
        noise=rng.uniform(*level.noise),
    )


def slice_points(patient: Patient, offset: float, size: int) -> Array:
    """MNI coordinates (3×size×size, mm) of the pixels of the slice `offset` mm off the focus."""
    columns, rows, normal = np.array(PLANES[patient.plane], float)
    focus = np.linalg.solve(patient.pose, patient.focus - HEAD_CENTRE - patient.shift)
    steps = ((np.arange(size) + 0.5) / size - 0.5) * FIELD_OF_VIEW
    scanner = (
        np.multiply.outer(columns, np.tile(steps, (size, 1)))
        + np.multiply.outer(rows, np.tile(steps[:, None], (1, size)))
        + (normal * (focus @ normal + offset)).reshape(3, 1, 1)
    )
    still = np.tensordot(patient.pose, scanner, 1) + (HEAD_CENTRE + patient.shift).reshape(3, 1, 1)
    return still + 2.5 * np.stack([field(still) for field in patient.warp])


def draw_slice(
    patient: Patient, offset: float, size: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Draw the slice `offset` mm off the tumour's centre: image and mask, size×size."""
    points = slice_points(patient, offset, size)
    depth = templates()["depth"].at(points)
    image = paint_head(points, depth, patient.tissue, patient.flesh)
    mask = np.zeros((size, size), bool)
    if patient.tumor:
        image, mask = draw(patient.tumor, image, points, depth)
    image = image * patient.bias(points)
    real, imaginary = rng.normal(0.0, patient.noise, (2, size, size))
    image = np.hypot(image + real, imaginary)  # Rician: the magnitude of a complex signal
    return np.clip(np.round(255 * image), 0, 255).astype(np.uint8), mask


def draw_patient(
    number: int, seed: int, slices: int, size: int, difficulty: str
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
    """Draw the slices of patient `number`, evenly spread over the middle of the tumour."""
    patient = make_patient(number, seed, difficulty)
    rng = np.random.default_rng([seed, number, 1])
    spread = (np.arange(slices) + rng.uniform(0.2, 0.8, slices)) / slices - 0.5
    for offset in 1.2 * patient.radius * spread:
        for nearer in (1.0, 0.5, 0.25, 0.0):
            image, mask = draw_slice(patient, nearer * offset, size, rng)
            if patient.tumor is None or mask.sum() >= SMALLEST_SHARE * size**2:
                break
        yield image, mask


def is_finished(root: Path, recipe: dict[str, Any]) -> bool:
    """Whether `root` holds the data set made by `recipe`.

    Raises:
        InputError: it holds something else.
    """
    record = root / "phantom.json"
    if record.exists() and read_json(record) == recipe:
        return True
    if root.exists() and any(root.iterdir()):
        raise InputError(
            f"{root} was expected to be new, empty, or to hold the phantoms {recipe}; it holds "
            "other files. Choose another folder, or remove this one."
        )
    return False


def write_files(root: Path, recipe: dict[str, Any]) -> None:
    """Write the data set made by `recipe` into the new folder `root`, with a progress bar."""
    patients, slices, size = recipe["patients"], recipe["slices"], recipe["size"]
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    rows = []
    for number in track(
        range(patients),
        description="Drawing synthetic brains",
        console=Console(stderr=True),
        transient=True,
        disable=patients * slices * size**2 < QUICK_PIXELS,
    ):
        drawn = draw_patient(number, recipe["seed"], slices, size, recipe["difficulty"])
        for name, (image, mask) in enumerate(drawn, number * slices + 1):
            Image.fromarray(image).save(root / "images" / f"{name}.png")
            Image.fromarray(np.uint8(255) * mask).save(root / "masks" / f"{name}.png")
            label = CLASSES[number % len(CLASSES)]
            rows.append({"id": name, "class": label, "patient": f"phantom-{number + 1:04d}"})
    write_csv(root / "labels.csv", rows, ("id", "class", "patient"))
    write_json(root / "phantom.json", recipe)


def write_phantom(
    root: Path, *, patients: int, slices: int, size: int, seed: int, difficulty: str = "easy"
) -> None:
    """Write a synthetic data set: `images/N.png`, `masks/N.png`, `labels.csv`, `phantom.json`.

    The same arguments give the same bytes. The folder appears at once when all is written; where
    another process was first, its folder is kept.

    Args:
        root: folder to make.
        patients: number of patients, 12 or more; classes take turns.
        slices: slices per patient, all in one plane.
        size: height and width in pixels.
        seed: of everything random; patient k is the same however many there are.
        difficulty: `easy` (large bright tumours) or `hard` (closer to real slices).

    Raises:
        InputError: an argument is out of range, or `root` holds something else.
    """
    least = {"patients": 12, "slices": 1, "size": 32, "seed": 0}  # 3 patients of each class
    recipe: dict[str, Any] = {"patients": patients, "slices": slices, "size": size, "seed": seed}
    for name, value in recipe.items():
        if value < least[name]:
            raise InputError(
                f"Phantoms need {name}={least[name]} or more (12 patients, so that each of the 4 "
                f"classes can be split by patient); found {name}={value}. Raise it."
            )
    if difficulty not in DIFFICULTIES:
        raise InputError(
            f"The difficulty of phantoms is one of {', '.join(DIFFICULTIES)}; found '{difficulty}'."
        )
    recipe["difficulty"], root = difficulty, root.absolute()
    if is_finished(root, recipe):
        return
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{root.name}.") as folder:
        made = Path(folder) / root.name
        write_files(made, recipe)
        try:
            made.rename(root)
        except OSError:
            if not is_finished(root, recipe):
                raise
