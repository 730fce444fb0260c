"""The lock of `brainseg.lock` with nothing but Python, for `predict.py` of a package."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from brainseg.errors import InputError
from brainseg.lock import NAME, NO_LOCKS, without_locks


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes from a folder, `brainseg` too; makes it where it is missing.

    Raises:
        InputError: another process is working on it, or its file system has no locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / NAME).open("a") as file:
        try:
            _lock(file.fileno())
        except OSError as error:
            if error.errno in NO_LOCKS:
                raise without_locks(folder) from error
            raise InputError(
                f"{folder} is being worked on by another process. Wait until that has ended, or "
                "choose another folder."
            ) from error
        os.ftruncate(file.fileno(), 0)  # what an earlier process that was killed said of itself
        yield


def _lock(handle: int) -> None:
    """Take a lock that the system lets go of when the process ends, however that comes."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(handle, 0, os.SEEK_SET)  # the byte that `filelock` locks
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
