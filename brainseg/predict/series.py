"""A DICOM series: read as slices, and written as a DICOM-SEG that refers to its images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainseg.predict.algorithm import Algorithm
from brainseg.predict.dicom_frames import Frame, measure_volume, read_pixels, sort_frames
from brainseg.predict.dicom_study import FoundSeries
from brainseg.predict.image_file import OVERLAY, write_overlay_of
from brainseg.predict.inputs import SEG

CAPTURE = ".capture-{:04d}.dcm"
"""How the names of secondary captures end."""


@dataclass(frozen=True)
class Series:
    """A series as slices in their order in space.

    Attributes:
        pixels: N×H×W, uint8, as they are stored; each scaled by its own values.
        note: nothing is converted that should be told.
        frames: in the same order.
        algorithm: that segments it.
        captures: whether overlays are written as DICOM, too.
    """

    pixels: NDArray[np.uint8]
    note: str | None
    frames: list[Frame]
    algorithm: Algorithm
    captures: bool

    def write(
        self, masks: NDArray[np.bool_], probabilities: NDArray[np.float32], made: Path, stem: str
    ) -> dict[str, Any]:
        """Write a DICOM-SEG and, where asked for, overlays; see `inputs.Subject`."""
        from brainseg.predict.dicom_seg import write_captures, write_segmentation  # takes time

        write_segmentation(made / f"{stem}{SEG}", self.frames, masks, self.algorithm)
        write_overlay_of(made / f"{stem}{OVERLAY}", self.pixels, masks)
        found = {"mask": f"{stem}{SEG}", "overlay": f"{stem}{OVERLAY}"}
        if self.captures:
            paths = [made / f"{stem}{CAPTURE.format(n)}" for n in range(1, len(masks) + 1)]
            write_captures(paths, self.frames, self.pixels, masks, self.algorithm)
        return found | measure_volume(self.frames, masks)


def read_series(found: FoundSeries, algorithm: Algorithm, captures: bool) -> Series:
    """Read the slices of a series.

    Raises:
        InputError: they are no volume, a file cannot be used, or it looks like a mask.
    """
    frames = sort_frames(found.datasets, found.name)
    return Series(read_pixels(frames, found.name), None, frames, algorithm, captures)
