"""NIfTI volumes with a label volume each, as BraTS, the Decathlon and nnU-Net lay them out."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from brainseg.data.image import scale_to_uint8
from brainseg.data.layouts.volume import Cut, VolumeSlice, label_of
from brainseg.errors import InputError

AXES = {"sagittal": 0, "coronal": 1, "axial": 2}
"""The axis across each plane in a volume whose axes point right, anterior and superior."""

HEAD_SHARE = 0.05
"""Share of a slice that has to be brighter than a tenth of white, or there is no head in it."""


@dataclass(frozen=True)
class Volume:
    """An image and its label volume, N×M×K both, with axes to the right, front and top."""

    pixels: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    zooms: tuple[float, float, float]  #: mm


def read_nifti(
    root: Path,
    *,
    image: str = r"t1_?-?(c|gd)",
    label: str = r"seg|label|mask",
    channel: int | None = None,
    planes: str = "axial",
    every: int = 1,
    tumor: str | None = None,
) -> list[Cut]:
    """Find pairs of volumes: one folder per patient, or folders of images and of labels.

    In `imagesTr/` and `labelsTr/` (or `images/` and `labels/`) a pair has the same name, but for
    `_0000`; elsewhere a pair stands in a folder of its own, which is the patient.

    Args:
        root: the data set's folder.
        image: regular expression of the image's file name, where a folder has several.
        label: regular expression of the label's file name, or of its folder's.
        channel: of an image with four dimensions, from 0.
        planes: `axial`, `coronal`, `sagittal`, or several with commas.
        every: take each so many-th slice.
        tumor: class of slices with tumour, of `brainseg.data.case.CLASSES`.

    Raises:
        InputError: there are no pairs, or an option is unknown.
    """
    unknown = set(planes.split(",")) - AXES.keys()
    if unknown or every < 1:
        raise InputError(
            f"Expected planes of {', '.join(AXES)} and every=1 or more; found planes={planes}, "
            f"every={every}."
        )
    pairs = _pairs(root, re.compile(image, re.IGNORECASE), re.compile(label, re.IGNORECASE))
    if not pairs:
        raise InputError(
            f"No pair of an image and a label volume below {root}. Expected PATIENT/*t1c*.nii.gz "
            "with PATIENT/*seg*.nii.gz, or imagesTr/NAME.nii.gz with labelsTr/NAME.nii.gz. Other "
            f"names: data.image=… data.label=… (regular expressions; now '{image}', '{label}')."
        )
    cut = partial(_cut, root, channel=channel, planes=planes.split(","), every=every, tumor=tumor)
    return [partial(cut, patient, *files) for patient, files in sorted(pairs.items())]


def read_volume(image: Path, label: Path, channel: int | None = None) -> Volume:
    """Read an image and its label volume; the image's 99.9th percentile becomes white.

    Raises:
        InputError: a file is unreadable, has another number of dimensions, or they do not match.
    """
    pixels, zooms = _load(image)
    if pixels.ndim == 4:
        if channel is None or not 0 <= channel < pixels.shape[3]:
            raise InputError(
                f"{image} holds {pixels.shape[3]} sequences. Say which one: data.channel=0 to "
                f"{pixels.shape[3] - 1}; found {channel}."
            )
        pixels = pixels[..., channel]
    mask, _ = _load(label)
    if pixels.ndim != 3 or mask.shape != pixels.shape:
        raise InputError(
            f"{image} has the shape {pixels.shape}, its label volume {label} {mask.shape}. "
            "Expected two volumes of the same three dimensions."
        )
    head = pixels[pixels > 0]
    top = float(np.percentile(head, 99.9)) if head.size else 0.0
    return Volume(scale_to_uint8(pixels, top), mask > 0.5, zooms)


def _load(path: Path) -> tuple[NDArray[np.float32], tuple[float, float, float]]:
    try:
        volume: Any = nib.as_closest_canonical(nib.load(path))
        values = np.nan_to_num(volume.get_fdata(dtype=np.float32), posinf=0, neginf=0)
    except (OSError, EOFError, ValueError, ImageFileError) as error:
        raise InputError(
            f"{path} cannot be read as NIfTI ({error}). Replace the file or remove it."
        ) from error
    x, y, z = (float(zoom) for zoom in volume.header.get_zooms()[:3])
    return values, (x, y, z)


def _cut(
    root: Path,
    patient: str,
    image: Path,
    label: Path,
    *,
    channel: int | None,
    planes: list[str],
    every: int,
    tumor: str | None,
) -> Iterator[VolumeSlice]:
    """The slices of one patient that show the head."""
    volume = read_volume(image, label, channel)
    for plane in planes:
        axis = AXES[plane]
        column_mm, row_mm = (zoom for k, zoom in enumerate(volume.zooms) if k != axis)
        for index in range(every // 2, volume.pixels.shape[axis], every):
            # To the right and up in the volume is to the left and up for a radiologist.
            both = (volume.pixels, volume.mask)
            pixels, mask = (np.take(values, index, axis)[::-1, ::-1].T for values in both)
            if np.mean(pixels > 25) < HEAD_SHARE and not mask.any():
                continue
            yield VolumeSlice(
                id=f"{patient}-{plane}-{index:03d}",
                label=label_of(mask, tumor),
                patient=patient,
                pixels=pixels,
                mask=mask,
                plane=plane,
                spacing=(row_mm, column_mm),
                source=f"{image.relative_to(root)} {plane} {index}",
            )


def _pairs(
    root: Path, image: re.Pattern[str], label: re.Pattern[str]
) -> dict[str, tuple[Path, Path]]:
    """Image and label volume of each patient."""
    files = sorted(p for p in root.rglob("*.nii*") if p.name.endswith((".nii", ".nii.gz")))
    in_folders = {path for path in files if label.search(path.parent.name) and path.parent != root}
    if in_folders:
        labels = {_stem(path): path for path in in_folders}
        images = [path for path in files if path not in in_folders]
        several = len(images) > len({_stem(path) for path in images})
        chosen = [path for path in images if image.search(path.name)] if several else images
        return {_stem(p): (p, labels[_stem(p)]) for p in chosen if _stem(p) in labels}
    pairs = {}
    for folder in sorted({path.parent for path in files}):
        own = [path for path in files if path.parent == folder]
        masks = [path for path in own if label.search(path.name)]
        images = [path for path in own if path not in masks and image.search(path.name)]
        if len(masks) == len(images) == 1:
            pairs[folder.name] = images[0], masks[0]
    return pairs


def _stem(path: Path) -> str:
    """A file's name without its suffixes and nnU-Net's number of the sequence."""
    return re.sub(r"(_\d{4})?\.nii(\.gz)?$", "", path.name)
