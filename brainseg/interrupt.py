"""Ctrl-C and SIGTERM: one way to stop, which no library can swallow."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)

GOING_ON = "Interrupted. What is finished is kept: the same command goes on from there"
"""The first words of what is told; a full stop or more is added."""

_received: int | None = None


def listen() -> None:
    """From now on each of `SIGNALS` raises `KeyboardInterrupt` in the main thread, and is noted.

    Libraries turn that exception into others of their own; the note stays. Lightning takes the
    signal's handler away: call it again.
    """
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, _stop)


def _stop(number: int, frame: Any) -> None:
    global _received
    _received = _received or number
    raise KeyboardInterrupt


def is_stopping() -> bool:
    """Whether one of the signals has come."""
    return _received is not None


def settle() -> None:
    """Go on stopping, whatever a library has made of the exception.

    Raises:
        KeyboardInterrupt: one of the signals has come.
    """
    if is_stopping():
        listen()
        raise KeyboardInterrupt


def exit_code() -> int:
    """That of a process that one of the signals has ended: 130 or 143."""
    return 128 + (_received or signal.SIGINT)


def forget() -> None:
    """Begin anew, in a process that did not end."""
    global _received
    _received = None


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """End the process in the middle of the block, in which nothing is begun, such as imports."""

    def leave(number: int, frame: Any) -> None:
        sys.stderr.write("Interrupted before anything was begun.\n")
        sys.stderr.flush()
        os._exit(128 + number)

    before = {number: signal.signal(number, leave) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
