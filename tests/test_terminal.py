"""What people see of long work."""

import logging
import os
import sys
import time

import pytest

from brainseg import terminal
from brainseg.terminal import SPENT, bar, has_bars, share_terminal, silenced, spent


@pytest.fixture
def handler(monkeypatch: pytest.MonkeyPatch) -> logging.Handler:
    """The only handler of the log; the terminal is this process's own again afterwards."""
    monkeypatch.setattr(terminal, "_labelled", False)
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes that for a terminal
    handler = logging.StreamHandler()
    monkeypatch.setattr(logging.root, "handlers", [handler])
    return handler


def test_beside_others_each_line_begins_with_the_label_and_there_are_no_bars(handler, capsys):
    assert has_bars()
    share_terminal("ag-seed0")
    assert not has_bars()
    record = logging.LogRecord("brainseg", logging.INFO, "", 0, "\n── %s\nand on", ("here",), None)
    assert handler.format(record) == "ag-seed0  ── here\nag-seed0  and on"
    assert list(bar([1, 2], "Working")) == [1, 2]
    assert capsys.readouterr().err == ""


def test_a_later_label_takes_the_place_of_the_first(handler):
    share_terminal("job 1")
    share_terminal("none-seed0")
    record = logging.LogRecord("brainseg", logging.INFO, "", 0, "done", (), None)
    assert handler.format(record) == "none-seed0  done"


def test_seconds_are_added_up_by_part_also_where_the_work_fails(monkeypatch: pytest.MonkeyPatch):
    ticks = iter([0.0, 2.0, 10.0, 13.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    SPENT.clear()
    with spent("data"):
        pass
    with pytest.raises(KeyError), spent("data"):
        raise KeyError
    assert dict(SPENT) == {"data": 5.0}


def test_libraries_write_nothing_while_silenced(capfd):
    with silenced():
        os.write(2, b"No execution plans support the graph")
    print("heard", file=sys.stderr)
    assert capfd.readouterr().err == "heard\n"


def test_standard_error_comes_back_after_a_failure(capfd):
    with pytest.raises(KeyError), silenced():
        raise KeyError
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"
