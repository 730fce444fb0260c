"""NumPy archives of strangers: nothing in them is run, and sizes are checked before allocation."""

import math
import zipfile
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

LARGEST_RATIO = 1040
"""Deflate, which compresses archives, makes no file smaller than this part of it."""


def read_npz(file: Path) -> dict[str, NDArray]:
    """The arrays of an `.npz` by name; objects, which only a pickle could hold, are refused.

    Raises:
        ValueError: it is no archive of arrays, a part of it is damaged, or it declares more than
            lies in the file or fits into the memory.
        OSError: it cannot be opened.
    """
    with file.open("rb") as opened:
        try:
            with zipfile.ZipFile(opened) as archive:
                _check_sizes(archive, file.stat().st_size)
            with np.load(file, allow_pickle=False) as arrays:
                return dict(arrays)
        except MemoryError:
            raise ValueError("its arrays do not fit into the memory") from None
        except Exception as error:  # reading arbitrary bytes raises whatever it meets
            raise ValueError(f"no NumPy archive: {error}") from error


def check_room(declared: int, what: str) -> None:
    """Refuse what a file declares, before it is allocated, where the machine has no room for it.

    Args:
        declared: bytes.
        what: is so large, for people.

    Raises:
        ValueError: there is no room.
    """
    free = psutil.virtual_memory().available
    if declared > free:
        sizes = f"{declared / 2**30:.1f} GiB, {free / 2**30:.1f} GiB of memory are free"
        raise ValueError(f"{what} declares {sizes}")


def _check_sizes(archive: zipfile.ZipFile, size: int) -> None:
    """Compare what the headers of the arrays declare with what lies in the file."""
    for member in archive.infolist():
        with archive.open(member) as stored:
            declared = _declared_bytes(stored)
        if declared > member.file_size or member.file_size > size * LARGEST_RATIO:
            raise ValueError(f"{member.filename} declares {declared} bytes, more than are there")
    check_room(sum(member.file_size for member in archive.infolist()), "it")


def _declared_bytes(stored: object) -> int:
    """How large the header of an `.npy` says that the array is."""
    version = np.lib.format.read_magic(stored)  # type: ignore[arg-type]
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, _, dtype = read(stored)  # type: ignore[arg-type]
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which could run code")
    return math.prod(shape) * dtype.itemsize
