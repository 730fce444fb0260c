"""Folders of DICOM files, with masks as DICOM SEG objects or as pictures in a folder of their own.

Patient identifiers are kept as they are: remove them beforehand if they must not be passed on.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError
from pydicom.misc import is_dicom

from brainseg.data.case import OnProblem, Problem, refuse
from brainseg.data.image import IMAGE_SUFFIXES, read_mask, scale_to_uint8
from brainseg.data.layouts.volume import Cut, VolumeSlice, label_of
from brainseg.data.layouts.walk import find_files
from brainseg.errors import InputError

PLANES = ("sagittal", "coronal", "axial")
"""By the axis (left, back, top) that is closest to the slice's normal."""

PATIENT = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
"""Names of the patient; the first that a file has counts."""

BROKEN = (
    *(InvalidDicomError, OSError, EOFError, AttributeError, KeyError, IndexError),
    *(ValueError, TypeError, RuntimeError, NotImplementedError),
)
"""What pydicom raises for files that are damaged or not images."""

Masks = Mapping[str, NDArray[np.bool_]]
"""Masks of segmentation objects, by the UID of their image."""


def read_dicom(
    root: Path, on_problem: OnProblem = refuse, *, tumor: str | None = None
) -> list[Cut]:
    """Find DICOM images, series by series, and their masks.

    A mask is a frame of a DICOM SEG object that refers to the image, or a file in `ROOT/masks/`
    with the same relative path (DICOM or a picture); images may be in `ROOT/images/`. In a series
    with some masks, slices without one have no tumour; a series without any is unlabelled. The
    patient is `PatientID`, else the study, else the series. `tumor` is the class of slices with a
    tumour.

    Raises:
        InputError: there are no DICOM images.
    """
    drawn = root / "masks"
    series: dict[str, list[Path]] = defaultdict(list)
    masks: dict[str, NDArray[np.bool_]] = {}
    for path in find_files(root):
        if drawn in path.parents or not (path.suffix.lower() == ".dcm" or is_dicom(path)):
            continue
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
            if header.get("Modality") == "SEG":
                for uid, mask in read_segmentation(path).items():
                    masks[uid] = masks[uid] | mask if uid in masks else mask
            elif "Rows" in header:
                series[str(header.get("SeriesInstanceUID", path.parent))].append(path)
            elif "DirectoryRecordSequence" not in header:
                raise InvalidDicomError("it has no pixels")
        except BROKEN as error:
            on_problem(_problem(path, error))
    if not series:
        raise InputError(f"No DICOM images below {root}. Expected files of one slice each.")
    return [partial(_cut, root, on_problem, paths, masks, tumor) for paths in series.values()]


def read_pixels(path: Path) -> tuple[NDArray[np.uint8], pydicom.Dataset]:
    """Read one slice, H×W; its 99.9th percentile becomes white. Also returns the header.

    Raises:
        InputError: the file is not a DICOM image of one grey frame.
    """
    try:
        dataset = pydicom.dcmread(path)
        values = dataset.pixel_array.astype(np.float64)
    except BROKEN as error:
        raise InputError(_problem(path, error).message) from error
    if values.ndim != 2:
        raise InputError(
            f"{path} has pixels of the shape {values.shape}. Expected one grey slice per file."
        )
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        values = values.max() - values  # there, the lowest value is white
    values -= min(values.min(), 0)
    return scale_to_uint8(values, float(np.percentile(values, 99.9))), dataset


def read_segmentation(path: Path) -> dict[str, NDArray[np.bool_]]:
    """Masks by the UID of their image (DICOM PS3.3, A.51); segments of one image are merged.

    Frames that refer to no image are ignored.
    """
    dataset = pydicom.dcmread(path)
    frames = np.atleast_3d(dataset.pixel_array.T).T > 0
    masks: dict[str, NDArray[np.bool_]] = {}
    for frame, groups in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        for derivation in groups.get("DerivationImageSequence", []):
            for source in derivation.get("SourceImageSequence", []):
                uid = str(source.ReferencedSOPInstanceUID)
                masks[uid] = masks.get(uid, np.zeros(frame.shape, bool)) | frame
    return masks


def _problem(path: Path, error: Exception) -> Problem:
    message = f"{path} cannot be read as a DICOM image ({error}). Replace the file or remove it."
    return Problem("image", str(path), message)


def _cut(
    root: Path, on_problem: OnProblem, paths: list[Path], masks: Masks, tumor: str | None
) -> Iterator[VolumeSlice]:
    """The slices of one series."""
    drawn = {path: _find_drawn(root, path) for path in paths}
    read = []
    for path in paths:
        try:
            read.append((path, *read_pixels(path)))
        except InputError as error:
            on_problem(Problem("image", str(path), str(error)))
    uids = {path: str(dataset.get("SOPInstanceUID")) for path, _, dataset in read}
    known = any(drawn.values()) or any(uid in masks for uid in uids.values())
    for path, pixels, dataset in read:
        try:
            empty = np.zeros(pixels.shape, bool) if known else None
            picture = drawn[path]
            mask = masks.get(uids[path], empty) if picture is None else _read_drawn(picture)
            if mask is not None and mask.shape != pixels.shape:
                raise InputError(
                    f"{path} has {pixels.shape[0]} rows and {pixels.shape[1]} columns, its mask "
                    f"{mask.shape[0]} and {mask.shape[1]}. Expected the same."
                )
            relative = str(path.relative_to(root))
            names = (dataset.get(tag) for tag in PATIENT)
            patient = str(next(filter(None, names), path.parent))
            yield VolumeSlice(
                id=re.sub(r"[^\w.]+", "-", _bare(relative)),
                label=label_of(mask, tumor),
                patient=patient,
                examination=patient,
                pixels=pixels,
                mask=mask,
                plane=_plane(dataset),
                source=relative,
            )
        except InputError as error:
            on_problem(Problem("mask", str(path), str(error)))


def _plane(dataset: pydicom.Dataset) -> str | None:
    directions = dataset.get("ImageOrientationPatient")
    if not directions or len(directions) != 6:
        return None
    row, column = np.array(directions, float).reshape(2, 3)
    return PLANES[int(np.abs(np.cross(row, column)).argmax())]


def _find_drawn(root: Path, path: Path) -> Path | None:
    """The file in `ROOT/masks/` that has an image's relative path."""
    base = root / "images" if (root / "images") in path.parents else root
    beside = root / "masks" / path.relative_to(base)
    names = [beside.name, *(_bare(beside.name) + end for end in (".dcm", *IMAGE_SUFFIXES))]
    return next((file for file in map(beside.with_name, names) if file.is_file()), None)


def _bare(name: str) -> str:
    """A name without DICOM's suffixes; anything else after a dot may be part of a UID."""
    return re.sub(r"\.(dcm|ima)$", "", name, flags=re.IGNORECASE)


def _read_drawn(path: Path) -> NDArray[np.bool_]:
    is_picture = path.suffix.lower() in IMAGE_SUFFIXES
    return read_mask(path) if is_picture else read_pixels(path)[0] > 0
