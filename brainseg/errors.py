"""The one exception that a user is meant to read, and what is told of other errors."""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from textwrap import shorten


class InputError(Exception):
    """Something that the user gave, or the machine lacks, stops the work.

    The message says what was expected, what was found, and what to do. The command line and
    `train.py` print it without a traceback and exit with code 1.
    """


ADVICE = {
    errno.ENOSPC: "Free some space and repeat the command; everything finished so far is kept",
    errno.EDQUOT: "Free some space and repeat the command; everything finished so far is kept",
    errno.EACCES: "Change its permissions, or choose another folder",
    errno.EPERM: "Change its permissions, or choose another folder",
    errno.EROFS: "Choose a folder on a disk that can be written to",
    errno.ENAMETOOLONG: "Choose shorter names: 255 bytes each, and 4095 for the whole path",
    errno.ENOTDIR: "A part of this path is a file; expected folders",
    errno.EISDIR: "It is a folder; expected a file",
    errno.EEXIST: "Something with this name exists and is not a folder; choose another name",
    errno.ENOENT: "Check the name; a file that was there a moment ago was removed meanwhile",
    errno.ELOOP: "It is a link that leads to itself; remove or correct it",
    errno.EIO: "The disk or the network drive fails; try again, or choose another folder",
    errno.ESTALE: "The network drive has lost it; try again",
    errno.EMFILE: "Allow more open files with `ulimit -n 4096`",
}
"""The system's error of a file → what to do."""


def explain(error: BaseException) -> str | None:
    """What to tell a user of an error that is none of the program's; `None` of any other.

    That is an `InputError`, and what the system says of a file or folder.
    """
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError) and error.errno in ADVICE:
        path = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        reason = os.strerror(error.errno)
        reason = reason if path else reason[0].upper() + reason[1:]
        return f"{path and shorten_path(path)}{reason}. {ADVICE[error.errno]}."
    return None


def shorten_path(path: str) -> str:
    """The beginning and the end of a path that would fill a screen."""
    return path if len(path) <= 200 else f"{path[:100]}…{path[-80:]}"


class DamagedFile(InputError):  # noqa: N818 (a state of a file, which a report passes over)
    """A file is not what was once written: empty, cut off, changed, or of another shape."""

    def __init__(self, file: Path, found: object, remedy: str) -> None:
        """Name the file, what was found in it, and what makes it again: a sentence."""
        super().__init__(f"{file} is damaged: {str(found).rstrip('. ')}. {remedy}")
        self.file = file


def check_known(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse a name that is not among the known ones.

    Args:
        what: the names are of, such as `mode`.
        given: names to check.
        known: names that there are.

    Raises:
        InputError: it lists those that there are, and the nearest.
    """
    known = list(known)
    # Configurations hold whatever was typed, lists too.
    if unknown := [str(name) for name in given if name not in known]:
        unknown = list(dict.fromkeys(unknown))
        raise InputError(
            f"Unknown {what} {', '.join(unknown)}. Choose from: {', '.join(known)}."
            + suggest(unknown[0], known)
        )


def suggest(name: str, known: Iterable[str]) -> str:
    """A sentence with the known name that is nearest to another; empty where none is near."""
    by_lower = {each.lower(): each for each in known}
    near = get_close_matches(name.lower(), by_lower, n=1)
    return f" Did you mean {by_lower[near[0]]}?" if near else ""


def brief(error: BaseException) -> str:
    """The kind and the first words of a library's error, for use in a message of ours."""
    words = shorten(str(error), 300, placeholder=" …")
    return f"{type(error).__name__}{words and f': {words}'}"


def in_words(error: BaseException) -> str:
    """What to say of any error; never nothing, as `str` of a bare `MemoryError` is."""
    return explain(error) or brief(error)


@contextmanager
def telling_damage(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a library raises for a damaged or made-up file into an error that names it.

    Args:
        path: the file.
        kind: what it should be, such as `a NIfTI volume`.

    Raises:
        InputError: the block raised something; one of ours stays as it is.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{path} cannot be read as {kind} ({brief(error)}). Replace the file or remove it."
        ) from error
