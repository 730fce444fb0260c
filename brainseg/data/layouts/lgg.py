"""The LGG set `kaggle_3m`: TIFF files with a sequence per channel, and masks drawn on FLAIR.

Buda, Saha and Mazurowski, Computers in Biology and Medicine 109 (2019).
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from brainseg.data.case import OnProblem, Problem, refuse
from brainseg.data.image import read_image, read_mask_of
from brainseg.data.layouts.volume import Cut, VolumeSlice, label_of
from brainseg.data.layouts.walk import find_files
from brainseg.errors import InputError, check_known

CHANNELS = ("pre_contrast", "flair", "post_contrast")
"""Sequences of a file; where one is missing, the authors repeated FLAIR."""


def read_lgg(
    root: Path, on_problem: OnProblem = refuse, *, channel: str = "flair", tumor: str = "glioma"
) -> list[Cut]:
    """Find `PATIENT/PATIENT_k.tif` with `PATIENT/PATIENT_k_mask.tif`, in `root` or below.

    `channel` is the sequence, of `CHANNELS`, and `tumor` the class of slices with a tumour.

    Raises:
        InputError: there are no such files, or the channel is unknown.
    """
    check_known("channel", [channel], CHANNELS)
    masks = [path for path in find_files(root) if path.name.endswith("_mask.tif")]
    if not masks:
        raise InputError(
            f"No PATIENT/PATIENT_k.tif with PATIENT_k_mask.tif below {root}. Expected the folder "
            "kaggle_3m of the LGG segmentation data set."
        )
    cut = partial(_cut, root, on_problem, CHANNELS.index(channel), tumor)
    return [
        partial(cut, [mask for mask in masks if mask.parent == folder])
        for folder in dict.fromkeys(mask.parent for mask in masks)
    ]


def _cut(
    root: Path, on_problem: OnProblem, channel: int, tumor: str, masks: list[Path]
) -> Iterator[VolumeSlice]:
    """The slices of one patient."""
    for path in sorted(masks, key=lambda path: (len(path.name), path.name)):
        image = path.with_name(path.name.replace("_mask", ""))
        try:
            pixels = _read_channel(image, channel)
            mask = read_mask_of(pixels, image, path)
        except InputError as error:
            on_problem(Problem("image", str(image), str(error)))
            continue
        yield VolumeSlice(
            id=image.stem,
            label=label_of(mask, tumor),
            patient=path.parent.name,
            pixels=pixels,
            mask=mask,
            plane="axial",
            source=str(image.relative_to(root)),
        )


def _read_channel(path: Path, channel: int) -> np.ndarray:
    """One of a file's channels, H×W uint8; a grey file has only one."""
    try:
        with Image.open(path) as image:
            if image.mode == "RGB":
                return np.asarray(image)[..., channel]
    except OSError:
        pass  # read_image reports what is wrong
    return read_image(path)
