"""Images to masks, overlays and a table: what `brainseg predict` does."""

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from brainseg.data.case import name_some
from brainseg.data.image import IMAGE_SUFFIXES, decode_image, resize_image
from brainseg.data.layouts.folder import is_picture
from brainseg.data.layouts.mask_names import find_masks
from brainseg.data.layouts.walk import list_files
from brainseg.data.parts import to_input
from brainseg.errors import InputError
from brainseg.files import printable, replacing, staging, write_csv
from brainseg.lock import locked
from brainseg.outline import overlay
from brainseg.runtime.open import open_session
from brainseg.runtime.session import Session
from brainseg.terminal import bar

logger = logging.getLogger(__name__)

MASK, OVERLAY = ".mask.png", ".overlay.png"
TABLE = "predictions.csv"
COLUMNS = (
    "image",
    "mask",
    "overlay",
    "width",
    "height",
    "area_px",
    "area_share",
    "probability",
    "max_probability",
    "seconds",
    "note",
    "error",
)

LONGEST_NAME = 180
"""Bytes of a name in the results; file systems allow 255, with all that is appended."""


def predict(
    model: Path,
    images: Sequence[Path],
    out: Path,
    *,
    device: str = "cpu",
    threads: int | None = None,
) -> list[dict[str, Any]]:
    """Segment images; write a mask and an overlay of each, and `predictions.csv`, to `out`.

    What `out` has from an earlier prediction stays until all of this one is there. Masks and
    overlays have the image's own size, and lie on it as a viewer shows it. An image that
    cannot be read becomes a row with its `error`, and the others are still done.

    Args:
        model: an ONNX file made by `brainseg export` or `brainseg quantize`.
        images: image files, and folders of which all images are taken, see `find_images`.
        out: folder of the results; made where it is missing.
        device: `cpu` or `cuda`.
        threads: of the CPU; the physical cores where it is `None`.

    Returns:
        One row of `COLUMNS` per image. `probability` is the mean over the predicted tumour, and
        `None` where there is none; `seconds` runs from the file to the mask; `note` says how the
        image was converted.

    Raises:
        InputError: no image was given, `out` is no folder, the model cannot be opened, or the
            device is missing, or another process writes to `out`.
    """
    files = find_images(images)
    _check_folder(out)
    session = open_session(model, device, threads)
    _make_folder(out)
    names = unique_stems(files)
    with locked(out), staging(out, TABLE) as made:
        progress = bar(list(zip(files, names, strict=True)), "Predicting")
        rows = [_predict_file(session, file, made, name) for file, name in progress]
        for row in rows:
            row |= {key: str(out / row[key]) for key in ("mask", "overlay") if row[key]}
        write_csv(made / TABLE, rows, COLUMNS)
    return rows


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The given files, and in place of a folder the images in it and below, sorted by path.

    In a folder, hidden files are no images, as for data sets, nor are masks and overlays of an
    earlier prediction, nor masks beside their images (`x_mask.png` beside `x.png`, `masks/` beside
    `images/`), which are told.

    Raises:
        InputError: there is none.
    """
    files: list[Path] = []
    for path in paths:
        files += _find_in(path) if _is_folder(path) else [path]
    if not files:
        where = ", ".join(map(str, paths)) or "the arguments"
        raise InputError(
            f"No image in {where}: expected files or folders of {', '.join(IMAGE_SUFFIXES)}."
        )
    return files


def unique_stems(files: Sequence[Path]) -> list[str]:
    """The stem of each file; a stem that was there before gets `-2`, `-3`, … appended.

    Very long stems are cut.
    """
    taken: set[str] = set()
    names = []
    for file in files:
        stem = printable(Path(file.stem)).encode()[:LONGEST_NAME].decode(errors="ignore")
        name, count = stem, 1
        while name.lower() in taken:  # some file systems do not tell cases apart
            count += 1
            name = f"{stem}-{count}"
        taken.add(name.lower())
        names.append(name)
    return names


def segment(session: Session, image: np.ndarray) -> np.ndarray:
    """Tumour probabilities of an H×W uint8 image at its own size: H×W float32 in [0, 1]."""
    height, width = image.shape
    small = resize_image(image, session.image_size)
    probabilities = session.run(to_input(small[None]))[0, 0]
    return cv2.resize(probabilities, (width, height), interpolation=cv2.INTER_LINEAR)


def _check_folder(out: Path) -> None:
    there = next(path for path in (out, *out.parents) if os.path.exists(path))  # noqa: PTH110
    if not there.is_dir():
        raise InputError(f"{there} is a file; expected a folder. Choose another one with --out.")


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{out} cannot be made ({error.strerror}). Choose another folder with --out."
        ) from error


def _predict_file(session: Session, file: Path, made: Path, name: str) -> dict[str, Any]:
    start = time.perf_counter()
    try:
        decoded = decode_image(file)
    except InputError as error:
        return dict.fromkeys(COLUMNS) | {"image": printable(file), "error": str(error)}
    image = decoded.pixels
    probabilities = segment(session, image)
    mask = probabilities >= 0.5
    seconds = time.perf_counter() - start
    paths = made / f"{name}{MASK}", made / f"{name}{OVERLAY}"
    for path, pixels in zip(
        paths, (mask.astype(np.uint8) * 255, overlay(image, mask)), strict=True
    ):
        with replacing(path) as temporary:
            Image.fromarray(pixels).save(temporary)
    return {
        "image": printable(file),
        "mask": paths[0].name,
        "overlay": paths[1].name,
        "width": image.shape[1],
        "height": image.shape[0],
        "area_px": int(mask.sum()),
        "area_share": float(mask.mean()),
        "probability": float(probabilities[mask].mean()) if mask.any() else None,
        "max_probability": float(probabilities.max()),
        "seconds": round(seconds, 4),
        "note": decoded.note,
        "error": None,
    }


def _find_in(folder: Path) -> list[Path]:
    """The pictures below a folder; also those, and folders, that cannot be opened."""
    files, left_out = list_files(folder)
    found = sorted([*files, *(path for paths in left_out.values() for path in paths)])
    pictures = [path for path in found if _is_image(path) or _is_folder(path)]
    if masks := find_masks(pictures):
        named = name_some(map(printable, sorted(masks)))
        logger.warning("%d masks beside their images are left out, such as %s.", len(masks), named)
    return [path for path in pictures if path not in masks]


def _is_image(path: Path) -> bool:
    return is_picture(path) and not path.name.endswith((MASK, OVERLAY))


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 (which also takes names that are too long)
