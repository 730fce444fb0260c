"""Masks of a DICOM series as DICOM objects, written with highdicom."""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydicom import Dataset
from pydicom.config import RAISE
from pydicom.sr.codedict import codes
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import validate_value

from brainseg import __version__
from brainseg.errors import InputError
from brainseg.files import replacing
from brainseg.outline import PREDICTION, overlay
from brainseg.predict.algorithm import Algorithm
from brainseg.predict.dicom_frames import Frame, is_enhanced, slice_spacing
from brainseg.terminal import quiet
from brainseg.vocabulary import RESEARCH_ONLY

SEG_SERIES, CAPTURE_SERIES = 9100, 9101
"""Numbers of the new series, behind those that a scanner makes."""

COPIED = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber"),
    *("StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)
"""What an image must have, empty or not, and files from elsewhere may lack."""


def write_segmentation(
    path: Path, frames: Sequence[Frame], masks: NDArray[np.bool_], algorithm: Algorithm
) -> None:
    """Write a DICOM-SEG (PS3.3 A.51): binary, one segment, with references to its images.

    Its UIDs come from the images, the network and the settings: the same segmentation, made again,
    is the same object to an archive.

    Args:
        path: file to write.
        frames: of the series, in the order of `masks`.
        masks: N×H×W.
        algorithm: that made them.
    """
    sources, order = _sources(frames)
    tumor = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="Tumour",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Tumor,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name="brainseg",
            family=codes.DCM.ArtificialIntelligence,
            version=algorithm.version,
            parameters={"network": algorithm.network, **algorithm.settings},
        ),
        anatomic_regions=[codes.SCT.Brain],
        display_color=hd.color.CIELabColor.from_rgb(*PREDICTION),
    )
    series, instance = _uids(frames, algorithm, "segmentation")
    with quiet():
        written = hd.seg.Segmentation(
            source_images=sources,
            pixel_array=masks[order].astype(np.uint8),
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[tumor],
            series_instance_uid=series,
            series_number=SEG_SERIES,
            sop_instance_uid=instance,
            instance_number=1,
            content_label="TUMOUR",
            content_description=RESEARCH_ONLY,
            series_description=f"Tumour by brainseg. {RESEARCH_ONLY}"[:64],
            **_equipment(),
        )
    written.BodyPartExamined = "BRAIN"
    _save(written, path)


def write_captures(
    paths: Sequence[Path],
    frames: Sequence[Frame],
    pixels: NDArray[np.uint8],
    masks: NDArray[np.bool_],
    algorithm: Algorithm,
) -> None:
    """Write each slice with the outline of its mask as a secondary capture in colour.

    Args:
        paths: a file for each slice.
        frames: of the series, in the order of the arrays.
        pixels: N×H×W, uint8.
        masks: N×H×W.
        algorithm: that made them.
    """
    series, _ = _uids(frames, algorithm, "captures")
    slices = zip(paths, frames, pixels, masks, strict=True)
    for number, (path, frame, image, mask) in enumerate(slices, 1):
        with quiet():
            capture = hd.sc.SCImage.from_ref_dataset(
                ref_dataset=_complete(frame.dataset),
                pixel_array=_stamp(overlay(image, mask)),
                photometric_interpretation=hd.PhotometricInterpretationValues.RGB,
                bits_allocated=8,
                coordinate_system=hd.CoordinateSystemNames.PATIENT,
                patient_orientation=("L", "P"),
                series_instance_uid=series,
                series_number=CAPTURE_SERIES,
                sop_instance_uid=generate_uid(entropy_srcs=[series, str(number)]),
                instance_number=number,
                pixel_spacing=tuple(frame.spacing),
                transfer_syntax_uid=ExplicitVRLittleEndian,
                manufacturer="brainseg",
            )
        capture["PatientOrientation"].value = ""  # it lies as the image does
        capture.SeriesDescription = f"Tumour overlay by brainseg. {RESEARCH_ONLY}"[:64]
        capture.BodyPartExamined = "BRAIN"
        capture.BurnedInAnnotation = "NO"  # nothing of the patient
        _save(capture, path)


def _stamp(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture, H×W×3, with the disclaimer along its lower edge."""
    image = Image.fromarray(picture)
    lines = RESEARCH_ONLY.replace(". ", ".\n")
    ImageDraw.Draw(image).text((2, image.height - 26), lines, fill=(255, 255, 255))
    return np.asarray(image)


def _sources(frames: Sequence[Frame]) -> tuple[list[Dataset], NDArray[np.intp]]:
    """The images, and the order of the masks that highdicom expects for them."""
    first = frames[0].dataset
    if not is_enhanced(first):
        thickness = slice_spacing(frames)
        return [_complete(frame.dataset, thickness) for frame in frames], np.arange(len(frames))
    return [_complete(first)], np.argsort([frame.index for frame in frames])


def _complete(dataset: Dataset, thickness: float | None = None) -> Dataset:
    """A copy with what an image must have, empty where it lacks that or has something else.

    Raises:
        InputError: nothing says how thick its slices are.
    """
    copy = deepcopy(dataset)
    for name in COPIED:
        if name not in copy or not _is_valid(copy, name):
            setattr(copy, name, None)
    if not (is_enhanced(copy) or copy.get("SliceThickness")):
        if thickness is None:
            raise InputError(
                f"{copy.filename} does not say how thick its slice is (SliceThickness), which a "
                "DICOM-SEG has to say. Fetch the whole series."
            )
        copy.SliceThickness = round(thickness, 6)
    return copy


def _is_valid(dataset: Dataset, name: str) -> bool:
    """Whether an element has a value of its kind, such as a date."""
    try:
        element = dataset[name]
        validate_value(element.VR, element.value, RAISE)
    except (ValueError, TypeError):
        return False
    return True


def _uids(frames: Sequence[Frame], algorithm: Algorithm, what: str) -> tuple[UID, UID]:
    """UIDs of a new series and its first object."""
    images = [str(frame.dataset.SOPInstanceUID) for frame in frames]
    settings = [f"{key}={value}" for key, value in sorted(algorithm.settings.items())]
    words = [what, algorithm.version, algorithm.network, *settings, *images]
    series = generate_uid(entropy_srcs=words)
    return series, generate_uid(entropy_srcs=[series])


def _equipment() -> dict[str, Any]:
    return {
        "manufacturer": "brainseg",
        "manufacturer_model_name": "brainseg",
        "software_versions": __version__,
        "device_serial_number": "none",
    }


def _save(dataset: Dataset, path: Path) -> None:
    with replacing(path) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)
