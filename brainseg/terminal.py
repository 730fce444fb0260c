"""What people see of long work: a bar on standard error, and tables that are wide enough."""

from collections.abc import Iterable, Sized
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
