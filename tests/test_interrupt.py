"""Ctrl-C and SIGTERM."""

import signal
import subprocess
import sys

import pytest

from brainseg import interrupt

pytestmark = pytest.mark.usefixtures("restored")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_swallowed_signal_stops_all_the_same(number: int, code: int):
    interrupt.listen()
    interrupt.settle()  # nothing has come
    try:
        signal.raise_signal(number)
    except KeyboardInterrupt:
        signal.signal(number, signal.SIG_IGN)  # as Lightning does
    assert interrupt.is_stopping()
    assert interrupt.exit_code() == code
    with pytest.raises(KeyboardInterrupt):
        interrupt.settle()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_imports_end_at_once(name: str, code: int):
    program = f"""
import signal
from brainseg import interrupt
with interrupt.leaving_at_once():
    try:
        signal.raise_signal(signal.{name})
    finally:
        print("cleaned up")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == code
    assert done.stderr == "Interrupted before anything was begun.\n"
    assert done.stdout == ""


def test_handlers_are_restored_after_imports():
    before = signal.getsignal(signal.SIGTERM)
    with interrupt.leaving_at_once():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
