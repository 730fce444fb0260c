"""The LGG set `kaggle_3m`: TIFF files with a sequence per channel, and masks drawn on FLAIR.

Buda, Saha and Mazurowski, Computers in Biology and Medicine 109 (2019).
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainseg.data.case import OnProblem, Problem, name_some, refuse
from brainseg.data.image import read_image, read_mask_of
from brainseg.data.intensity import to_grey
from brainseg.data.layouts.patients import find_patients
from brainseg.data.layouts.volume import Cut, VolumeSlice, label_of
from brainseg.data.layouts.walk import find_files
from brainseg.data.picture import read_picture
from brainseg.errors import InputError, check_known

CHANNELS = ("pre_contrast", "flair", "post_contrast")
"""Sequences of a file; where one is missing, the authors repeated FLAIR."""

SUFFIXES, MASK = (".tif", ".tiff"), "_mask"


def read_lgg(
    root: Path,
    on_problem: OnProblem = refuse,
    *,
    channel: str = "flair",
    tumor: str = "glioma",
    labels: Sequence[float] | None = None,
) -> list[Cut]:
    """Find `PATIENT/PATIENT_k.tif` with `PATIENT/PATIENT_k_mask.tif`, in `root` or below.

    `channel` is the sequence, of `CHANNELS`, `tumor` the class of slices with a tumour, and
    `labels` the values of the masks that are tumour. Images without a mask are left out and named;
    a mask without an image is a problem. A date at the end of a folder's name tells no patient.

    Raises:
        InputError: there are no such files, or the channel is unknown.
    """
    check_known("channel", [channel], CHANNELS)
    files = {_stem(path): path for path in find_files(root, on_problem) if _is_tiff(path)}
    masks = [path for path in files.values() if is_lgg_mask(path)]
    if not masks:
        raise InputError(
            f"No PATIENT/PATIENT_k.tif with PATIENT_k_mask.tif below {root}. Expected the folder "
            "kaggle_3m of the LGG segmentation data set."
        )
    pairs: dict[Path, list[tuple[Path, Path]]] = {}
    for mask in masks:
        stem = _stem(mask)
        image = files.get(stem.with_name(stem.name[: -len(MASK)]))
        if image is None:
            message = f"{mask} has no image. Expected PATIENT_k.tif beside it."
            on_problem(Problem("image", str(mask), message))
            continue
        pairs.setdefault(mask.parent, []).append((image, mask))
    paired = {image for both in pairs.values() for image, _ in both}
    if alone := [path for path in files.values() if path not in masks and path not in paired]:
        message = (
            f"{len(alone)} slices in {root} are left out, such as "
            f"{name_some(str(path.relative_to(root)) for path in alone)}: they have no mask."
        )
        on_problem(Problem("mask", str(alone[0]), message, fatal=False))
    cut = partial(_cut, root, on_problem, CHANNELS.index(channel), tumor, labels)
    patients = find_patients([(folder.name,) for folder in pairs])
    return [partial(cut, *each) for each in zip(patients, pairs.values(), strict=True)]


def is_lgg_mask(path: Path) -> bool:
    """Whether a file name is that of a mask of this data set."""
    return _is_tiff(path) and path.stem.lower().endswith(MASK)


def _cut(
    root: Path,
    on_problem: OnProblem,
    channel: int,
    tumor: str,
    labels: Sequence[float] | None,
    patient: str,
    pairs: list[tuple[Path, Path]],
) -> Iterator[VolumeSlice]:
    """The slices of one examination."""
    for image, path in sorted(pairs, key=lambda pair: (len(pair[0].name), pair[0].name)):
        try:
            pixels = _read_channel(image, channel)
            mask = read_mask_of(pixels, image, path, labels)
        except InputError as error:
            on_problem(Problem("image", str(image), str(error)))
            continue
        yield VolumeSlice(
            id=image.stem,
            label=label_of(mask, tumor),
            patient=patient,
            examination=path.parent.name,
            place=path.parent.name,
            pixels=pixels,
            mask=mask,
            plane="axial",
            source=str(image.relative_to(root)),
        )


def _read_channel(path: Path, channel: int) -> NDArray[np.uint8]:
    """One of a file's channels, H×W uint8; a grey file has only one."""
    values = read_picture(path).values
    if values.ndim == 2:
        return read_image(path)
    chosen = values[..., channel]
    return chosen if chosen.dtype == np.uint8 else to_grey(chosen, path)


def _is_tiff(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _stem(path: Path) -> Path:
    """A file without its suffix; `_mask` in lower case."""
    stem = path.with_suffix("")
    is_mask = stem.name.lower().endswith(MASK)
    return stem.with_name(stem.name[: -len(MASK)] + MASK) if is_mask else stem
