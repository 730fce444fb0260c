"""Image files to grey arrays: PNG, JPEG, TIFF and figshare's MATLAB v7.3 files."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import h5py
import numpy as np
from PIL import Image

from brainseg.errors import InputError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")

COLOUR_SPREAD = 32
"""Channel difference (of 255) above which a pixel is coloured; JPEG noise stays below."""

COLOURED_SHARE = 0.10
"""Share of coloured pixels above which an image is refused; small annotations stay below."""

BETWEEN_SHARE = 0.01
"""Share of mask pixels that may be neither black nor white."""


@dataclass(frozen=True)
class Decoded:
    """A grey image, H×W uint8.

    `bits` is the depth of a pixel in the file; `note` says how the image was converted, if it was.
    """

    pixels: np.ndarray
    bits: int = 8
    note: str | None = None


def decode_image(path: Path) -> Decoded:
    """Decode an image file to grey.

    RGB, RGBA and palette images are converted if their content is grey; images of more than 8 bits
    are scaled so that their maximum becomes 255.

    Raises:
        InputError: the file is missing, unreadable, or truly coloured.
    """
    if path.suffix == ".mat":
        with open_mat(path) as file:
            return _scaled(file["cjdata/image"][()].T, "MATLAB image")
    try:
        with Image.open(path) as image:
            if image.mode in ("L", "1"):
                return Decoded(np.asarray(image.convert("L")), bits=1 if image.mode == "1" else 8)
            if image.mode.startswith("I") or image.mode == "F":
                return _scaled(np.asarray(image), "image")
            note = f"{image.mode} image that is grey in content"
            return Decoded(_grey(image, path), note=note)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(
            f"{path} cannot be read as an image ({error}). Replace the file or remove it."
        ) from error


def read_image(path: Path) -> np.ndarray:
    """Read an image file as H×W uint8; see `decode_image`."""
    return decode_image(path).pixels


def read_mask(path: Path) -> np.ndarray:
    """Read a tumour mask as H×W bool: tumour where the grey value is at least 128.

    A mask of only 0 and 1 is accepted: 1 is tumour.

    Raises:
        InputError: the file is unreadable, or more than 1 % of its pixels are neither black nor
            white.
    """
    if path.suffix == ".mat":
        with open_mat(path) as file:
            return file["cjdata/tumorMask"][()].T > 0
    grey = read_image(path)
    if grey.max(initial=0) == 1:
        return grey == 1
    if 0 < grey.max(initial=0) < 128:
        values = ", ".join(map(str, np.unique(grey)[:5]))
        raise InputError(
            f"{path} is not a mask: its brightest value is {grey.max()} (found {values}, …). "
            "Expected tumour = 255 and the rest 0; is it a label map?"
        )
    between = float(np.mean((grey > 10) & (grey < 245)))
    if between > BETWEEN_SHARE:
        raise InputError(
            f"{path} is not a mask: {between:.0%} of its pixels are neither black (0) nor white "
            "(255). Expected tumour = 255 and the rest 0; is it an image?"
        )
    return grey >= 128


def decode_case(image: Path, mask: Path | None) -> tuple[Decoded, np.ndarray]:
    """Decode an image and its mask (H×W bool; no file: all `False`).

    Raises:
        InputError: a file cannot be used, or the two differ in size.
    """
    decoded = decode_image(image)
    empty = np.zeros(decoded.pixels.shape, bool)
    return decoded, read_mask_of(decoded.pixels, image, mask) if mask else empty


def read_mask_of(pixels: np.ndarray, image: Path, mask: Path) -> np.ndarray:
    """Read the mask of an image (H×W both) that was read from `image`.

    Raises:
        InputError: it is unreadable, not a mask, or of another size.
    """
    tumor = read_mask(mask)
    if tumor.shape != pixels.shape:
        sizes = [f"{width}×{height} pixels" for height, width in (pixels.shape, tumor.shape)]
        raise InputError(
            f"{image} is {sizes[0]}, its mask {mask} is {sizes[1]}. Expected the same size."
        )
    return tumor


def hash_pixels(pixels: np.ndarray) -> str:
    """Hash of an image's shape and pixels."""
    content = str(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()
    return hashlib.sha256(content).hexdigest()[:16]


def open_mat(path: Path) -> h5py.File:
    """Open one of figshare's MATLAB v7.3 files, with its structure `cjdata`.

    Raises:
        InputError: it is missing, not MATLAB v7.3, or has no `cjdata`.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(
            f"{path} cannot be read as a MATLAB v7.3 file ({error}). Expected figshare 1512427's "
            "N.mat; download it again."
        ) from error
    if "cjdata" not in file:
        file.close()
        raise InputError(f"{path} has no structure `cjdata`. Expected figshare 1512427's N.mat.")
    return file


def resize_image(image: np.ndarray, size: int) -> np.ndarray:
    """Resize an H×W uint8 image to size×size: by area where it shrinks, else bilinear."""
    if image.shape == (size, size):
        return image
    how = cv2.INTER_AREA if size < max(image.shape) else cv2.INTER_LINEAR
    return cv2.resize(image, (size, size), interpolation=how)


def resize_mask(mask: np.ndarray, size: int) -> np.ndarray:
    """Resize an H×W bool mask to size×size: by area, then tumour where at least half is tumour."""
    return resize_image(mask.astype(np.uint8) * 255, size) >= 128


def read_resized(image: Path, mask: Path | None, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Decode an image and its mask as `decode_case`, and resize both to size×size."""
    decoded, tumor = decode_case(image, mask)
    return resize_image(decoded.pixels, size), resize_mask(tumor, size)


def scale_to_uint8(pixels: np.ndarray, top: float) -> np.ndarray:
    """Scale numbers of any type so that 0 stays 0 and `top` becomes 255; clip the rest."""
    scaled = np.clip(pixels.astype(np.float64), 0, top) * (255 / top if top > 0 else 0)
    return np.rint(scaled).astype(np.uint8)


def _scaled(pixels: np.ndarray, what: str) -> Decoded:
    bits = 8 * pixels.dtype.itemsize
    note = f"{bits}-bit {what} scaled to 8 bits"
    return Decoded(scale_to_uint8(pixels, float(pixels.max(initial=0))), bits, note)


def _grey(image: Image.Image, path: Path) -> np.ndarray:
    if "A" in image.getbands() or "transparency" in image.info:
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", over.size, "black"), over)
    rgb = np.asarray(image.convert("RGB"))
    spread = rgb.max(axis=-1).astype(np.int16) - rgb.min(axis=-1)
    coloured = float(np.mean(spread > COLOUR_SPREAD))
    if coloured > COLOURED_SHARE:
        raise InputError(
            f"{path} is a colour image: {coloured:.0%} of its pixels are coloured. Expected a grey "
            "MRI slice; convert it, or remove it from the data set."
        )
    return np.asarray(image.convert("L"))
