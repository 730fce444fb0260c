"""Picture files as the numbers that they hold, turned as a viewer shows them."""

import io
import struct
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from brainseg.errors import InputError
from brainseg.files import check_file

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP")
"""What a picture may be, whatever its name; Pillow would start other programs for some formats."""

LOSSY = ("JPEG", "MPO", "WEBP")
LOSSY_TIFF = (6, 7)
"""JPEG among the compressions of TIFF."""

MOST_PIXELS = 2**25
"""Of a picture; more are refused before memory is taken for them."""

BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION, SAMPLE_FORMAT = 258, 259, 262, 274, 339
"""Tags of TIFF; the orientation is one of EXIF, too."""

TIFF_TYPES = {(8, 2): np.int8, (32, 1): np.uint32}
"""Bits and sample format that Pillow reads as another type of the same size."""

DAMAGED = (
    *(OSError, SyntaxError, ValueError, KeyError, IndexError, TypeError, EOFError, struct.error),
    *(OverflowError, ZeroDivisionError, RuntimeError, MemoryError),
    *(Warning, Image.DecompressionBombError),
)
"""What the decoders raise for damaged files."""

warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Picture:
    """The numbers of a picture.

    Attributes:
        values: H×W, or H×W×3 (red, green, blue), of the file's own type.
        mode: how the file holds them, in Pillow's words.
        bits: of a value in the file.
        alpha: H×W in [0, 1], how opaque a pixel is; `None` where all are.
        index: H×W, the numbers of the colours where the palette is a map of colours.
        lossy: whether compression may have changed the values.
        white_is_zero: whether the lowest value is white.
        turned: whether the file says to turn it before it is shown.
    """

    values: NDArray
    mode: str
    bits: int = 8
    alpha: NDArray[np.float64] | None = None
    index: NDArray[np.uint8] | None = None
    lossy: bool = False
    white_is_zero: bool = False
    turned: bool = False


def read_picture(path: Path) -> Picture:
    """Read a picture of one page.

    Raises:
        InputError: the file is missing, damaged, too large, or of several pages or frames.
    """
    check_file(path)
    try:
        data = path.read_bytes()
        try:
            return _read(data, path)
        except UnidentifiedImageError:
            if data[:4] not in (b"II*\0", b"MM\0*"):
                raise
            return _read_other_tiff(data, path)
    except DAMAGED as error:
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "it is no picture" if unknown else " ".join(str(error).split())
        raise InputError(
            f"{path} cannot be read as an image ({reason}). Replace the file or remove it."
        ) from error


def _read(data: bytes, path: Path) -> Picture:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        _check_size(path, *image.size)
        if (pages := getattr(image, "n_frames", 1)) > 1:
            raise _several(path, f"{pages} pages or frames")
        if image.format == "PNG":
            with Image.open(io.BytesIO(data)) as again:
                again.verify()  # its checksums, which decoding ignores
        deep = len(image.getbands()) > 1 and any(";16" in str(tile[3]) for tile in image.tile)
        turned = image.getexif().get(ORIENTATION, 1) != 1  # which may load the image
        ImageOps.exif_transpose(image, in_place=True)
        picture = _read_deep(data, image, path) if deep else _interpret(image)
        return replace(picture, turned=turned)


def _interpret(image: Image.Image) -> Picture:
    tags = getattr(image, "tag_v2", {})
    white_is_zero = tags.get(PHOTOMETRIC) == 0 and image.mode not in ("1", "L")
    lossy = image.format in LOSSY or tags.get(COMPRESSION) in LOSSY_TIFF
    alpha = _alpha(image)
    if image.mode in ("1", "L"):
        bits = 1 if image.mode == "1" else 8
        values = _retype(np.asarray(image.convert("L")), tags)
        return Picture(values, image.mode, bits, alpha, lossy=lossy)
    if image.mode.startswith(("I", "F")):
        values = _retype(np.asarray(image), tags)
        if white_is_zero and values.dtype.kind == "f":
            raise ValueError("white is zero in numbers with a fraction")
        bits = 8 * values.dtype.itemsize
        return Picture(values, image.mode, bits, alpha, white_is_zero=white_is_zero)
    index = _index(image)
    rgb = image.convert("RGBA").convert("RGB") if image.mode == "P" else image.convert("RGB")
    return Picture(np.asarray(rgb), image.mode, 8, alpha, index, lossy)


