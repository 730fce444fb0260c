"""Image files to grey arrays and masks: PNG, JPEG, TIFF, BMP and figshare's MATLAB files."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from brainseg.data.intensity import invert, to_grey
from brainseg.data.mask import check_extent, find_others, to_mask
from brainseg.data.matlab import is_mat, read_plane
from brainseg.data.picture import Picture, read_picture
from brainseg.errors import InputError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")

COLOUR_SPREAD = 32
"""Channel difference (of 255) above which a pixel is coloured; JPEG noise stays below."""

COLOURED_SHARE = 0.10
"""Share of coloured pixels above which an image is refused; small annotations stay below."""

ANNOTATED_SHARE = 0.002
"""Share of coloured pixels above which an image is told to carry annotations."""

LUMA = np.array([0.299, 0.587, 0.114])
"""Brightness of red, green and blue."""


@dataclass(frozen=True)
class Decoded:
    """A grey image, H×W uint8.

    `bits` is the depth of a pixel in the file; `note` says how the image was converted, if it was.
    """

    pixels: NDArray[np.uint8]
    bits: int = 8
    note: str | None = None


def decode_image(path: Path) -> Decoded:
    """Decode an image file to grey: a picture, see `decode_picture`, or one of figshare's.

    Raises:
        InputError: the file is missing, unreadable, or truly coloured.
    """
    if not is_mat(path):
        return decode_picture(path)
    plane = read_plane(path, "image")
    bits = 8 * plane.dtype.itemsize
    return Decoded(to_grey(plane, path), bits, f"{bits}-bit MATLAB image scaled to 8 bits")


def decode_picture(path: Path) -> Decoded:
    """Decode a picture to grey.

    RGB, RGBA and palette images are converted if their content is grey; images of more than 8 bits
    are scaled, see `to_grey`. Transparent pixels are black.

    Raises:
        InputError: the file is missing, unreadable, or truly coloured.
    """
    picture = read_picture(path)
    if picture.alpha is not None and not picture.alpha.any():
        raise InputError(f"{path} is transparent everywhere. Save it without transparency.")
    values = _cover(picture)
    notes = ["image turned as its EXIF orientation says"] if picture.turned else []
    if values.ndim == 3:
        coloured = _check_grey(values if _is_plain(values) else to_grey(values, path), path)
        if coloured > ANNOTATED_SHARE:
            notes.append(f"more than {ANNOTATED_SHARE:.1%} of the pixels are coloured: annotated?")
    if _is_plain(values):
        notes += [f"{picture.mode} image that is grey in content"] if values.ndim == 3 else []
        grey = np.asarray(Image.fromarray(values).convert("L"))
        return Decoded(grey, picture.bits, "; ".join(notes) or None)
    grey = values @ LUMA if values.ndim == 3 else values
    hidden = picture.alpha == 0 if picture.alpha is not None else None
    if picture.white_is_zero:
        grey = invert(grey, hidden)
    notes.append(f"{picture.bits}-bit image scaled to 8 bits")
    return Decoded(to_grey(grey, path, hidden), picture.bits, "; ".join(notes))


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image file as H×W uint8; see `decode_image`."""
    return decode_image(path).pixels


def read_mask(path: Path, labels: Sequence[float] | None = None) -> NDArray[np.bool_]:
    """Read a tumour mask as H×W bool, see `to_mask`; in a map of colours their numbers count.

    Raises:
        InputError: the file is unreadable or not a mask, or it has labels and none was chosen.
    """
    values, lossy = _read_values(path)
    return to_mask(values, path, labels, lossy)


def decode_case(
    image: Path, mask: Path | None, labels: Sequence[float] | None = None
) -> tuple[Decoded, NDArray[np.bool_]]:
    """Decode an image and its mask (H×W bool; no file: all `False`).

    The note also lists labels of the mask that are not among `labels`.

    Raises:
        InputError: a file cannot be used, or the two differ in size.
    """
    decoded = decode_image(image)
    if mask is None:
        return decoded, np.zeros(decoded.pixels.shape, bool)
    tumor = read_mask_of(decoded.pixels, image, mask, labels)
    others = find_others(_read_values(mask)[0], labels) if labels is not None else ""
    notes = [decoded.note, f"labels that are not chosen: {others}" if others else None]
    return replace(decoded, note="; ".join(filter(None, notes)) or None), tumor


