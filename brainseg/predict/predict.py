"""Images to masks, overlays and a table: what `brainseg predict` does."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from brainseg.data.image import IMAGE_SUFFIXES, read_image, resize_image
from brainseg.data.parts import to_input
from brainseg.errors import InputError
from brainseg.files import replacing, write_csv
from brainseg.outline import overlay
from brainseg.runtime.open import open_session
from brainseg.runtime.session import Session
from brainseg.terminal import bar

MASK, OVERLAY = ".mask.png", ".overlay.png"
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
    "error",
)


def predict(
    model: Path,
    images: Sequence[Path],
    out: Path,
    *,
    device: str = "cpu",
    threads: int | None = None,
) -> list[dict[str, Any]]:
    """Segment images; write a mask and an overlay of each, and `predictions.csv`, to `out`.

    Masks and overlays have the image's own size. An image that cannot be read becomes a row with
    its `error`, and the others are still done.

    Args:
        model: an ONNX file made by `brainseg export` or `brainseg quantize`.
        images: image files, and folders of which all images are taken.
        out: folder of the results; made where it is missing.
        device: `cpu` or `cuda`.
        threads: of the CPU; the physical cores where it is `None`.

    Returns:
        One row of `COLUMNS` per image. `probability` is the mean over the predicted tumour, and
        `None` where there is none; `seconds` runs from the file to the mask.

    Raises:
        InputError: no image was given, `out` is no folder, the model cannot be opened, or the
            device is missing.
    """
    files = find_images(images)
    _check_folder(out)
    session = open_session(model, device, threads)
    names = unique_stems(files)
    progress = bar(list(zip(files, names, strict=True)), "Predicting")
    rows = [_predict_file(session, file, out, name) for file, name in progress]
    write_csv(out / "predictions.csv", rows, COLUMNS)
    return rows


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The given files, and in place of a folder the images in it, in the order of their names.

    Masks and overlays of an earlier prediction in such a folder are no images.

    Raises:
        InputError: there is none.
    """
    files: list[Path] = []
    for path in paths:
        files += sorted(filter(_is_image, path.iterdir())) if path.is_dir() else [path]
    if not files:
        where = ", ".join(map(str, paths)) or "the arguments"
        raise InputError(
            f"No image in {where}: expected files or folders of {', '.join(IMAGE_SUFFIXES)}."
        )
    return files


def unique_stems(files: Sequence[Path]) -> list[str]:
    """The stem of each file; a stem that was there before gets `-2`, `-3`, … appended."""
    taken: set[str] = set()
    names = []
    for file in files:
        name, count = file.stem, 1
        while name.lower() in taken:  # some file systems do not tell cases apart
            count += 1
            name = f"{file.stem}-{count}"
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
    there = next(path for path in (out, *out.parents) if path.exists())
    if not there.is_dir():
        raise InputError(f"{there} is a file; expected a folder. Choose another one with --out.")


def _predict_file(session: Session, file: Path, out: Path, name: str) -> dict[str, Any]:
    start = time.perf_counter()
    try:
        image = read_image(file)
    except InputError as error:
        return dict.fromkeys(COLUMNS) | {"image": str(file), "error": str(error)}
    probabilities = segment(session, image)
    mask = probabilities >= 0.5
    seconds = time.perf_counter() - start
    paths = out / f"{name}{MASK}", out / f"{name}{OVERLAY}"
    for path, pixels in zip(
        paths, (mask.astype(np.uint8) * 255, overlay(image, mask)), strict=True
    ):
        with replacing(path) as temporary:
            Image.fromarray(pixels).save(temporary)
    return {
        "image": str(file),
        "mask": str(paths[0]),
        "overlay": str(paths[1]),
        "width": image.shape[1],
        "height": image.shape[0],
        "area_px": int(mask.sum()),
        "area_share": float(mask.mean()),
        "probability": float(probabilities[mask].mean()) if mask.any() else None,
        "max_probability": float(probabilities.max()),
        "seconds": round(seconds, 4),
        "error": None,
    }


def _is_image(path: Path) -> bool:
    made = path.name.endswith((MASK, OVERLAY))
    return path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES and not made
