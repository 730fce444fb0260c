"""Measurements of a single image and its mask."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from brainseg.data.case import Case, Problem
from brainseg.data.duplicates import make_thumbnail
from brainseg.data.image import Decoded, decode_image, hash_pixels, read_mask
from brainseg.data.layouts.volume import label_of
from brainseg.data.mask import check_extent
from brainseg.data.shortcut import describe_trivially
from brainseg.errors import InputError
from brainseg.vocabulary import NEGATIVE

INSIDE = 0.5
"""Smallest share of a mask inside the head."""


@dataclass(frozen=True)
class Measured:
    """Measurements of one image.

    Attributes:
        case: what the data set says about it.
        path: the file, as typed, or the position in a volume.
        content: hash of the pixels.
        thumbnail: 32×32.
        trivial: features from `describe_trivially`.
        facts: a row of the audit's table: `class`, `patient`, `plane`, `size`; `bits` of a pixel in
            the file and a `note` on its conversion; the `mean`, `deviation` and mean of the
            `border` of the brightness (0 to 255); shares of the image that are `black`, and in the
            mask (`area`); number of `components` of the mask. Unknown values are `None`.
    """

    case: Case
    path: str
    content: str
    thumbnail: NDArray[np.uint8]
    trivial: NDArray[np.float64]
    facts: dict[str, Any]


def measure(case: Case) -> tuple[Measured | None, list[Problem]]:
    """Measure a case and list what is wrong with it; `None` where its image cannot be read."""
    path = case.source or str(case.image)
    try:
        decoded = decode_image(case.image)
    except InputError as error:
        return None, [Problem("image", path, str(error))]
    if np.ptp(decoded.pixels) == 0:
        message = f"{path} shows nothing: all of its pixels are equal. Remove it."
        return _measure(case, path, decoded, None), [Problem("flat", path, message)]
    mask, problems = _usable_mask(case, path, decoded.pixels) if case.mask else (None, [])
    if case.label == NEGATIVE and mask is not None and mask.any():
        message = f"{path} is of the class {NEGATIVE}, but its mask {case.mask} shows a tumour."
        problems.append(Problem("label", path, message))
    return _measure(case, path, decoded, mask), problems


def find_head(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The head (H×W): everything enclosed by a contour at a tenth of white."""
    bright = pixels > 0.1 * np.percentile(pixels, 99)
    return ndimage.binary_fill_holes(ndimage.binary_closing(bright, iterations=2))


def _measure(case: Case, path: str, decoded: Decoded, mask: NDArray[np.bool_] | None) -> Measured:
    pixels = decoded.pixels
    edges = (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
    facts = {
        "class": case.label or label_of(mask, "tumor") or "unknown",
        "patient": case.patient,
        "plane": case.plane,
        "size": f"{pixels.shape[1]}×{pixels.shape[0]}",
        "bits": decoded.bits,
        "note": decoded.note,
        "mean": pixels.mean(),
        "deviation": pixels.std(),
        "border": np.concatenate(edges).mean(),
        "black": np.mean(pixels == 0),
        "area": None if mask is None else mask.mean(),
        "components": None if mask is None else ndimage.label(mask, np.ones((3, 3)))[1],
    }
    hashed, trivial = hash_pixels(pixels), describe_trivially(pixels, mask)
    return Measured(case, path, hashed, make_thumbnail(pixels), trivial, facts)


def _usable_mask(
    case: Case, path: str, pixels: NDArray[np.uint8]
) -> tuple[NDArray[np.bool_] | None, list[Problem]]:
    file = case.mask
    assert file is not None
    try:
        mask = read_mask(file, case.labels)
    except InputError as error:
        return None, [Problem("mask", str(file), str(error))]
    if mask.shape != pixels.shape:
        sizes = [f"{width}×{height}" for height, width in (pixels.shape, mask.shape)]
        message = f"{path} is {sizes[0]} pixels, its mask {sizes[1]}. Expected the same size."
        return None, [Problem("size", str(file), message)]
    try:
        check_extent(mask, pixels, file)
    except InputError as error:
        return None, [Problem("mask", str(file), str(error))]
    if mask.any() and np.mean(find_head(pixels)[mask]) < INSIDE:
        message = f"Most of {file} lies outside the head. Is it the mask of {path}?"
        return mask, [Problem("outside", str(file), message)]
    return mask, []
