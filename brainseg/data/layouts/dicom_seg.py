"""DICOM segmentation objects (PS3.3, A.51): which of their frames belongs to which image."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from brainseg.data.layouts.dicom_file import (
    Header,
    open_dicom,
    read_numbers,
    read_stored,
    reading,
)
from brainseg.errors import InputError, check_known

NEAR = 0.1
"""Greatest distance of a frame from an image that lies at its position, mm."""

MOVED = 1.0
"""The same for an image that the frame names as its source."""

TURNED = 0.01
"""Greatest difference between directions (cosines) that are the same."""


@dataclass(frozen=True)
class Frame:
    """A frame of a segmentation object, without its pixels.

    `sources` are the UIDs of the images that it names, `own` whether it names them itself (rather
    than all frames together). `segment` is its number, `None` where the pixels hold numbers.
    """

    index: int
    segment: int | None
    sources: frozenset[str]
    own: bool
    place: NDArray[np.float64] | None
    directions: NDArray[np.float64] | None


@dataclass(frozen=True)
class Segmentation:
    """A segmentation object: its frames, its segments' names by number, the series it is of."""

    header: Header
    segments: dict[int, str]
    series: frozenset[str]
    frames: list[Frame]


def read_segmentation(header: Header) -> Segmentation:
    """Read what a segmentation object says of its frames.

    Raises:
        InputError: it is damaged.
    """
    with reading(header.path):
        dataset = open_dicom(header.path, stop_before_pixels=True)
        count = int(dataset.get("NumberOfFrames") or 1)
        shared = (*(dataset.get("SharedFunctionalGroupsSequence") or ()), pydicom.Dataset())[0]
        groups = list(dataset.get("PerFrameFunctionalGroupsSequence") or ())
        if len(groups) != count and (groups or count > 1):
            raise InputError(f"{header.path} has {count} frames, but describes {len(groups)}.")
        frames = [
            _read_frame(i, own, shared) for i, own in enumerate(groups or [pydicom.Dataset()])
        ]
        segments = {
            int(item.SegmentNumber): str(item.get("SegmentLabel") or item.SegmentNumber).strip()
            for item in dataset.get("SegmentSequence") or ()
        } or {1: "1"}
        if dataset.get("SegmentationType") != "LABELMAP":
            frames = [_number(header.path, frame, segments) for frame in frames]
        series = {
            str(item.get("SeriesInstanceUID") or "")
            for item in dataset.get("ReferencedSeriesSequence") or ()
        }
        return Segmentation(header, segments, frozenset(series), frames)


def choose_segments(
    found: Sequence[Segmentation], chosen: Sequence[str] | None
) -> dict[Path, set[int]]:
    """The numbers of the segments that are tumour, for each segmentation object.

    Args:
        found: all segmentation objects of a data set.
        chosen: names or numbers of segments; `None`: there is only one name.

    Raises:
        InputError: there are several names and none was chosen, or a chosen one is unknown.
    """
    names = {name for each in found for name in each.segments.values()}
    if chosen is None and len({name.lower() for name in names}) > 1:
        path = max(found, key=lambda each: len(each.segments)).header.path
        listed = ",".join(sorted(names))
        raise InputError(
            f"The segmentation objects have several segments, such as {path}: {listed}. Choose "
            f"those that are tumour with data.segments=[{listed}] or some of them, by name or "
            "number (--option segments=… for `brainseg`)."
        )
    known = [*sorted(names), *sorted({str(number) for each in found for number in each.segments})]
    wanted = {name.lower() for name in chosen or known}
    check_known(
        "segment", [n for n in chosen or () if n.lower() not in map(str.lower, known)], known
    )
    return {
        each.header.path: {
            number for number, name in each.segments.items() if {str(number), name.lower()} & wanted
        }
        for each in found
    }


def find_images(found: Segmentation, images: Sequence[Header]) -> dict[int, list[Header]]:
    """The images of each frame, by its index.

    A frame belongs to the images that it names; where it names none, to those of the same patient
    at its position, in the same frame of reference or, where that is not given, the same study.
    """
    named: dict[str, list[Header]] = defaultdict(list)  # a file may be there twice
    for image in images:
        named[image.uid].append(image)
    beside = [image for image in images if _may_share_space(found, image)]
    if any(image.series in found.series for image in beside):
        beside = [image for image in beside if image.series in found.series]
    placed = [image for image in beside if image.place is not None]
    places = np.array([image.place for image in placed]).reshape(-1, 3)
    matched: dict[int, list[Header]] = {}
    for frame in found.frames:
        if frame.sources:
            sources = [uid for uid in frame.sources if uid in named]
            candidates = [image for uid in sources for image in named[uid]]
            if len(sources) > 1:
                near = [image for image in candidates if _lies_at(frame, image, NEAR)]
                candidates = near or (candidates if frame.own and frame.place is None else [])
        elif frame.place is not None:
            rows = np.flatnonzero(np.abs(places - frame.place).max(axis=1, initial=0) <= NEAR)
            candidates = [placed[row] for row in rows if _lies_at(frame, placed[row], NEAR)]
        else:
            candidates = []
        matched[frame.index] = candidates
    return matched


