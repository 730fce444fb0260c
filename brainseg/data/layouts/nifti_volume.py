"""One NIfTI volume, or an image with its label volume, from files that may be anything."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.openers import ImageOpener
from nibabel.orientations import apply_orientation, inv_ornt_aff
from numpy.typing import NDArray

from brainseg.data.intensity import to_grey
from brainseg.data.mask import check_extent, to_mask
from brainseg.errors import InputError, telling_damage

logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # what matters is checked here

LARGEST = 512 * 512 * 256
"""Voxels of the largest volume that is read; it takes about 3 GB of memory."""

GZIP = b"\x1f\x8b"
"""The first bytes of a compressed file (RFC 1952)."""

BYTE_ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")

DEFLATE = 1032
"""No compressed file grows by more than this factor (https://zlib.net/zlib_tech.html)."""

FARTHEST = 1e6
"""Numbers in an affine stay below this, mm."""

APART = 0.1
"""Greatest difference between the affines of an image and its label volume, mm."""


def read_volume(
    image: Path,
    label: Path,
    channel: int | None = None,
    labels: Sequence[float] | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Read an image and its label volume, N×M×K both, with axes to the right, front and top.

    Args:
        image: file of the image, scaled as in `brainseg.data.intensity.to_grey`.
        label: file of the labels, read as in `brainseg.data.mask.to_mask`.
        channel: of an image with four dimensions, from 0.
        labels: the values that are tumour.

    Raises:
        InputError: a file is unreadable, normalised, no mask, or the two do not match.
    """
    values, affine = load_volume(image, channel)
    marked, placed = load_volume(label)
    if values.shape != marked.shape:
        raise InputError(
            f"{image} has the shape {values.shape}, its label volume {label} {marked.shape}. "
            "Expected two volumes of the same three dimensions."
        )
    if not np.allclose(affine, placed, atol=APART):
        raise InputError(
            f"{image} and its label volume {label} differ in position: {affine.tolist()} and "
            f"{placed.tolist()}. Resample the labels onto the image."
        )
    mask = to_mask(marked, label, labels)
    pixels = to_grey(values, image)
    check_extent(mask, pixels, label)
    return pixels, mask


def load_volume(path: Path, channel: int | None = None) -> tuple[NDArray, NDArray]:
    """Values and affine of a volume, turned so that its axes point right, anterior and superior.

    Sizes that a header declares are checked before memory is taken for them.

    Raises:
        InputError: the file is damaged, holds no numbers, has no position, is no volume of three
            dimensions, or of four where `channel` chooses none.
    """
    with telling_damage(path, "a NIfTI volume"):
        header = read_header(path)
        _check_size(path, header)
        affine = _find_place(path, header)
        values = _take(path, header, channel)
        axes = nib.io_orientation(affine)
        return apply_orientation(values, axes), affine @ inv_ornt_aff(axes, values.shape)


def read_header(path: Path) -> Any:
    """The header alone: what extends it may hold anything, of any size.

    Raises:
        InputError: it is one of a pair of files. Whatever nibabel raises for a damaged one, too.
    """
    _check_ending(path)
    with ImageOpener(str(path)) as file:
        start = file.read(540)
    second = start[:4] in ((540).to_bytes(4, "little"), (540).to_bytes(4, "big"))
    kind: Any = nib.Nifti2Header if second else nib.Nifti1Header
    header = kind(start[: kind.template_dtype.itemsize], check=True)
    if header["magic"].item()[:2] not in (b"n+", b"n+2"):
        raise InputError(
            f"{path} is no single NIfTI file. Expected header and values in one; convert the pair "
            "of .hdr and .img."
        )
    return header


def _check_ending(path: Path) -> None:
    """Refuse a compressed file that is not called so, and the reverse: browsers unpack files."""
    with path.open("rb") as raw:
        start = raw.read(4)
    if path.name.lower().endswith(".gz"):
        sizes = (348, 540)
        plain = any(start == size.to_bytes(4, order) for size in sizes for order in BYTE_ORDERS)
        found, ending = ("not compressed", ".nii") if plain else ("", "")
    else:
        found, ending = ("compressed", ".nii.gz") if start.startswith(GZIP) else ("", "")
    if found:
        raise InputError(f"{path} is {found}. Rename it, so that its name ends with {ending}.")


def _check_size(path: Path, header: Any) -> None:
    """Compare what the header declares with the file and with what can be read."""
    kept = header.get_data_dtype()
    if kept.kind not in "iuf":
        raise InputError(
            f"{path} holds {'colours' if kept.kind == 'V' else kept}. Expected a grey volume, a "
            "number for each voxel."
        )
    shape = header.get_data_shape()
    count = int(np.prod([int(side) for side in shape], dtype=object)) if shape else 0
    largest = LARGEST * (shape[3] if len(shape) > 3 else 1)
    held, offset = path.stat().st_size, float(header["vox_offset"])
    if path.name.lower().endswith(".gz"):
        held *= DEFLATE
    declared = count * kept.itemsize + offset
    if min(shape, default=0) < 1 or not declared <= held:
        raise InputError(
            f"{path} declares {_listed(shape)} values ({declared:,.0f} bytes), which "
            "cannot be in it. It is damaged: replace the file or remove it."
        )
    if count > largest:
        raise InputError(
            f"{path} declares {_listed(shape)} values, more than {LARGEST:,} in a "
            "volume. Resample it, or cut it."
        )


def _find_place(path: Path, header: Any) -> NDArray[np.float64]:
    """The affine; the header's two positions must agree on left and right."""
    affine: NDArray[np.float64] = header.get_best_affine()
    usable = bool((np.abs(affine) < FARTHEST).all())  # nor NaN
    if not usable or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError(
            f"{path} has no usable position: its affine is {affine.tolist()}. Expected three "
            "directions that differ; correct the header."
        )
    both = header.get_qform(coded=True)[0], header.get_sform(coded=True)[0]
    axes = ["".join(map(str, nib.aff2axcodes(each))) for each in both if each is not None]
    if len(set(axes)) > 1:
        raise InputError(
            f"{path} has two positions that contradict each other: its axes point to {axes[0]} "
            f"(qform) and to {axes[1]} (sform). Correct the header."
        )
    return affine


def _take(path: Path, header: Any, channel: int | None) -> NDArray:
    """The numbers of a volume, or of one sequence of it; nothing else is loaded."""
    stored = ArrayProxy(str(path), header)
    shape = stored.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 4:
        if channel is None or not 0 <= channel < shape[3]:
            raise InputError(
                f"{path} holds {shape[3]} sequences. Choose one with channel=0 to {shape[3] - 1}; "
                f"found {channel}. (data.channel=… in training, --channel of `predict`, "
                "--option channel=… elsewhere. Label volumes must hold one.)"
            )
        return np.asanyarray(stored[(..., channel, *(0,) * (len(stored.shape) - 4))])
    if len(shape) != 3:
        raise InputError(
            f"{path} has {len(shape)} dimensions ({_listed(shape)}). Expected a volume of three, "
            "or several sequences of one."
        )
    if channel:
        raise InputError(f"{path} holds one sequence. Remove channel={channel}.")
    return np.asanyarray(stored).reshape(shape)


def _listed(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))
