"""One process at a time on a run."""

import errno
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from brainseg.errors import InputError
from brainseg.lock import locked
from brainseg.run import Run
from brainseg.training.job import run_job

HOLD = """
import sys
from pathlib import Path
from brainseg.lock import locked

with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "ag-seed0")


@pytest.fixture
def holder(run: Run) -> Iterator[subprocess.Popen[str]]:
    """Another process that works on the run."""
    command = [sys.executable, "-c", HOLD, str(run.path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.mark.parametrize("force", [False, True])
def test_a_run_that_another_process_works_on_is_refused(run: Run, holder, configure, force: bool):
    run.update_state(stage="train", status="running", identity={})
    state = run.state.read_bytes()
    told = (
        rf"ag-seed0 is being worked on by process {holder.pid} on .* \(-c .*\) since \d\d:\d\d\. "
    )
    with pytest.raises(InputError, match=told):
        run_job(configure(force=force), run)
    assert run.state.read_bytes() == state


def test_a_process_that_was_killed_holds_nothing(run: Run, holder):
    holder.kill()
    holder.wait()
    with locked(run.path), pytest.raises(InputError, match="worked on by"), locked(run.path):
        pytest.fail("it was locked twice")
    with locked(run.path):
        pass


def test_a_short_work_is_waited_for(run: Run, holder, monkeypatch, caplog):
    acquire = FileLock.acquire

    def let_go(self, timeout):
        if timeout == 5:
            holder.stdin.close()  # it ends
            holder.wait()
        return acquire(self, timeout)

    monkeypatch.setattr(FileLock, "acquire", let_go)
    with caplog.at_level(logging.INFO, "brainseg"), locked(run.path, wait_s=5):
        assert json.loads((run.path / ".lock").read_text())["process"] == os.getpid()
    assert f"process {holder.pid} on" in caplog.text
    assert "Waiting up to 5 s." in caplog.text
    assert (run.path / ".lock").read_text() == ""


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_told(run: Run, monkeypatch, number: int):
    def flock(descriptor: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(InputError, match=r"has no locks, .*NFS 4"), locked(run.path):
        pytest.fail("it was locked")


def test_several_folders_are_held_or_none(run: Run, holder, tmp_path: Path):
    other = tmp_path / "a"
    with pytest.raises(InputError, match="ag-seed0 is being"), locked(run.path, other):
        pytest.fail("it was locked")
    with locked(other):
        pass