def check_place(frame: Frame, image: Header, path: Path) -> None:
    """Check that a frame lies where the image lies that it names.

    Raises:
        InputError: it does not.
    """
    known = (frame.place is not None and image.place is not None) or frame.directions is not None
    if known and not _lies_at(frame, image, MOVED, missing=True):
        raise InputError(
            f"Frame {frame.index + 1} of {path} names {image.path} as its image, but lies "
            f"elsewhere or is turned: {_listed(frame.place)}, {_listed(frame.directions)} and "
            f"{_listed(image.place)}, {_listed(image.directions)}. Resample it onto the image."
        )


def read_mask_of_frame(
    found: Segmentation, frame: Frame, chosen: Iterable[int]
) -> NDArray[np.bool_]:
    """The pixels of a frame, H×W, that belong to one of the chosen segments.

    Raises:
        InputError: the file is damaged, or its pixels hold other numbers than its segments'.
    """
    path = found.header.path
    frames, least = _read_frames(path, path.stat().st_mtime_ns)
    pixels = frames[frame.index]
    if frame.segment is None:
        if unknown := set(np.unique(pixels).tolist()) - {0, *found.segments}:
            raise InputError(f"{path} holds the numbers {unknown}, but describes no such segments.")
        return np.isin(pixels, list(chosen))
    return pixels >= least if frame.segment in set(chosen) else np.zeros(pixels.shape, bool)


@lru_cache(maxsize=2)
def _read_frames(path: Path, changed: int) -> tuple[NDArray, float]:
    """All frames, F×H×W, and the least value that is inside; kept until the file has `changed`."""
    frames, dataset = read_stored(path)
    fractional = dataset.get("SegmentationType") == "FRACTIONAL"
    least = float(dataset.get("MaximumFractionalValue") or 255) / 2 if fractional else 1.0
    return frames, least


def _read_frame(index: int, own: pydicom.Dataset, shared: pydicom.Dataset) -> Frame:
    sources = _sources(own)
    segment = _first(own, shared, "SegmentIdentificationSequence").get("ReferencedSegmentNumber")
    return Frame(
        index,
        None if segment is None else int(segment),
        frozenset(sources or _sources(shared)),
        bool(sources),
        read_numbers(_first(own, shared, "PlanePositionSequence"), "ImagePositionPatient", 3),
        read_numbers(_first(own, shared, "PlaneOrientationSequence"), "ImageOrientationPatient", 6),
    )


def _number(path: Path, frame: Frame, segments: Mapping[int, str]) -> Frame:
    """The frame with its segment's number; it may leave it out where there is one segment."""
    number = next(iter(segments)) if frame.segment is None and len(segments) == 1 else frame.segment
    if number not in segments:
        raise InputError(
            f"Frame {frame.index + 1} of {path} is of segment {number}, which it does not describe."
        )
    return replace(frame, segment=number)


def _first(own: pydicom.Dataset, shared: pydicom.Dataset, name: str) -> Any:
    return (*(own.get(name) or ()), *(shared.get(name) or ()), pydicom.Dataset())[0]


def _sources(groups: pydicom.Dataset) -> set[str]:
    return {
        str(source.ReferencedSOPInstanceUID).strip()
        for derivation in groups.get("DerivationImageSequence") or ()
        for source in derivation.get("SourceImageSequence") or ()
    }


def _may_share_space(found: Segmentation, image: Header) -> bool:
    header = found.header
    if image.patient != header.patient:
        return False
    if image.frame_of_reference and header.frame_of_reference:
        return image.frame_of_reference == header.frame_of_reference
    return image.study == header.study


def _lies_at(frame: Frame, image: Header, within: float, missing: bool = False) -> bool:
    """Whether position and directions agree; `missing`: what is not given agrees."""
    if frame.place is None or image.place is None:
        if not missing:
            return False
    elif np.abs(frame.place - image.place).max() > within:
        return False
    if frame.directions is None or image.directions is None:
        return True
    return bool(np.abs(frame.directions - image.directions).max() <= TURNED)


def _listed(numbers: NDArray[np.float64] | None) -> str:
    return "unknown" if numbers is None else "\\".join(f"{number:g}" for number in numbers)
