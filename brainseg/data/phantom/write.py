"""Synthetic T1 contrast-enhanced slices with drawn tumours, in the layout of the real data."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from brainseg.data.phantom.anatomy import paint_head, templates
from brainseg.data.phantom.field import Array
from brainseg.data.phantom.patient import DIFFICULTIES, PLANES, WARP, Patient, make_patient
from brainseg.data.phantom.tumor import displace, draw, is_near
from brainseg.errors import InputError, check_known
from brainseg.files import building, read_json, write_csv, write_json
from brainseg.terminal import bar
from brainseg.vocabulary import CLASSES, NEGATIVE

SMALLEST_SHARE = 20 / 96**2  #: of a slice that a tumour covers
QUICK_PIXELS = 60 * 96**2  #: drawn in about two seconds
LEAST = {"patients": 1, "slices": 1, "size": 32, "seed": 0, "healthy_slices": 0}
HEAD_CENTRE = np.array([0.0, -8.0, -10.0])  # MNI, mm

Slice = tuple[NDArray[np.uint8], NDArray[np.bool_]]


def slice_points(patient: Patient, offset: float, size: int) -> Array:
    """MNI coordinates (3×size×size, mm) of the pixels of the slice `offset` mm off the focus."""
    columns, rows, normal = np.array(PLANES[patient.plane], float)
    focus = np.linalg.solve(patient.pose, patient.focus - HEAD_CENTRE - patient.shift)
    steps = ((np.arange(size) + 0.5) / size - 0.5) * patient.view
    scanner = (
        np.multiply.outer(columns, np.tile(steps, (size, 1)))
        + np.multiply.outer(rows, np.tile(steps[:, None], (1, size)))
        + (normal * (focus @ normal + offset)).reshape(3, 1, 1)
    )
    still = np.tensordot(patient.pose, scanner, 1) + (HEAD_CENTRE + patient.shift).reshape(3, 1, 1)
    return still + WARP * np.stack([field(still) for field in patient.warp])


def draw_slice(patient: Patient, offset: float, size: int, rng: np.random.Generator) -> Slice:
    """Draw the slice `offset` mm off the tumour's centre: image and mask, size×size."""
    points = slice_points(patient, offset, size)
    depth = templates()["depth"].at(points)
    inner = displace(patient.tumor, points, depth) if patient.tumor else points
    inner = inner + 1.5 * np.stack([field(points) for field in patient.folds])
    image = paint_head(points, inner, depth, patient.tissue, patient.texture)
    mask = np.zeros((size, size), bool)
    if patient.tumor:
        image, mask = draw(patient.tumor, image, points, depth)
    image = image * patient.bias(points)
    real, imaginary = rng.normal(0.0, patient.noise, (2, size, size))
    image = np.hypot(image + real, imaginary)  # Rician: the magnitude of a complex signal
    image = ndimage.gaussian_filter(image, patient.blur * size / patient.view)
    return np.clip(np.round(255 * image), 0, 255).astype(np.uint8), mask


def tumor_offsets(patient: Patient, slices: int, rng: np.random.Generator) -> Array:
    """Draw where slices cut the tumour (mm off its centre), spread over its middle."""
    spread = (np.arange(slices) + rng.uniform(0.2, 0.8, slices)) / slices - 0.5
    return 1.2 * patient.radius * spread


def healthy_offsets(patient: Patient, slices: int, rng: np.random.Generator) -> Array:
    """Draw where slices show the brain beside a tumour and its oedema (mm off its centre)."""
    assert patient.tumor is not None
    depth_at, clear, shown = templates()["depth"].at, [], []
    for offset in np.arange(-120.0, 121.0, 4.0):
        points = slice_points(patient, offset, 32)
        depth = depth_at(points)
        if not is_near(patient.tumor, points, depth).any():
            clear.append(offset)
            shown.append((depth > 0).sum())
    full = np.array(clear)[np.array(shown) >= 0.5 * max(shown)]
    return np.sort(rng.choice(full, slices, replace=slices > len(full)))


def draw_patient(
    number: int, seed: int, slices: int, size: int, difficulty: str, healthy_slices: int = 0
) -> Iterator[Slice]:
    """Draw `slices` slices of patient `number`, spread over the middle of the tumour.

    For a patient with a tumour, `healthy_slices` slices beside the tumour follow.
    """
    patient = make_patient(number, seed, difficulty)
    rng = np.random.default_rng([seed, number, 1])
    for offset in tumor_offsets(patient, slices, rng):
        for nearer in (1.0, 0.5, 0.25, 0.0):
            image, mask = draw_slice(patient, nearer * offset, size, rng)
            if patient.tumor is None or mask.sum() >= SMALLEST_SHARE * size**2:
                break
        yield image, mask
    if patient.tumor and healthy_slices:
        for offset in healthy_offsets(patient, healthy_slices, rng):
            yield draw_slice(patient, offset, size, rng)


def name_patient(number: int, seed: int) -> str:
    """Name of patient `number`: another seed draws other patients."""
    drawn = f"{seed}-" if seed else ""  # the first seed's names are those of older versions
    return f"phantom-{drawn}{number + 1:04d}"


def write_files(root: Path, recipe: dict[str, Any]) -> None:
    """Write the data set made by `recipe` into the new folder `root`, with a progress bar."""
    per_patient = recipe["slices"] + recipe["healthy_slices"]
    (root / "images").mkdir()
    (root / "masks").mkdir()
    rows: list[dict[str, Any]] = []
    slow = recipe["patients"] * per_patient * recipe["size"] ** 2 >= QUICK_PIXELS
    for number in bar(range(recipe["patients"]), "Drawing synthetic brains", slow):
        drawn = draw_patient(number, **{key: recipe[key] for key in recipe if key != "patients"})
        for name, (image, mask) in enumerate(drawn, len(rows) + 1):
            Image.fromarray(image).save(root / "images" / f"{name}.png")
            Image.fromarray(np.uint8(255) * mask).save(root / "masks" / f"{name}.png")
            label = CLASSES[number % len(CLASSES)] if mask.any() else NEGATIVE
            patient = name_patient(number, recipe["seed"])
            rows.append({"id": name, "class": label, "patient": patient})
    write_csv(root / "labels.csv", rows, ("id", "class", "patient"))
    write_json(root / "phantom.json", recipe)


def write_phantom(
    root: Path,
    *,
    patients: int,
    slices: int,
    size: int,
    seed: int,
    difficulty: str = "easy",
    healthy_slices: int = 0,
) -> None:
    """Write a synthetic data set: `images/N.png`, `masks/N.png`, `labels.csv`, `phantom.json`.

    The same arguments give the same bytes. The folder appears once everything is written; if
    another process was faster, its folder is kept.

    Args:
        root: folder to create.
        patients: number of patients; classes rotate.
        slices: slices per patient, all in one plane.
        size: height and width in pixels.
        seed: of everything random; patient k does not depend on the number of patients.
        difficulty: `easy` (large bright tumours) or `hard` (closer to real slices).
        healthy_slices: extra slices of each tumour patient that do not show the tumour; their class
            is the negative one and their mask empty.

    Raises:
        InputError: an argument is out of range, or `root` holds something else.
    """
    recipe: dict[str, Any] = {"patients": patients, "slices": slices, "size": size, "seed": seed}
    recipe |= {"healthy_slices": healthy_slices, "difficulty": difficulty}
    for name, least in LEAST.items():
        if recipe[name] < least:
            raise InputError(
                f"Phantoms require {name} of at least {least}; found {name}={recipe[name]}."
            )
    check_known("difficulty", [difficulty], DIFFICULTIES)
    root = root.absolute()
    record = root / "phantom.json"
    if record.exists() and read_json(record) == recipe:
        return
    if root.exists() and any(root.iterdir()):
        raise InputError(
            f"{root} was expected to be new or empty, or to hold the phantoms {recipe}. It holds "
            "other files. Choose another folder, or remove this one."
        )
    with building(root) as made:
        write_files(made, recipe)
