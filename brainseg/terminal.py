"""What people see of long work, and what they are spared: bars, wide tables, quiet libraries."""

import logging
import warnings
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")


def bar(
    items: Iterable[Item], text: str, shown: bool = True, total: int | None = None
) -> Iterable[Item]:
    """Iterate over `items` beside a bar that says `text` and vanishes at the end.

    Args:
        items: what is worked on.
        text: what is done.
        shown: `False` for no bar; there is none either where standard error is no terminal.
        total: the number of items, where they are not counted already.
    """
    console = Console(stderr=True)
    hidden = not (shown and console.is_terminal)
    total = len(items) if total is None and isinstance(items, Sized) else total
    return track(items, text, total=total, console=console, transient=True, disable=hidden)


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
