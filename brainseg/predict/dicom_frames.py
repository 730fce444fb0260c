"""The frames of a DICOM series in their order in space, whatever their files are called."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from brainseg.data.layouts.dicom_file import (
    ignoring_odd_values,
    read_numbers,
    read_stored,
    to_slice,
)
from brainseg.errors import InputError

GROUPS = "PerFrameFunctionalGroupsSequence"

DIRECTIONS = "ImageOrientationPatient"

SAME_PLACE = 0.01
"""Slices nearer than this lie at one place, mm."""

SAME_DIRECTION = 0.01
"""Greatest difference between the direction cosines of parallel slices."""

GAP = 1.5
"""A slice is missing where two neighbours are farther apart than this times the usual distance."""


@dataclass(frozen=True)
class Frame:
    """One slice of a series.

    Attributes:
        dataset: header of its file.
        index: of the frame in its file, from 0.
        place: position of the first pixel, mm.
        directions: of the rows and of the columns, 6 numbers.
        spacing: between rows and between columns, mm.
        slope: RescaleSlope, or `None`.
    """

    dataset: Dataset
    index: int
    place: NDArray[np.float64]
    directions: NDArray[np.float64]
    spacing: NDArray[np.float64]
    slope: Any

    @property
    def depth(self) -> float:
        """Where it lies along the normal of its plane, mm."""
        return float(self.place @ np.cross(*self.directions.reshape(2, 3)))


@ignoring_odd_values()
def sort_frames(datasets: Sequence[Dataset], name: str) -> list[Frame]:
    """The frames of one series, sorted by their position along the normal of the slices.

    Args:
        datasets: headers of its files, each of one frame or, enhanced, of many.
        name: of the series, for messages.

    Raises:
        InputError: a frame says not where it lies; they are not parallel, not of one size, lie at
            one place, or some are missing.
    """
    if len(datasets) > 1 and any(map(is_enhanced, datasets)):
        raise InputError(
            f"{name} has {len(datasets)} files of several frames. Expected one such file, or files "
            "of one slice each."
        )
    frames = [frame for dataset in datasets for frame in _frames_of(dataset, name)]
    sizes = Counter((int(each.Rows), int(each.Columns)) for each in datasets)
    if len(sizes) > 1:
        listed = (f"{count} of {width} × {height}" for (height, width), count in sizes.items())
        found = ", ".join(listed)
        raise InputError(f"{name} has slices of several sizes: {found} pixels. Expected one size.")
    first = frames[0]
    if not are_parallel([frame.directions for frame in frames]):
        raise InputError(f"{name} has slices in several directions. Expected parallel slices.")
    for frame in frames:
        if not np.allclose(frame.spacing, first.spacing, rtol=SAME_DIRECTION):
            raise InputError(f"{name} has slices of several pixel spacings. Expected one.")
    frames.sort(key=lambda frame: frame.depth)
    _check_gaps(frames, name)
    return frames


def read_pixels(frames: Sequence[Frame], name: str) -> NDArray[np.uint8]:
    """The grey levels of frames, N×H×W; each is scaled by its own values.

    Args:
        frames: of a series.
        name: of the series, for messages.

    Raises:
        InputError: a file cannot be used, or the series looks like a mask.
    """
    read = lru_cache(maxsize=1)(read_stored)  # an enhanced file holds many frames
    pixels = []
    for frame in frames:
        file = Path(str(frame.dataset.filename))
        pixels.append(to_slice(read(file)[0][frame.index], frame.dataset, file, frame.slope))
    volume = np.stack(pixels)
    if len(np.unique(volume)) == 2:
        raise InputError(f"{name} has two values, as a mask does. Expected MR images.")
    return volume


def measure_volume(frames: Sequence[Frame], masks: NDArray[np.bool_]) -> dict[str, float]:
    """The tumour's volume, `volume_ml`; nothing where the distance of the slices is unknown."""
    spacing = slice_spacing(frames)
    if spacing is None:
        return {}
    voxel_ml = float(np.prod(frames[0].spacing)) * spacing / 1000
    return {"volume_ml": round(float(masks.sum()) * voxel_ml, 4)}


