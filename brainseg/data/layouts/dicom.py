"""Folders of DICOM files, with masks as DICOM SEG objects or as pictures in a folder of their own.

Identifiers of patients are taken over as they stand: remove them first where they must not spread.
"""

import logging
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

from brainseg.data.image import IMAGE_SUFFIXES, read_mask, scale_to_uint8
from brainseg.data.layouts.volume import Cut, VolumeSlice, label_of
from brainseg.errors import InputError

PLANES = ("sagittal", "coronal", "axial")
"""By the axis (left, back, top) that is most across the slice."""

Masks = Mapping[str, NDArray[np.bool_]]
"""Masks of segmentation objects, by the UID of the image that they belong to."""


def read_dicom(root: Path, *, tumor: str | None = None) -> list[Cut]:
    """Find DICOM images, series by series, and their masks.

    A mask is a frame of a DICOM SEG object that refers to the image, or a file in `ROOT/masks/`
    with the same relative path (DICOM or a picture). In a series with some masks the other slices
    have no tumour; a series without any is without truth.

    Args:
        root: the data set's folder; images may lie in `ROOT/images/`.
        tumor: class of slices with tumour, of `brainseg.data.case.CLASSES`.

    Raises:
        InputError: there are no DICOM images.
    """
    drawn = root / "masks"
    files = [p for p in sorted(root.rglob("*")) if p.is_file() and drawn not in p.parents]
    series: dict[str, list[Path]] = defaultdict(list)
    masks: dict[str, NDArray[np.bool_]] = {}
    for path in files:
        if path.suffix.lower() in (".csv", *IMAGE_SUFFIXES) or not is_dicom(path):
            continue
        header = pydicom.dcmread(path, stop_before_pixels=True)
        if header.get("Modality") == "SEG":
            masks |= _read_segmentation(path)
        elif "Rows" in header:
            series[str(header.get("SeriesInstanceUID", path.parent))].append(path)
    if not series:
        raise InputError(f"No DICOM images below {root}. Expected files of one slice each.")
    return [partial(_cut, root, paths, masks, tumor) for paths in series.values()]


def read_pixels(path: Path) -> tuple[NDArray[np.uint8], pydicom.Dataset]:
    """Read one slice, H×W; its 99.9th percentile becomes white. Also returns the header.

    Raises:
        InputError: the file is no DICOM image of one grey frame.
    """
    try:
        dataset = pydicom.dcmread(path)
        values = dataset.pixel_array.astype(np.float64)
    except (InvalidDicomError, OSError, AttributeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{path} cannot be read as a DICOM image ({error}). Replace the file or remove it."
        ) from error
    if values.ndim != 2:
        raise InputError(
            f"{path} has pixels of the shape {values.shape}. Expected one grey slice per file."
        )
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        values = values.max() - values  # there, the lowest value is white
    values -= min(values.min(), 0)
    return scale_to_uint8(values, float(np.percentile(values, 99.9))), dataset


def _cut(root: Path, paths: list[Path], masks: Masks, tumor: str | None) -> Iterator[VolumeSlice]:
    """The slices of one series."""
    pictures = {path: _find_drawn(root, path) for path in paths}
    read = [(path, *read_pixels(path)) for path in paths]
    known = any(pictures.values()) or any(dataset.SOPInstanceUID in masks for *_, dataset in read)
    for path, pixels, dataset in read:
        mask: NDArray[np.bool_] | None = np.zeros(pixels.shape, bool) if known else None
        picture = pictures[path]
        if picture is not None:
            mask = _read_drawn(picture)
        elif dataset.SOPInstanceUID in masks:
            mask = masks[dataset.SOPInstanceUID]
        if mask is not None and mask.shape != pixels.shape:
            raise InputError(
                f"{path} has {pixels.shape[0]} rows and {pixels.shape[1]} columns, its mask "
                f"{mask.shape[0]} and {mask.shape[1]}. Expected the same."
            )
        relative = path.relative_to(root)
        spacing = dataset.get("PixelSpacing")
        yield VolumeSlice(
            id=re.sub(r"[^A-Za-z0-9]+", "-", str(relative.with_suffix(""))).strip("-"),
            label=label_of(mask, tumor),
            patient=str(dataset.get("PatientID") or relative.parts[0]),
            pixels=pixels,
            mask=mask,
            plane=_plane(dataset),
            spacing=(float(spacing[0]), float(spacing[1])) if spacing else None,
            source=str(relative),
        )


def _plane(dataset: pydicom.Dataset) -> str | None:
    directions = dataset.get("ImageOrientationPatient")
    if not directions:
        return None
    row, column = np.array(directions, float).reshape(2, 3)
    return PLANES[int(np.abs(np.cross(row, column)).argmax())]


def _find_drawn(root: Path, path: Path) -> Path | None:
    """The file in `ROOT/masks/` that has an image's relative path."""
    base = root / "images" if (root / "images") in path.parents else root
    beside = root / "masks" / path.relative_to(base)
    candidates = [beside, *(beside.with_suffix(suffix) for suffix in (".dcm", *IMAGE_SUFFIXES))]
    return next((file for file in candidates if file.is_file()), None)


def _read_drawn(path: Path) -> NDArray[np.bool_]:
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return read_mask(path)
    return read_pixels(path)[0] > 0


def _read_segmentation(path: Path) -> dict[str, NDArray[np.bool_]]:
    """Masks by the UID of their image (DICOM PS3.3, A.51); several segments of one are joined."""
    logger = logging.getLogger(__name__)
    dataset = pydicom.dcmread(path)
    frames = np.atleast_3d(dataset.pixel_array.T).T > 0
    masks: dict[str, NDArray[np.bool_]] = {}
    for frame, groups in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        try:
            source = groups.DerivationImageSequence[0].SourceImageSequence[0]
        except (AttributeError, IndexError):
            logger.warning("%s has frames that name no image: they are left out.", path)
            continue
        uid = str(source.ReferencedSOPInstanceUID)
        masks[uid] = masks.get(uid, np.zeros(frame.shape, bool)) | frame
    return masks
