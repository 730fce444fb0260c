"""NIfTI volumes with label volumes, in the layouts of BraTS, the Decathlon and nnU-Net."""

import re
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from brainseg.data.case import OnProblem, Problem, refuse
from brainseg.data.image import scale_to_uint8
from brainseg.data.layouts.nifti_pairs import Pair, pair_volumes
from brainseg.data.layouts.pattern import compile_pattern
from brainseg.data.layouts.volume import Cut, VolumeSlice, label_of
from brainseg.errors import InputError, check_known

AXES = {"sagittal": 0, "coronal": 1, "axial": 2}
"""The axis normal to each plane in a volume whose axes point right, anterior and superior."""

HEAD_SHARE = 0.05
"""Smallest share of pixels brighter than a tenth of white in a slice that shows the head."""

NEGATIVE_SHARE = 0.05
"""Share of negative voxels above which a volume is taken as normalised, and refused."""


def read_nifti(
    root: Path,
    on_problem: OnProblem = refuse,
    *,
    image: str = r"t1_?-?(c|gd)",
    label: str = r"seg|label|mask",
    channel: int | None = None,
    planes: str | Sequence[str] = "axial",
    every: int = 1,
    tumor: str | None = None,
) -> list[Cut]:
    """Find pairs of volumes: one folder per examination, or folders of images and of labels.

    In `imagesTr/` and `labelsTr/` (or `images/` and `labels/`) both have the same name, except for
    `_0000`; otherwise each pair has a folder of its own. The patient is a folder `sub-…` (BIDS),
    else the name of the folder or file.

    Args:
        root: the data set's folder.
        on_problem: receives files without counterpart, which are left out, and volumes that
            cannot be used.
        image: regular expression of the image's file name, where a folder has several.
        label: regular expression of the label's file name, or of its folder's.
        channel: of an image with four dimensions, from 0.
        planes: `axial`, `coronal`, `sagittal`, or several (with commas, or a list).
        every: take every n-th slice.
        tumor: class of slices with tumour, of `vocabulary.TUMORS`.

    Raises:
        InputError: there are no pairs, or an option cannot be used.
    """
    chosen = planes.split(",") if isinstance(planes, str) else list(planes)
    check_known("plane", chosen, AXES)
    if every < 1:
        raise InputError(f"Expected every=1 or more; found every={every}.")
    image_name = compile_pattern("image", image, re.IGNORECASE)
    label_name = compile_pattern("label", label, re.IGNORECASE)
    pairs = pair_volumes(root, image_name, label_name, on_problem)
    if not pairs:
        raise InputError(
            f"No pair of an image and a label volume below {root}. Expected PATIENT/*t1c*.nii.gz "
            "with PATIENT/*seg*.nii.gz, or imagesTr/NAME.nii.gz with labelsTr/NAME.nii.gz. Other "
            f"names: image=… label=… (regular expressions; now '{image}', '{label}')."
        )
    cut = partial(_cut, root, on_problem, channel=channel, planes=chosen, every=every, tumor=tumor)
    return [partial(cut, pair) for pair in pairs]


def read_volume(
    image: Path, label: Path, channel: int | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Read an image and its label volume, N×M×K both, with axes to the right, front and top.

    The image's 99.9th percentile becomes white.

    Raises:
        InputError: a file is unreadable, normalised, or the two do not match.
    """
    pixels, affine = _load(image)
    if pixels.ndim == 4:
        if channel is None or not 0 <= channel < pixels.shape[3]:
            raise InputError(
                f"{image} holds {pixels.shape[3]} sequences. Choose one with channel=0 to "
                f"{pixels.shape[3] - 1}; found {channel}. (data.channel=… in training; elsewhere "
                "`brainseg data convert ROOT --out DIR --option channel=…` first.)"
            )
        pixels = pixels[..., channel]
    elif channel is not None:
        raise InputError(f"{image} holds one sequence. Remove channel={channel}.")
    mask, placed = _load(label)
    if pixels.ndim != 3 or mask.shape != pixels.shape:
        raise InputError(
            f"{image} has the shape {pixels.shape}, its label volume {label} {mask.shape}. "
            "Expected two volumes of the same three dimensions."
        )
    if not np.allclose(affine, placed, atol=0.1):
        raise InputError(
            f"{image} and its label volume {label} differ in position: {affine.tolist()} and "
            f"{placed.tolist()}. Resample the labels onto the image."
        )
    if np.mean(pixels < 0) > NEGATIVE_SHARE:
        raise InputError(
            f"{image} is negative in {np.mean(pixels < 0):.0%} of its voxels. Expected intensities "
            "as scanned, from 0. Was it normalised? Use the original."
        )
    head = pixels[pixels > 0]
    top = float(np.percentile(head, 99.9)) if head.size else 0.0
    return scale_to_uint8(pixels, top), mask > 0.5


def _load(path: Path) -> tuple[NDArray[np.float32], NDArray]:
    """Values and affine of a volume, turned so that its axes point right, anterior and superior."""
    try:
        volume: Any = nib.as_closest_canonical(nib.load(path))
        values = np.nan_to_num(volume.get_fdata(dtype=np.float32), posinf=0, neginf=0)
    except (OSError, EOFError, ValueError, ImageFileError, zlib.error) as error:
        raise InputError(
            f"{path} cannot be read as a NIfTI volume ({error}). Replace the file or remove it."
        ) from error
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    return values, volume.affine


def _cut(
    root: Path,
    on_problem: OnProblem,
    pair: Pair,
    channel: int | None,
    planes: list[str],
    every: int,
    tumor: str | None,
) -> Iterator[VolumeSlice]:
    """The slices of one examination that show the head."""
    try:
        both = read_volume(pair.image, pair.label, channel)
    except InputError as error:
        on_problem(Problem("image", str(pair.image), str(error)))
        return
    for plane in planes:
        axis = AXES[plane]
        for index in range(every // 2, both[0].shape[axis], every):
            # The radiological convention: the patient's right is on the left.
            pixels, mask = (np.take(values, index, axis)[::-1, ::-1].T for values in both)
            if np.mean(pixels > 25) < HEAD_SHARE and not mask.any():
                continue
            yield VolumeSlice(
                id=f"{pair.name}-{plane}-{index:03d}",
                label=label_of(mask, tumor),
                patient=pair.patient,
                pixels=pixels,
                mask=mask,
                plane=plane,
                source=f"{pair.image.relative_to(root)} {plane} {index}",
            )
