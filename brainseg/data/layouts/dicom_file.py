"""DICOM files, which may be anything: what their headers say, and the numbers of one slice."""

import logging
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.misc import is_dicom
from pydicom.pixels import apply_modality_lut, get_decoder
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from brainseg.data.intensity import invert, to_grey
from brainseg.errors import InputError, telling_damage

logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # what matters here is checked here

SUFFIXES = (".dcm", ".ima", ".dicom")

LARGEST = 2**29
"""Values in all frames of a file; more are refused before memory is taken for them."""

MOST_BYTES = 2**30
"""Of a deflated file when it is inflated."""

GREY = ("MONOCHROME1", "MONOCHROME2")

LOSSY = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.91")
"""Transfer syntaxes of JPEG (baseline, extended) and JPEG 2000 that change values."""


@dataclass(frozen=True)
class Header:
    """What tells an image or another object apart, and where it lies.

    Attributes:
        path: its file.
        kind: `image`, `segmentation`, `contours` (RTSTRUCT), `directory` or `other`.
        uid: of the object (SOPInstanceUID); likewise `series`, `study` and `frame_of_reference`,
            the space in which positions are given. Empty where unknown.
        patient: `PatientID` without blanks around it.
        place: position of the first pixel (3 numbers, mm); `None` where unknown.
        directions: of the rows and of the columns (6 numbers); `None` where unknown.
        overlays: whether it carries overlay planes.
    """

    path: Path
    kind: str
    uid: str
    series: str
    study: str
    frame_of_reference: str
    patient: str
    place: NDArray[np.float64] | None
    directions: NDArray[np.float64] | None
    overlays: bool


def looks_like_dicom(path: Path) -> bool:
    """Whether a file has DICOM's ending or its first bytes."""
    try:
        if path.suffix.lower() in SUFFIXES:
            return True
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def open_dicom(path: Path, stop_before_pixels: bool = False) -> pydicom.Dataset:
    """Read a file, also one that lacks the preamble, as those of old software do.

    Raises:
        InvalidDicomError: it is something else.
    """
    dataset = pydicom.dcmread(path, stop_before_pixels=stop_before_pixels, force=True)
    if "SOPClassUID" not in dataset and not is_dicom(path):
        raise InvalidDicomError("no DICOM file")
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset


def read_header(path: Path) -> Header:
    """Read a header.

    Raises:
        InputError: the file is damaged, or no DICOM.
    """
    with reading(path):
        _check_deflated(path)
        dataset = open_dicom(path, stop_before_pixels=True)
        return Header(
            path,
            kind=_kind(dataset),
            uid=_text(dataset, "SOPInstanceUID"),
            series=_text(dataset, "SeriesInstanceUID"),
            study=_text(dataset, "StudyInstanceUID"),
            frame_of_reference=_text(dataset, "FrameOfReferenceUID"),
            patient=_text(dataset, "PatientID"),
            place=read_numbers(dataset, "ImagePositionPatient", 3),
            directions=read_numbers(dataset, "ImageOrientationPatient", 6),
            overlays=any(0x6000 <= tag.group <= 0x60FF for tag in dataset.keys()),  # noqa: SIM118
        )


def read_stored(path: Path) -> tuple[NDArray, pydicom.Dataset]:
    """All frames of a file as its stored numbers, F×H×W, and the whole header.

    Raises:
        InputError: the file is damaged, too large, or its pixels are colours.
    """
    with reading(path):
        _check_deflated(path)
        dataset = open_dicom(path)
        frames, samples = int(dataset.get("NumberOfFrames") or 1), int(dataset.SamplesPerPixel)
        rows, columns = int(dataset.Rows), int(dataset.Columns)
        if samples != 1 or dataset.PhotometricInterpretation not in GREY:
            raise InputError(
                f"{path} holds colours ({dataset.PhotometricInterpretation}). Expected grey pixels "
                f"({', '.join(GREY)}). Remove it, or convert it."
            )
        if rows * columns * frames > LARGEST:
            raise InputError(
                f"{path} declares {rows} × {columns} pixels in {frames} frames, more than "
                f"{LARGEST:,} values. Remove it, or split it."
            )
        _check_decoder(path, dataset)
        return dataset.pixel_array.reshape(frames, rows, columns), dataset


def read_slice(path: Path) -> NDArray[np.uint8]:
    """The pixels of an image of one frame, H×W, without padding, and with white as the highest.

    Raises:
        InputError: the file cannot be used, holds several frames, or looks like a mask.
    """
    stored, dataset = read_frame(path)
    if np.unique(stored).size == 2:
        raise InputError(
            f"{path} has two values, as a mask does. Expected an image; put masks into a folder "
            "named masks, or remove it."
        )
    return to_slice(stored, dataset, path, dataset.get("RescaleSlope"))


