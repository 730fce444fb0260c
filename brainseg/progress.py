"""A bar on standard error for what takes long."""

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
