"""What people see of long work, and what they are spared: bars, wide tables, quiet libraries."""

import logging
import os
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from textwrap import indent
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")

SPENT: defaultdict[str, float] = defaultdict(float)
"""Seconds that this process has spent on each part of its work, see `spent`."""

_labelled = False


def bar(
    items: Iterable[Item], text: str, shown: bool = True, total: int | None = None
) -> Iterable[Item]:
    """Iterate over `items` beside a bar that says `text` and vanishes at the end.

    Args:
        items: what is worked on.
        text: what is done.
        shown: `False` for no bar; there is none either where `has_bars` says so.
        total: the number of items, where they are not counted already.
    """
    console = Console(stderr=True)
    hidden = not (shown and has_bars())
    total = len(items) if total is None and isinstance(items, Sized) else total
    return track(items, text, total=total, console=console, transient=True, disable=hidden)


def has_bars() -> bool:
    """Whether bars are drawn: standard error is a terminal, and this process has it to itself."""
    return Console(stderr=True).is_terminal and not _labelled


class _Labelled(logging.Formatter):
    """Begins each line with a label."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self.label = label

    def format(self, record: logging.LogRecord) -> str:
        """The message, without the empty lines around it."""
        return indent(super().format(record).strip("\n"), f"{self.label}  ")


def share_terminal(label: str) -> None:
    """From now on other processes write beside this one: begin each line of its log with `label`.

    Bars, which overwrite one another, are no longer drawn.
    """
    global _labelled
    _labelled = True
    for handler in logging.root.handlers:
        handler.setFormatter(_Labelled(label))


@contextmanager
def spent(part: str) -> Iterator[None]:
    """Add the seconds that the block takes to a part of `SPENT`."""
    started = time.perf_counter()
    try:
        yield
    finally:
        SPENT[part] += time.perf_counter() - started


def widen(console: Console) -> Console:
    """A console for tables: the given one, or into a file or pipe one of at least 100 columns.

    Rich takes 80 columns there, which breaks numbers.
    """
    if console.is_terminal:
        return console
    return Console(file=console.file, width=max(console.width, 100))


@contextmanager
def quiet() -> Iterator[None]:
    """Silence libraries that warn of what no user can act on, while the block runs.

    Python warnings, and log records up to WARNING.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextmanager
def silenced() -> Iterator[None]:
    """Keep libraries from writing to standard error, whatever their log level, meanwhile."""
    sys.stderr.flush()
    before = os.dup(2)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 (a file descriptor is what it takes)
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(before, 2)
        os.close(before)