def to_slice(
    stored: NDArray, dataset: pydicom.Dataset, path: Path, slope: Any
) -> NDArray[np.uint8]:
    """Grey levels of one frame, H×W, without padding, and with white as the highest.

    As a slice is scaled by its own values (`to_grey`), only the sign of the slope counts, and an
    intercept does not.

    Args:
        stored: the frame's numbers.
        dataset: the file's header.
        path: the file, for messages.
        slope: RescaleSlope of the frame, or nothing.

    Raises:
        InputError: the values cannot be used.
    """
    with reading(path):
        padding = _find_declared(stored, dataset)
        values = stored
        if "ModalityLUTSequence" in dataset:
            values = apply_modality_lut(stored, dataset)
        falls = float(slope or 1) < 0
        if falls != (dataset.PhotometricInterpretation == "MONOCHROME1"):
            values = invert(values, padding)
        return to_grey(values, path, padding)


def read_frame(path: Path) -> tuple[NDArray, pydicom.Dataset]:
    """The stored numbers of a file of one frame, H×W, and its header.

    Raises:
        InputError: the file cannot be used, or holds several frames.
    """
    stored, dataset = read_stored(path)
    if len(stored) != 1:
        raise InputError(
            f"{path} holds {len(stored)} frames. Expected one grey slice per file; split it (for "
            "example with dcm4che's emf2sf)."
        )
    return stored[0], dataset


def is_lossy(dataset: pydicom.Dataset) -> bool:
    """Whether compression may have changed the pixels of this file.

    `LossyImageCompression` does not tell: masks inherit it from their images.
    """
    return str(dataset.file_meta.get("TransferSyntaxUID", "")) in LOSSY


def read_numbers(dataset: Any, name: str, count: int) -> NDArray[np.float64] | None:
    """Numbers of an element; `None` where it is missing, incomplete or not finite."""
    try:
        value = dataset.get(name)
        numbers = np.array(value if value is not None else [], np.float64)
    except (ValueError, TypeError):  # text that is no number
        return None
    return numbers if numbers.shape == (count,) and np.isfinite(numbers).all() else None


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """As `telling_damage`, and as `ignoring_odd_values`."""
    with telling_damage(path, "a DICOM image"), ignoring_odd_values():
        yield


@contextmanager
def ignoring_odd_values() -> Iterator[None]:
    """Drop warnings of pydicom and its decoders; what matters is checked. Decorates functions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _text(dataset: pydicom.Dataset, name: str) -> str:
    return "".join(filter(str.isprintable, str(dataset.get(name) or ""))).strip()


def _kind(dataset: pydicom.Dataset) -> str:
    if "DirectoryRecordSequence" in dataset:
        return "directory"
    if dataset.get("Modality") == "SEG":
        return "segmentation"
    if dataset.get("Modality") == "RTSTRUCT":
        return "contours"
    return "image" if "Rows" in dataset else "other"


def _check_deflated(path: Path) -> None:
    """Inflate a deflated file once without keeping it, so that it cannot fill the memory."""
    if not is_dicom(path):
        return
    meta = read_file_meta_info(path)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    inflate, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    with path.open("rb") as file:
        file.seek(128 + 4 + 12 + meta.FileMetaInformationGroupLength)
        while block := inflate.unconsumed_tail or file.read(2**16):
            total += len(inflate.decompress(block, 2**20))
            if total > MOST_BYTES:
                raise InputError(
                    f"{path} inflates to more than {MOST_BYTES:,} bytes. Remove it, or convert it "
                    "to another transfer syntax."
                )
            if inflate.eof:
                break


def _check_decoder(path: Path, dataset: pydicom.Dataset) -> None:
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_compressed or syntax == DeflatedExplicitVRLittleEndian:
        return
    try:
        known = get_decoder(syntax).is_available
    except NotImplementedError:
        known = False
    if not known:
        raise InputError(
            f"{path} is compressed ({syntax.name}), and no decoder for that is installed. Try "
            "`pip install 'brainseg-bench[dicom]'`, or decompress it with gdcmconv --raw."
        )


def _find_declared(stored: NDArray, dataset: pydicom.Dataset) -> NDArray[np.bool_] | None:
    """Pixels that the header declares to be none, whichever sign it gives their value."""
    if dataset.get("PixelPaddingValue") is None:
        return None
    values = (
        np.array(dataset.PixelPaddingValue),
        np.array(dataset.get("PixelPaddingRangeLimit", dataset.PixelPaddingValue)),
    )
    low, high = sorted(value.astype(stored.dtype).item() for value in values)
    return (stored >= low) & (stored <= high)