def _read_deep(data: bytes, image: Image.Image, path: Path) -> Picture:
    """A picture of 16 bits in several channels, of which Pillow reads the upper 8."""
    deep = _decode_with_opencv(data)
    if "transparency" in image.info:
        raise ValueError("16 bits with a transparent colour")
    upper = np.asarray(image)
    if upper.shape[-1] == 2:  # grey and alpha, of which OpenCV makes four channels
        upper = upper[..., [0, 0, 0, 1]]
    if deep is not None and deep.ndim == 3:
        deep = deep[..., [2, 1, 0, 3][: deep.shape[2]]]
    if deep is None or deep.dtype != np.uint16 or not np.array_equal(deep >> 8, upper):
        raise InputError(
            f"{path} has 16 bits in {image.mode}, which cannot be read whole. Save it as a grey "
            "image of 16 bits."
        )
    alpha = deep[..., 3] / 65535 if deep.shape[2] == 4 else None
    return Picture(deep[..., :3], image.mode, 16, alpha)


def _read_other_tiff(data: bytes, path: Path) -> Picture:
    """A TIFF that Pillow does not know, such as RGB of floats."""
    file = io.BytesIO(data)
    tags = ImageFileDirectory_v2(file.read(8))
    file.seek(tags.next)
    tags.load(file)
    _check_size(path, tags[256], tags[257])
    if tags.next:
        raise _several(path, "several pages")
    values = _decode_with_opencv(data)
    if values is None or tags.get(PHOTOMETRIC) not in (1, 2):
        raise ValueError("a kind of TIFF that is not supported")
    if values.dtype.itemsize * 8 != max(tags.get(BITS, (1,))):
        raise ValueError("its numbers cannot be read whole")
    bits = 8 * values.dtype.itemsize
    if values.ndim == 2:
        return Picture(values, "grey", bits)
    if values.shape[2] != 3:
        raise ValueError(f"it has {values.shape[2]} channels")
    return Picture(values[..., ::-1], "RGB", bits)


def _decode_with_opencv(data: bytes) -> NDArray | None:
    """The values as OpenCV reads them; `None` where it cannot."""
    import cv2  # few pictures need it

    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ValueError(str(error)) from error


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise InputError(
            f"{path} is {width}×{height} pixels large. Expected a slice, of at most "
            f"{MOST_PIXELS:,} pixels."
        )


def _several(path: Path, found: str) -> InputError:
    return InputError(
        f"{path} holds {found}. Expected one slice per file: save each one as a file of its own."
    )


def _retype(values: NDArray, tags: Any) -> NDArray:
    if SAMPLE_FORMAT not in tags and BITS not in tags:
        return values
    kind = (8 * values.dtype.itemsize, tags.get(SAMPLE_FORMAT, (1,))[0])
    return values.view(TIFF_TYPES.get(kind, values.dtype))


def _alpha(image: Image.Image) -> NDArray[np.float64] | None:
    """How opaque each pixel is, where that differs."""
    see_through = image.info.get("transparency")
    if see_through is not None and image.mode.startswith("I"):
        alpha = (np.asarray(image) != see_through).astype(np.float64)
    elif see_through is not None or "A" in image.getbands() or "a" in image.getbands():
        alpha = np.asarray(image.convert("RGBA"))[..., 3] / 255
    else:
        return None
    return None if (alpha == 1).all() else alpha


def _index(image: Image.Image) -> NDArray[np.uint8] | None:
    """The numbers of the colours of a palette that has any."""
    if image.mode != "P":
        return None
    palette = np.reshape(image.getpalette("RGB") or [], (-1, 3))
    return np.asarray(image) if np.ptp(palette, axis=1).any() else None
