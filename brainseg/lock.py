"""One process at a time on a folder, with the name of the one that is there."""

import errno
import json
import logging
import os
import shlex
import socket
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path

import psutil
from filelock import FileLock, SoftFileLock, Timeout

from brainseg.environment import typed_command
from brainseg.errors import InputError

NAME = ".lock"
"""The file in a folder that is locked. It stays there, but means nothing by itself: the system lets
go of the lock when its process ends, however that comes."""

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

logger = logging.getLogger(__name__)


@contextmanager
def locked(*folders: Path, wait_s: float = 0) -> Iterator[None]:
    """Keep other processes from working on some folders; makes those that are missing.

    The lock is `flock`'s. Between machines it holds where the file system carries it over: on
    NFS 4, and on NFS 3 where `lockd` runs and the mount has not the option `nolock`.

    Args:
        folders: in any order.
        wait_s: how long to wait for another process, seconds.

    Raises:
        InputError: another process is working on one of them, or its file system has no locks.
    """
    with ExitStack() as held:
        for folder in sorted(set(folders)):  # in one order, or two processes wait for one another
            held.enter_context(_locked(folder, wait_s))
        yield


@contextmanager
def _locked(folder: Path, wait_s: float) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / NAME
    lock = FileLock(file)
    try:
        _acquire(lock, folder, wait_s)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        raise without_locks(folder) from error
    try:
        if isinstance(lock, SoftFileLock):  # such a lock outlives a process that is killed
            raise without_locks(folder)
        with suppress(OSError):  # a full disk has no room for the note, but the lock holds
            file.write_text(json.dumps(_myself()))
        yield
    finally:
        with suppress(OSError):  # the folder may be gone
            file.write_text("")
        lock.release()


def _acquire(lock: FileLock, folder: Path, wait_s: float) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a file system without locks
            try:
                lock.acquire(timeout=0)
            except Timeout:
                if not wait_s:
                    raise
                logger.info("%s Waiting up to %.0f s.", _describe_holder(folder), wait_s)
                lock.acquire(timeout=wait_s)
    except Timeout as error:
        raise InputError(
            f"{_describe_holder(folder)} Wait until that has ended, or stop it, and repeat the "
            "command."
        ) from error


def _myself() -> dict[str, str | int]:
    program, *arguments = typed_command()
    return {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "command": shlex.join([_name(Path(program)), *arguments]),
        "since": datetime.now().astimezone().isoformat(timespec="minutes"),
    }


def _name(program: Path) -> str:
    """What was typed, also where that was `python -m brainseg`."""
    return program.parent.name if program.name == "__main__.py" else program.name


def is_abandoned(folder: Path) -> bool:
    """Whether the process that worked on a folder was killed on this machine.

    What a process of another machine does, nobody can tell from here.
    """
    try:
        holder = json.loads((folder / NAME).read_text())
        return holder["host"] == socket.gethostname() and not psutil.pid_exists(holder["process"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return False


def _describe_holder(folder: Path) -> str:
    try:
        holder = json.loads((folder / NAME).read_text())
        who = (
            f"process {holder['process']} on {holder['host']} ({holder['command']}) since "
            f"{datetime.fromisoformat(holder['since']):%H:%M}"
        )
    except (OSError, ValueError, KeyError, TypeError):  # it has just come, or is leaving
        who = "another process"
    return f"{folder} is being worked on by {who}."


def without_locks(folder: Path) -> InputError:
    """What to tell where a file system has no locks."""
    return InputError(
        f"The file system of {folder} has no locks, which keep two processes from one folder. "
        "Choose a folder on a local disk, or mount the drive with locks (NFS 4; NFS 3 without the "
        "option nolock)."
    )
