"""The fields of figshare's MATLAB v7.3 files."""

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from brainseg.data.picture import MOST_PIXELS
from brainseg.errors import InputError
from brainseg.files import check_file

SUFFIX = ".mat"

STRUCTURE = "cjdata"

UNREADABLE = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, MemoryError)
"""What h5py raises for damaged files."""


def is_mat(path: Path) -> bool:
    """Whether a file name is that of a MATLAB file."""
    return path.suffix.lower() == SUFFIX


def read_plane(path: Path, name: str) -> NDArray:
    """Read a field of the structure `cjdata` that is an image, H×W, of numbers.

    Raises:
        InputError: as `read_field`, or it is something else.
    """
    values = read_field(path, STRUCTURE, name)
    if values.ndim != 2 or not values.size or values.dtype.kind not in "biuf":
        raise InputError(
            f"{path} has the field {STRUCTURE}.{name} of shape {values.shape} and type "
            f"{values.dtype}. Expected H×W numbers; download the file again."
        )
    return values.T  # MATLAB stores columns first


def read_field(path: Path, *names: str) -> NDArray:
    """Read a variable, or a field of a structure: `cjdata`, `label`.

    Raises:
        InputError: the file is missing, damaged, of another version or structure, or points to
            other files; or the field is missing, or larger than an image is.
    """
    check_file(path)
    try:
        with h5py.File(path, "r") as file:
            place = file
            for name in names:
                link = place.get(name, getlink=True)
                if link is None:
                    raise InputError(
                        f"{path} has no `{'.'.join(names)}`. Expected figshare 1512427's files; "
                        "download it again."
                    )
                if not isinstance(link, h5py.HardLink):
                    raise _elsewhere(path, name)
                place = place[name]
            return _read(path, place)
    except UNREADABLE as error:
        raise InputError(
            f"{path} cannot be read as a MATLAB v7.3 file ({_reason(path, error)}). Expected "
            "figshare 1512427's files; download it again."
        ) from error


def _read(path: Path, field: h5py.Dataset) -> NDArray:
    if not isinstance(field, h5py.Dataset):
        raise TypeError(f"{field.name} is no array")
    if field.is_virtual or field.external:
        raise _elsewhere(path, field.name)
    is_text = h5py.check_string_dtype(field.dtype) is not None
    if field.dtype.hasobject and not is_text:
        raise TypeError(f"{field.name} holds {field.dtype}")
    if field.size and not field.id.get_storage_size():
        raise ValueError(f"{field.name} is declared but not there")
    if field.size is None or field.size > MOST_PIXELS:
        raise ValueError(f"{field.name} declares the shape {field.shape}")
    return np.asarray(field.asstr()[()] if is_text else field[()])


def _elsewhere(path: Path, name: str) -> InputError:
    return InputError(
        f"{path} keeps {name} in another place, which could be any file. Expected the values in "
        "the file itself; download it again."
    )


def _reason(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        if file.read(10) == b"MATLAB 5.0":
            return "it is of version 5: save it with -v7.3"
    return " ".join(str(error).split())