def read_mask_of(
    pixels: NDArray[np.uint8], image: Path, mask: Path, labels: Sequence[float] | None = None
) -> NDArray[np.bool_]:
    """Read the mask of an image (H×W both) that was read from `image`.

    Raises:
        InputError: it is unreadable, not a mask of a tumour, or of another size.
    """
    tumor = read_mask(mask, labels)
    if tumor.shape != pixels.shape:
        sizes = [f"{width}×{height} pixels" for height, width in (pixels.shape, tumor.shape)]
        raise InputError(
            f"{image} is {sizes[0]}, its mask {mask} is {sizes[1]}. Expected the same size."
        )
    check_extent(tumor, pixels, mask)
    return tumor


def hash_pixels(pixels: NDArray) -> str:
    """Hash of an image's shape and pixels."""
    content = str(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()
    return hashlib.sha256(content).hexdigest()[:16]


def resize_image(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize an H×W uint8 image to size×size: by area where it shrinks, else bilinear."""
    if image.shape == (size, size):
        return image
    how = cv2.INTER_AREA if size < max(image.shape) else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=how), np.uint8)


def resize_mask(mask: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """Resize an H×W bool mask to size×size: by area, then tumour where at least half is tumour."""
    return resize_image(mask.astype(np.uint8) * 255, size) >= 128


def read_resized(
    image: Path, mask: Path | None, size: int, labels: Sequence[float] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Decode an image and its mask as `decode_case`, and resize both to size×size."""
    decoded, tumor = decode_case(image, mask, labels)
    return resize_image(decoded.pixels, size), resize_mask(tumor, size)


def _is_plain(values: NDArray) -> bool:
    """Whether values are bytes, which stay as they are."""
    return values.dtype == np.uint8


def _cover(picture: Picture) -> NDArray:
    """The values over black."""
    if picture.alpha is None:
        return picture.values
    alpha = picture.alpha if picture.values.ndim == 2 else picture.alpha[..., None]
    covered = picture.values * alpha
    return np.rint(covered).astype(np.uint8) if _is_plain(picture.values) else covered


def _check_grey(rgb: NDArray[np.uint8], path: Path) -> float:
    """The share of coloured pixels, which must be small."""
    coloured = float(np.mean(_spread(rgb) > COLOUR_SPREAD))
    if coloured > COLOURED_SHARE:
        raise InputError(
            f"{path} is a colour image: {coloured:.0%} of its pixels are coloured. Expected a grey "
            "MRI slice; convert it, or remove it from the data set."
        )
    return coloured


def _spread(rgb: NDArray) -> NDArray:
    return rgb.max(axis=-1) - rgb.min(axis=-1)


def _read_values(path: Path) -> tuple[NDArray, bool]:
    """The numbers of a mask, H×W, and whether compression may have changed them."""
    if is_mat(path):
        return read_plane(path, "tumorMask"), False
    picture = read_picture(path)
    return _mask_values(picture, path), picture.lossy


def _mask_values(picture: Picture, path: Path) -> NDArray:
    """The numbers of a mask, H×W."""
    if picture.index is not None:
        background = picture.values[picture.index == 0]
        if background.any() and (picture.alpha is None or picture.alpha[picture.index == 0].any()):
            raise InputError(
                f"{path} has a palette whose first colour is not black. Expected the number of a "
                "colour to be a label, and 0 none; save the mask in black and white."
            )
        return picture.index
    if picture.alpha is not None:
        raise InputError(
            f"{path} has transparent pixels. Expected an opaque mask; save it in black and white."
        )
    values = picture.values
    if values.ndim == 3:
        if _spread(values).max(initial=0) > (COLOUR_SPREAD if picture.lossy else 0):
            raise InputError(
                f"{path} has colours. Expected a mask in black and white, or colours by number (a "
                "palette)."
            )
        values = values[..., 1]
    return np.invert(values) if picture.white_is_zero else values
