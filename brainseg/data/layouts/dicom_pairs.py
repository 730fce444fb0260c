"""Which mask belongs to which DICOM image: files in `masks/`, and segmentation objects."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainseg.data.case import OnProblem, Problem, name_some
from brainseg.data.image import IMAGE_SUFFIXES, read_mask
from brainseg.data.layouts.dicom_file import (
    SUFFIXES,
    Header,
    is_lossy,
    looks_like_dicom,
    read_frame,
)
from brainseg.data.layouts.dicom_seg import (
    Frame,
    Segmentation,
    check_place,
    choose_segments,
    find_images,
    read_mask_of_frame,
)
from brainseg.data.layouts.mask_names import IMAGES, MASKS, image_name
from brainseg.data.mask import to_mask
from brainseg.errors import InputError

ReadMask = Callable[[], NDArray[np.bool_]]
"""Reads one of the masks of an image, H×W."""

Masks = dict[Path, list[ReadMask]]
"""The masks of each image, by its file."""


def pair_drawn(
    root: Path,
    images: Sequence[Path],
    drawn: Sequence[Path],
    labels: Sequence[float] | None,
    on_problem: OnProblem,
) -> Masks:
    """Files in folders named `masks` for the images with the same path below `root`.

    Endings do not matter, nor does the case of letters, nor `_mask` and its like after the name,
    nor the folders `images` and `masks`. A file that fits no image, or several, is a fatal problem.

    Args:
        root: the data set's folder.
        images: files of images.
        drawn: pictures and DICOM files in folders of masks.
        labels: the values that are tumour, see `brainseg.data.mask.to_mask`.
        on_problem: receives the files that fit no image.
    """
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path in images:
        by_name[_name(path, root)].append(path)
    found: dict[Path, list[Path]] = defaultdict(list)
    for path in drawn:
        name = _name(path, root)
        names = (name, image_name(name), _name(path.with_suffix(""), root))
        fitting = next((by_name[each] for each in names if each in by_name), [])
        if len(fitting) == 1:
            found[fitting[0]].append(path)
        else:
            fits = f"fits {name_some(map(str, fitting))}" if fitting else "fits no image"
            message = (
                f"The mask {path} {fits}. Expected one image of its name below {root}, in "
                "folders that are the same but for images and masks. Rename it, or remove it."
            )
            on_problem(Problem("mask", str(path), message))
    for image, paths in found.items():
        if len(paths) > 1:
            message = f"{image} has several masks: {name_some(map(str, paths))}. Keep one."
            on_problem(Problem("mask", str(image), message))
    read = partial(_read_drawn, labels=labels)
    return {image: [partial(read, path) for path in paths] for image, paths in found.items()}


def find_unread(root: Path, images: Sequence[Path], others: Sequence[Path]) -> list[Path]:
    """Files in folders of masks that have the name of an image, but another format."""
    names = {_name(path, root) for path in images}
    within = [path for path in others if is_in_masks(path, root)]
    return [path for path in within if _name(path.with_suffix(""), root) in names]


def is_in_masks(path: Path, root: Path) -> bool:
    """Whether a file below `root` lies in a folder named as one of `MASKS`, or in one below it."""
    return any(part.lower() in MASKS for part in path.relative_to(root).parts[:-1])


def pair_segments(
    segmentations: Sequence[Segmentation],
    images: Sequence[Header],
    chosen: Sequence[str] | None,
    on_problem: OnProblem,
) -> Masks:
    """Frames of segmentation objects for the images that they belong to.

    A frame that shows something and belongs to no image is a fatal problem.

    Raises:
        InputError: there are several segments and none was chosen, or one is unknown.
    """
    masks: Masks = defaultdict(list)
    numbers = choose_segments(segmentations, chosen)
    for found in segmentations:
        path, taken = found.header.path, numbers[found.header.path]
        matched = find_images(found, images)
        lost = []
        for frame in found.frames:
            if frame.segment is not None and frame.segment not in taken:
                continue
            read = partial(read_mask_of_frame, found, frame, taken)
            for image in matched[frame.index]:
                masks[image.path].append(partial(_read_placed, read, frame, image, path))
            if not matched[frame.index]:
                lost.append(read)
        try:
            count = sum(bool(read().any()) for read in lost)
        except InputError as error:
            on_problem(Problem("mask", str(path), str(error)))
            continue
        if count:
            message = (
                f"{path}: {count} of {len(found.frames)} frames show something, but belong to no "
                "image here, by reference or by position. Add their images, or remove the file."
            )
            on_problem(Problem("mask", str(path), message))
    return masks


def join(masks: Sequence[ReadMask], shape: tuple[int, ...], path: Path) -> NDArray[np.bool_]:
    """All masks of an image in one, H×W; empty where there is none.

    Raises:
        InputError: one cannot be read, is no mask, or of another size.
    """
    joined = np.zeros(shape, bool)
    for read in masks:
        mask = read()
        if mask.shape != shape:
            raise InputError(
                f"{path} has {shape[0]} rows and {shape[1]} columns, its mask {mask.shape[0]} and "
                f"{mask.shape[1]}. Expected the same."
            )
        joined |= mask
    return joined


def _name(path: Path, root: Path) -> str:
    """The path below `root` without folders of images and masks, and endings, in small letters."""
    parts = path.relative_to(root).as_posix().lower().split("/")
    name = "/".join([*(part for part in parts[:-1] if part not in (*IMAGES, *MASKS)), parts[-1]])
    ends = "|".join(re.escape(end) for end in (*SUFFIXES, *IMAGE_SUFFIXES))
    while (shorter := re.sub(f"({ends})$", "", name)) != name:
        name = shorter
    return name


def _read_drawn(path: Path, labels: Sequence[float] | None) -> NDArray[np.bool_]:
    """Stored values, whatever the header makes of them."""
    if not (path.suffix.lower() in IMAGE_SUFFIXES or looks_like_dicom(path)):
        raise InputError(f"The mask {path} is neither DICOM nor a picture. Convert it.")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return read_mask(path, labels)
    stored, dataset = read_frame(path)
    return to_mask(stored, path, labels, is_lossy(dataset))


def _read_placed(read: ReadMask, frame: Frame, image: Header, path: Path) -> NDArray[np.bool_]:
    mask = read()
    if mask.any():
        check_place(frame, image, path)
    return mask
