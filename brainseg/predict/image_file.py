"""A picture: read as grey, and written as a mask and an overlay."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from brainseg.data.image import decode_image
from brainseg.errors import InputError
from brainseg.files import replacing
from brainseg.outline import overlay
from brainseg.vocabulary import RESEARCH_ONLY

MASK, OVERLAY = ".mask.png", ".overlay.png"
PICTURES = (MASK, OVERLAY)
"""How the names of results end."""


@dataclass(frozen=True)
class ImageFile:
    """One slice from a picture.

    Attributes:
        pixels: 1×H×W, uint8.
        note: how it was converted, if it was.
    """

    pixels: NDArray[np.uint8]
    note: str | None

    def write(
        self, masks: NDArray[np.bool_], probabilities: NDArray[np.float32], made: Path, stem: str
    ) -> dict[str, Any]:
        """Write the mask and the overlay; see `inputs.Subject`."""
        write_picture(made / f"{stem}{MASK}", masks[0].astype(np.uint8) * 255)
        write_picture(made / f"{stem}{OVERLAY}", overlay(self.pixels[0], masks[0]))
        return {"mask": f"{stem}{MASK}", "overlay": f"{stem}{OVERLAY}"}


def read_picture_file(path: Path) -> ImageFile:
    """Read a picture.

    Raises:
        InputError: it cannot be read, is coloured, or looks like a mask.
    """
    decoded = decode_image(path)
    values = np.unique(decoded.pixels)
    if len(values) == 2:
        raise InputError(
            f"{path} has two grey levels ({values[0]} and {values[1]}), as a mask does. Expected "
            "an MRI slice."
        )
    return ImageFile(decoded.pixels[None], decoded.note)


def write_picture(
    path: Path, pixels: NDArray[np.uint8], notes: Mapping[str, str] | None = None
) -> None:
    """Write a PNG, grey or RGB, that says what it is not for."""
    info = PngInfo()
    for key, text in {"Disclaimer": RESEARCH_ONLY, **(notes or {})}.items():
        info.add_text(key, text)
    with replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary, pnginfo=info)


def write_overlay_of(path: Path, pixels: NDArray[np.uint8], masks: NDArray[np.bool_]) -> None:
    """Write the overlay of the slice with the largest tumour, or of the middle one.

    Args:
        path: of the PNG.
        pixels: N×H×W.
        masks: the same.
    """
    areas = masks.sum(axis=(1, 2))
    index = int(areas.argmax()) if areas.any() else len(masks) // 2
    write_picture(path, overlay(pixels[index], masks[index]), {"Slice": str(index + 1)})