def are_parallel(directions: Sequence[NDArray[np.float64] | None]) -> bool:
    """Whether all slices that say so lie in the same directions (6 numbers each)."""
    known = [each for each in directions if each is not None]
    return all(np.allclose(each, known[0], atol=SAME_DIRECTION) for each in known)


def slice_spacing(frames: Sequence[Frame]) -> float | None:
    """Distance between neighbouring slices, mm; `None` of a single one that does not say."""
    if len(frames) > 1:
        return float(np.median(np.diff([frame.depth for frame in frames])))
    dataset = frames[0].dataset
    found = dataset.get("SpacingBetweenSlices") or dataset.get("SliceThickness")
    return float(found) if found else None


def is_enhanced(dataset: Dataset) -> bool:
    """Whether a file says of each frame where it lies."""
    return GROUPS in dataset


def _frames_of(dataset: Dataset, name: str) -> list[Frame]:
    count = int(dataset.get("NumberOfFrames") or 1)
    groups = dataset.get(GROUPS) or []
    if len(groups) != count and (count > 1 or is_enhanced(dataset)):
        raise InputError(
            f"{name} has {count} frames in a file that says of {len(groups)} where they lie. "
            "Fetch the series again."
        )
    if not is_enhanced(dataset):
        return [_frame(dataset, 0, [dataset, dataset], dataset, dataset, name)]
    shared = dataset.get("SharedFunctionalGroupsSequence") or [Dataset()]
    frames = []
    for index, own in enumerate(groups):
        place, directions, measures, values = (
            _group(key, own, shared[0])
            for key in (
                "PlanePositionSequence",
                "PlaneOrientationSequence",
                "PixelMeasuresSequence",
                "PixelValueTransformationSequence",
            )
        )
        frames.append(_frame(dataset, index, [place, directions], measures, values, name))
    return frames


def _group(name: str, *groups: Dataset) -> Dataset:
    """The item of a functional group: of the frame, or shared."""
    return next((group[name].value[0] for group in groups if group.get(name)), Dataset())


def _frame(
    dataset: Dataset,
    index: int,
    geometry: Sequence[Dataset],
    measures: Dataset,
    values: Dataset,
    name: str,
) -> Frame:
    place = read_numbers(geometry[0], "ImagePositionPatient", 3)
    directions = read_numbers(geometry[1], DIRECTIONS, 6)
    spacing = read_numbers(measures, "PixelSpacing", 2)
    if place is None or directions is None or spacing is None or not (spacing > 0).all():
        raise InputError(
            f"{name}: a slice does not say where it lies (ImagePositionPatient, "
            "ImageOrientationPatient, PixelSpacing). Fetch the series again, or convert its "
            "slices to pictures."
        )
    return Frame(dataset, index, place, directions, spacing, values.get("RescaleSlope"))


def _check_gaps(frames: Sequence[Frame], name: str) -> None:
    """Refuse slices at one place, and gaps between them."""
    if len(frames) < 2:
        return
    steps = np.diff([frame.depth for frame in frames])
    if twice := int((steps < SAME_PLACE).sum()):
        raise InputError(
            f"{name} has {twice + 1} slices at places that others have too, as several echoes or "
            "times do. Expected one slice at each place: split the series."
        )
    usual = float(np.median(steps))
    gaps = steps > GAP * usual
    if gaps.any():
        missing = int(np.rint(steps[gaps] / usual - 1).sum())
        raise InputError(
            f"{name} lacks slices, about {missing}: {len(frames)} are there, {usual:.1f} mm apart, "
            f"with a gap of {steps.max():.1f} mm. Fetch the series again."
        )
