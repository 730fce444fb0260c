"""The one exception that a user is meant to read."""

from collections.abc import Iterable
from difflib import get_close_matches
from textwrap import shorten


class InputError(Exception):
    """Something that the user gave, or the machine lacks, stops the work.

    The message says what was expected, what was found, and what to do. The command line and
    `train.py` print it without a traceback and exit with code 1.
    """


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
    if unknown := [name for name in dict.fromkeys(given) if name not in known]:
        raise InputError(
            f"Unknown {what} {', '.join(unknown)}. Choose from: {', '.join(known)}."
            + suggest(unknown[0], known)
        )


def suggest(name: str, known: Iterable[str]) -> str:
    """A sentence with the known name that is nearest to another; empty where none is near."""
    by_lower = {each.lower(): each for each in known}
    near = get_close_matches(name.lower(), by_lower, n=1)
    return f" Did you mean {by_lower[near[0]]}?" if near else ""


def brief(error: Exception) -> str:
    """The kind and the first words of a library's error, for use in a message of ours."""
    return f"{type(error).__name__}: {shorten(str(error), 300, placeholder=' …')}"
