"""W&B that fails or hangs."""

import logging
import threading

import pytest

from brainseg.tracking import bounded
from brainseg.tracking.bounded import ask


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(bounded, "PATIENCE_S", 0.05)
    monkeypatch.setattr(bounded, "_lost", [])


def test_what_works_is_handed_on(caplog):
    assert ask(object(), "starting", lambda: 7) == 7
    assert not caplog.records


@pytest.mark.parametrize("hangs", [False, True])
def test_one_warning_and_nothing_more_is_asked(caplog, hangs: bool):
    asked: list[int] = []
    forever, run = threading.Event(), object()

    def work() -> int:
        asked.append(1)
        if hangs:
            forever.wait()
        raise ConnectionError("no route")

    with caplog.at_level(logging.WARNING, "brainseg"):
        assert [ask(run, "logging an epoch", work) for _ in range(3)] == [None] * 3
    forever.set()
    assert asked == [1]
    (warning,) = caplog.records
    reason = "no answer within" if hangs else "ConnectionError: no route"
    assert f"W&B: logging an epoch failed ({reason}" in warning.getMessage()
    assert ask(object(), "starting", lambda: 7) == 7  # another run
