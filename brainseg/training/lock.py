"""One process at a time on a run."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from brainseg.errors import InputError
from brainseg.run import Run


@contextmanager
def locked(run: Run) -> Iterator[None]:
    """Keep other processes from working on a run; makes its folder.

    Its file `lock` stays there, but means nothing by itself: the system lets go of the lock when
    its process ends, however that comes.

    Raises:
        InputError: another process is working on the run.
    """
    if int(os.environ.get("LOCAL_RANK", 0)):  # Lightning's, beside the process with the lock
        yield
        return
    run.path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run.lock, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise InputError(
            f"{run.path} is being worked on by another process. Wait until that has ended, or stop "
            "it, and repeat the command."
        ) from error
    try:
        yield
    finally:
        lock.release()
