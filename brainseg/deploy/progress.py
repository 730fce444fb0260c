"""A bar on standard error for what takes long."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")


def bar(items: Sequence[Item], text: str, shown: bool = True) -> Iterable[Item]:
    """Iterate over `items` beside a bar that says `text` and vanishes at the end.

    Args:
        items: what is worked on.
        text: what is done.
        shown: `False` for no bar; there is none either where standard error is no terminal.
    """
    console = Console(stderr=True)
    hidden = not (shown and console.is_terminal)
    return track(items, text, console=console, transient=True, disable=hidden)
