"""NIfTI volumes with label volumes, in the layouts of BraTS, the Decathlon and nnU-Net."""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainseg.data.case import OnProblem, Problem, refuse
from brainseg.data.layouts.nifti_pairs import Pair, pair_volumes
from brainseg.data.layouts.nifti_volume import read_volume
from brainseg.data.layouts.pattern import compile_pattern
from brainseg.data.layouts.volume import Cut, VolumeSlice, label_of
from brainseg.errors import InputError, check_known
from brainseg.vocabulary import PLANES

AXES = {plane: axis for axis, plane in enumerate(PLANES)}
"""The axis normal to each plane in a volume whose axes point right, anterior and superior."""

HEAD_SHARE = 0.05
"""Smallest share of pixels brighter than a tenth of white in a slice that shows the head."""

SMALLEST = 8
"""Pixels of the shorter side of a slice; thinner ones were cut across too few layers."""


def read_nifti(
    root: Path,
    on_problem: OnProblem = refuse,
    *,
    image: str = r"t1_?-?(c|gd)",
    label: str = r"seg|label|mask",
    labels: Sequence[float] | None = None,
    channel: int | None = None,
    planes: str | Sequence[str] = "axial",
    every: int = 1,
    tumor: str | None = None,
) -> list[Cut]:
    """Find pairs of volumes: one folder per examination, or folders of images and of labels.

    In `imagesTr/` and `labelsTr/` (or `images/` and `labels/`) both have the same name, except for
    `_0000`; otherwise a pair shares a folder, and where that holds several, the rest of its names.
    For the patient, see `brainseg.data.layouts.patients`.

    Args:
        root: the data set's folder.
        on_problem: receives files without counterpart, which are left out, and volumes that
            cannot be used.
        image: regular expression of the image's file name, where a folder has several.
        label: regular expression of the label's file name, or of its folder's.
        labels: the values of a label volume that are tumour, where it has several.
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
    cut = partial(_cut, root, on_problem, planes=chosen, every=every, tumor=tumor)
    read = partial(read_volume, channel=channel, labels=labels)
    return [partial(cut, pair, partial(read, pair.image, pair.label)) for pair in pairs]


def _cut(
    root: Path,
    on_problem: OnProblem,
    pair: Pair,
    read: Callable[[], tuple[NDArray[np.uint8], NDArray[np.bool_]]],
    planes: list[str],
    every: int,
    tumor: str | None,
) -> Iterator[VolumeSlice]:
    """The slices of one examination that show the head."""
    try:
        both = read()
        for plane in planes:
            check_plane(pair.image, both[0].shape, plane)
    except InputError as error:
        on_problem(Problem("image", str(pair.image), str(error)))
        return
    found = 0
    for plane in planes:
        axis = AXES[plane]
        for index in range(every // 2, both[0].shape[axis], every):
            # The radiological convention: the patient's right is on the left.
            pixels, mask = (np.take(values, index, axis)[::-1, ::-1].T for values in both)
            if not shows_head(pixels) and not mask.any():
                continue
            found += 1
            yield VolumeSlice(
                id=f"{pair.name}-{plane}-{index:03d}",
                label=label_of(mask, tumor),
                patient=pair.patient,
                examination=pair.name,
                place=pair.place,
                pixels=pixels,
                mask=mask,
                plane=plane,
                source=f"{pair.image.relative_to(root)} {plane} {index}",
            )
    if not found:
        message = f"{pair.image} shows a head in none of its slices. Look at it, or remove it."
        on_problem(Problem("flat", str(pair.image), message))


def shows_head(pixels: NDArray[np.uint8]) -> bool:
    """Whether a slice, H×W, shows enough that is brighter than a tenth of white."""
    return bool(np.mean(pixels > 25) >= HEAD_SHARE)


def check_plane(path: Path, shape: tuple[int, ...], plane: str) -> None:
    """Refuse a volume of too few voxels across a plane, one of `AXES`.

    Args:
        path: its file.
        shape: with axes to the right, front and top.
        plane: in which it shall be cut.

    Raises:
        InputError: a slice would be too thin.
    """
    sides = [side for axis, side in enumerate(shape) if axis != AXES[plane]]
    if min(sides) < SMALLEST:
        raise InputError(
            f"{path} has {' × '.join(map(str, shape))} voxels: a {plane} slice would be "
            f"{sides[0]} × {sides[1]}. Expected at least {SMALLEST} a side; choose other "
            "planes (planes=…, --plane)."
        )
