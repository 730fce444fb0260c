"""Folders of DICOM files, with masks as DICOM SEG objects or as files in a folder of their own.

Patient identifiers are kept as they are: remove them beforehand if they must not be passed on.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainseg.data.case import OnProblem, Problem, refuse
from brainseg.data.image import IMAGE_SUFFIXES
from brainseg.data.layouts.dicom_file import (
    SUFFIXES,
    Header,
    looks_like_dicom,
    read_header,
    read_slice,
)
from brainseg.data.layouts.dicom_notes import note, tell_patients, tell_unmarked, tell_unread
from brainseg.data.layouts.dicom_pairs import (
    Masks,
    find_unread,
    is_in_masks,
    join,
    pair_drawn,
    pair_segments,
)
from brainseg.data.layouts.dicom_seg import read_segmentation
from brainseg.data.layouts.volume import Cut, VolumeSlice, label_of
from brainseg.data.layouts.walk import find_files
from brainseg.data.mask import check_extent
from brainseg.errors import InputError
from brainseg.vocabulary import PLANES


def read_dicom(
    root: Path,
    on_problem: OnProblem = refuse,
    *,
    labels: Sequence[float] | None = None,
    segments: Sequence[str] | None = None,
    tumor: str | None = None,
) -> list[Cut]:
    """Find DICOM images, series by series, and their masks.

    A mask is a frame of a DICOM SEG object that refers to the image or lies at its position, or a
    file in a folder `masks` with the same path (DICOM or a picture), where folders named `images`
    and `masks` do not count: `P1/masks/3.png` is of `P1/images/3.dcm`, or of `P1/3.dcm`. Where
    every mask has found its image, slices without one in a series with some have no tumour; a
    series without any is unlabelled. The patient is `PatientID`, else the study, else the series.

    Args:
        root: the data set's folder.
        on_problem: receives files that cannot be used, and masks that fit no image.
        labels: the values of files in `masks/` that are tumour, where they have several.
        segments: names or numbers of the segments of SEG objects that are tumour, likewise.
        tumor: class of slices with tumour, of `vocabulary.TUMORS`.

    Raises:
        InputError: there are no DICOM images, or segments must be chosen.
    """
    lost: list[Problem] = []

    def lose(problem: Problem) -> None:
        lost.append(problem)
        on_problem(problem)

    headers, drawn, others = _sort_files(root, on_problem, lose)
    images = headers["image"]
    if not images:
        raise InputError(f"No DICOM images below {root}. Expected files of one slice each.")
    for header in headers["contours"]:
        message = (
            f"{header.path} holds contours (RTSTRUCT), which are not read. Convert them to a DICOM "
            "SEG object or to masks (for example with 3D Slicer), or remove the file."
        )
        lose(Problem("mask", str(header.path), message))
    found = []
    for header in headers["segmentation"]:
        try:
            found.append(read_segmentation(header))
        except InputError as error:
            lose(Problem("mask", str(header.path), str(error)))
    masks = pair_segments(found, images, segments, lose)
    paths = [image.path for image in images]
    drawn += find_unread(root, paths, others)
    for path, read in pair_drawn(root, paths, drawn, labels, lose).items():
        masks.setdefault(path, []).extend(read)
    series: dict[str, list[Header]] = defaultdict(list)
    for image in images:
        series[image.series or str(image.path.parent)].append(image)
    note(others, "files are no DICOM, and not read", on_problem)
    tell_unread([header for each in headers.values() for header in each], on_problem)
    tell_unmarked(list(series.values()), masks, bool(drawn) and not lost, on_problem)
    tell_patients(root, images, on_problem)
    return [
        partial(_cut, root, on_problem, each, masks, bool(lost), tumor) for each in series.values()
    ]


def _sort_files(
    root: Path, on_problem: OnProblem, lose: OnProblem
) -> tuple[dict[str, list[Header]], list[Path], list[Path]]:
    """Headers by kind, the files of drawn masks, and those that are neither."""
    headers: dict[str, list[Header]] = defaultdict(list)
    drawn, others = [], []
    for path in find_files(root, on_problem):
        within = is_in_masks(path, root)
        if within and path.suffix.lower() in IMAGE_SUFFIXES:
            drawn.append(path)
        elif not looks_like_dicom(path):
            others.append(path)
        else:
            try:
                header = read_header(path)
            except InputError as error:
                kind, tell = ("mask", lose) if within else ("image", on_problem)
                tell(Problem(kind, str(path), str(error)))
                continue
            if within and header.kind == "image":
                drawn.append(path)
            else:
                headers[header.kind].append(header)
    return headers, drawn, others


def _cut(
    root: Path,
    on_problem: OnProblem,
    images: Sequence[Header],
    masks: Masks,
    incomplete: bool,
    tumor: str | None,
) -> Iterator[VolumeSlice]:
    """The slices of one series; `incomplete`: truth was lost, so no mask is not no tumour."""
    read: list[tuple[Header, NDArray[np.uint8], NDArray[np.bool_] | None]] = []
    known = any(image.path in masks for image in images)
    for image in images:
        try:
            pixels = read_slice(image.path)
        except InputError as error:
            on_problem(Problem("image", str(image.path), str(error)))
            continue
        try:
            mask = None
            if image.path in masks or (known and not incomplete):
                mask = join(masks.get(image.path, ()), pixels.shape, image.path)
                check_extent(mask, pixels, f"The mask of {image.path}")
            read.append((image, pixels, mask))
        except InputError as error:
            on_problem(Problem("mask", str(image.path), str(error)))
    if not _is_of_tumor(read, on_problem):
        return
    for image, pixels, mask in read:
        relative = image.path.relative_to(root).as_posix()
        patient = image.patient or image.study or image.series or str(image.path.parent)
        yield VolumeSlice(
            id=re.sub(
                r"[^\w.]+", "-", re.sub(f"({'|'.join(SUFFIXES)})$", "", relative, flags=re.I)
            ),
            label=label_of(mask, tumor),
            patient=patient,
            examination=patient,
            place=image.path.parent.relative_to(root).as_posix(),
            pixels=pixels,
            mask=mask,
            plane=_plane(image),
            source=relative,
        )


def _is_of_tumor(
    read: Sequence[tuple[Header, NDArray[np.uint8], NDArray[np.bool_] | None]],
    on_problem: OnProblem,
) -> bool:
    """Whether the masks of a series, as one volume, are not those of the brain."""
    marked = [(pixels, mask) for _, pixels, mask in read if mask is not None]
    if len({pixels.shape for pixels, _ in marked}) != 1:
        return True  # nothing is marked, or the slices are no volume
    pixels, mask = (np.stack(each) for each in zip(*marked, strict=True))
    folder = read[0][0].path.parent
    try:
        check_extent(mask, pixels, f"The mask of the series in {folder}")
    except InputError as error:
        on_problem(Problem("mask", str(folder), str(error)))
        return False
    return True


def _plane(image: Header) -> str | None:
    if image.directions is None:
        return None
    row, column = image.directions.reshape(2, 3)
    return PLANES[int(np.abs(np.cross(row, column)).argmax())]
