"""One process at a time on a run."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from brainseg.errors import InputError
from brainseg.run import Run
from brainseg.training.job import run_job
from brainseg.training.lock import locked

HOLD = """
import sys
from pathlib import Path
from brainseg.run import Run
from brainseg.training.lock import locked

with locked(Run(Path(sys.argv[1]))):
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
    with pytest.raises(InputError, match="is being worked on by another process"):
        run_job(configure(force=force), run)
    assert run.state.read_bytes() == state


def test_a_process_that_was_killed_holds_nothing(run: Run, holder):
    holder.kill()
    holder.wait()
    with locked(run), pytest.raises(InputError, match="another process"), locked(run):
        pytest.fail("it was locked twice")
    with locked(run):
        pass


def test_a_process_that_trains_beside_the_first_needs_no_lock(run: Run, holder, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")  # as Lightning starts it for a second device
    with locked(run):
        pass
