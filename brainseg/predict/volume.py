"""A NIfTI volume: read as slices, and written as a mask and a map that lie on it."""

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, io_orientation, ornt_transform
from numpy.typing import NDArray

from brainseg.data.intensity import to_grey
from brainseg.data.layouts.nifti import AXES, check_plane
from brainseg.data.layouts.nifti_volume import load_volume, read_header
from brainseg.errors import InputError, telling_damage
from brainseg.files import replacing
from brainseg.predict.image_file import OVERLAY, write_overlay_of
from brainseg.predict.settings import Settings
from brainseg.vocabulary import RESEARCH_ONLY

MASK, PROBABILITY = ".mask.nii.gz", ".probability.nii.gz"
VOLUMES = (MASK, PROBABILITY)
"""How the names of results end."""

MOST_LABELS = 10
"""A volume with as many different values, or fewer, is one of labels."""

MM = {"meter": 1e3, "mm": 1.0, "micron": 1e-3, "unknown": 1.0}
"""Unit of a header's positions → mm."""


@dataclass(frozen=True)
class Volume:
    """A volume as slices across one axis.

    Attributes:
        pixels: N×H×W, uint8, from the patient's left, back or feet on, each slice as a radiologist
            sees it: the patient's right is on the left.
        note: nothing is converted that should be told.
        axis: across which it was cut, in a volume whose axes point right, anterior and superior.
        header: of the file.
        axes: how the axes of the file lie to those, as nibabel's `io_orientation`.
    """

    pixels: NDArray[np.uint8]
    note: str | None
    axis: int
    header: Any
    axes: NDArray

    def write(
        self, masks: NDArray[np.bool_], probabilities: NDArray[np.float32], made: Path, stem: str
    ) -> dict[str, Any]:
        """Write both with the file's own shape and position; see `inputs.Subject`."""
        self._write(made / f"{stem}{MASK}", masks.astype(np.uint8))
        self._write(made / f"{stem}{PROBABILITY}", probabilities)
        write_overlay_of(made / f"{stem}{OVERLAY}", self.pixels, masks)
        return {
            "mask": f"{stem}{MASK}",
            "probability_map": f"{stem}{PROBABILITY}",
            "overlay": f"{stem}{OVERLAY}",
            "volume_ml": round(float(masks.sum() * self._voxel_ml()), 4),
        }

    def _write(self, path: Path, values: NDArray) -> None:
        header = self.header.copy()
        header.set_data_dtype(values.dtype)
        header.set_slope_inter(1, 0)
        header.set_intent("none")
        header["cal_min"], header["cal_max"] = 0, 1
        header["descrip"] = f"brainseg. {RESEARCH_ONLY}".encode()[:79]
        shape = _trim(self.header.get_data_shape())[:3]
        header.set_data_shape(shape)
        placed = to_file(values, self.axis, self.axes)
        kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
        image = kind(placed, header.get_best_affine(), header)
        with replacing(path) as temporary:
            temporary.write_bytes(gzip.compress(image.to_bytes(), 6, mtime=0))

    def _voxel_ml(self) -> float:
        unit = MM[self.header.get_xyzt_units()[0]]
        return abs(np.linalg.det(self.header.get_best_affine()[:3, :3])) * unit**3 / 1000


def read_volume_file(path: Path, settings: Settings) -> Volume:
    """Read a NIfTI volume, scaled as a whole.

    Raises:
        InputError: it is damaged, no volume, has no position, several sequences of which none was
            chosen, or looks like labels.
    """
    with telling_damage(path, "a NIfTI volume"):
        header = read_header(path)
    if not header["qform_code"] and not header["sform_code"]:
        raise InputError(
            f"{path} has no orientation (qform_code and sform_code are 0), so nothing tells left "
            "from right or top from bottom. Convert it again from the DICOM files, or set its "
            "affine, for example with nibabel or fslorient."
        )
    values, _ = load_volume(path, settings.channel)
    check_plane(path, values.shape, settings.plane)
    found = np.unique(values)
    if len(found) == 1:
        raise InputError(f"{path} holds one value everywhere. Expected an MRI volume.")
    if len(found) <= MOST_LABELS:
        raise InputError(
            f"{path} has {len(found)} different values, as labels or a mask do. Expected an MRI "
            "volume."
        )
    axis = AXES[settings.plane]
    grey = np.moveaxis(to_grey(values, path), axis, 0)
    axes = io_orientation(header.get_best_affine())
    return Volume(to_view(grey), None, axis, header, axes)


def to_view(slices: NDArray) -> NDArray:
    """Slices N×A×B of a volume with axes to the right, front and top as N×H×W pictures, and back.

    The radiological convention: the patient's right is on the left.
    """
    return np.ascontiguousarray(slices[:, ::-1, ::-1].swapaxes(1, 2))


def from_view(pictures: NDArray) -> NDArray:
    """What `to_view` was given."""
    return pictures.swapaxes(1, 2)[:, ::-1, ::-1]


def to_file(pictures: NDArray, axis: int, axes: NDArray) -> NDArray:
    """Pictures N×H×W as the volume with the axes of the file.

    Args:
        pictures: one for each slice across `axis`.
        axis: in a volume whose axes point right, anterior and superior.
        axes: how the file's axes lie to those, as nibabel's `io_orientation`.
    """
    turned = np.moveaxis(from_view(pictures), 0, axis)
    right_front_top = np.array([[0, 1], [1, 1], [2, 1]])
    return apply_orientation(turned, ornt_transform(right_front_top, axes))


def _trim(shape: tuple[int, ...]) -> tuple[int, ...]:
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape
