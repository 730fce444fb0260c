"""The LGG set `kaggle_3m`: three sequences in the channels of a TIFF, the mask drawn on FLAIR.

Buda, Saha and Mazurowski, Computers in Biology and Medicine 109 (2019).
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from brainseg.data.image import read_image, read_mask
from brainseg.data.layouts.volume import Cut, VolumeSlice, label_of
from brainseg.errors import InputError

CHANNELS = ("pre_contrast", "flair", "post_contrast")
"""Sequences of a file. A patient without one of the others has FLAIR in its place."""


def read_lgg(root: Path, *, channel: str = "flair", tumor: str = "glioma") -> list[Cut]:
    """Find `PATIENT/PATIENT_k.tif` with `PATIENT/PATIENT_k_mask.tif`.

    Args:
        root: the data set's folder, or the one above.
        channel: the sequence, of `CHANNELS`.
        tumor: class of slices with tumour.

    Raises:
        InputError: there are no such files, or the channel is unknown.
    """
    if channel not in CHANNELS:
        raise InputError(f"data.channel={channel}: expected one of {', '.join(CHANNELS)}.")
    folders = sorted({mask.parent for mask in root.rglob("*_mask.tif")})
    if not folders:
        raise InputError(
            f"No PATIENT/PATIENT_k.tif with PATIENT_k_mask.tif below {root}. Expected the folder "
            "kaggle_3m of the LGG segmentation data set."
        )
    return [partial(_cut, root, folder, CHANNELS.index(channel), tumor) for folder in folders]


def _cut(root: Path, folder: Path, channel: int, tumor: str) -> Iterator[VolumeSlice]:
    masks = sorted(folder.glob("*_mask.tif"), key=lambda path: (len(path.name), path.name))
    for path in masks:
        image = path.with_name(path.name.replace("_mask", ""))
        pixels, mask = _read_channel(image, channel), read_mask(path)
        if mask.shape != pixels.shape:
            raise InputError(f"{image} and its mask {path} differ in size. Expected the same.")
        yield VolumeSlice(
            id=image.stem,
            label=label_of(mask, tumor),
            patient=folder.name,
            pixels=pixels,
            mask=mask,
            plane="axial",
            spacing=None,  # the TIFF files do not tell
            source=str(image.relative_to(root)),
        )


def _read_channel(path: Path, channel: int) -> np.ndarray:
    """One of a file's channels, H×W uint8; a grey file has only one."""
    try:
        with Image.open(path) as image:
            if image.mode == "RGB":
                return np.asarray(image)[..., channel]
    except OSError:
        pass  # read_image says what is wrong with it
    return read_image(path)
