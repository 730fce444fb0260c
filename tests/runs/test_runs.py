import os
import socket
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from brainseg.cli import app
from brainseg.files import write_json
from brainseg.lock import locked
from brainseg.run import Run
from brainseg.runs.listing import list_runs, tell_age, tell_size
from brainseg.runs.prune import find_leftovers

LONG_AGO = time.time() - 7200


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    folder = tmp_path / "outputs" / "demo"
    make(folder / "ag-seed0", "finished", "done", mean_iou=0.9)
    make(folder / "se-seed0", "failed", "train", reason="the loss is NaN")
    return folder


def make(path: Path, status: str, stage: str, reason=None, mean_iou=None) -> Run:
    run = Run(path)
    write_json(run.state, {"status": status, "stage": stage, "reason": reason})
    if mean_iou is not None:
        counts = {"n": 4, "n_tumor": 2, "n_patients": 2, "classes": {}}
        scores = {"mean_iou": mean_iou, "tumor_iou": None, "dice": 0.5}
        write_json(run.metrics, scores | counts)
        run.best.parent.mkdir()
        run.best.write_bytes(b"w" * 1000)
        run.onnx("fp32").write_bytes(b"f" * 4000)
        run.onnx("int8_static").write_bytes(b"q" * 2048)
    return run


def call(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["runs", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_list_tells_state_size_and_metrics(experiment: Path):
    finished, failed = list_runs(experiment)

    assert (finished.state, finished.metrics) == ("finished", {"mean_iou": 0.9, "dice": 0.5})
    assert finished.size_bytes == sum(f.stat().st_size for f in finished.run.path.rglob("*.*"))
    assert (failed.state, failed.stage, failed.reason) == ("failed", "train", "the loss is NaN")


def test_the_list_is_what_runs_with_a_folder_prints(experiment: Path):
    printed = call(experiment)

    assert "0.9000" in printed
    assert printed.endswith("se-seed0: the loss is NaN\n")
    assert printed == call("list", experiment)


def test_few_reasons_are_told(experiment: Path):
    for seed in range(1, 9):
        make(experiment / f"se-seed{seed}", "failed", "train", reason="no [/bold] memory")

    assert call(experiment).count("no [/bold] memory") == 3
    assert call(experiment).endswith("… and 5 more\n")


GONE = 2**22 + 1
"""A process beyond the largest number that Linux gives."""


@pytest.mark.parametrize(
    ("gone", "here", "state"),
    [(False, True, "running"), (True, True, "interrupted"), (True, False, "running")],
)
def test_a_run_whose_process_was_killed_is_interrupted(experiment, gone, here, state):
    run = make(experiment / "cbam-seed0", "running", "train")
    host = socket.gethostname() if here else "another machine"
    write_json(run.path / ".lock", {"process": GONE if gone else os.getpid(), "host": host})

    assert list_runs(run.path)[0].state == state


def test_a_run_that_is_being_worked_on_is_not_deleted(experiment: Path):
    run = experiment / "se-seed0"
    with locked(run):
        result = CliRunner().invoke(app, ["runs", "prune", str(run), "--failed", "--delete"])

    assert "being worked on" in str(result.exception)
    assert (run / "state.json").exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"status": 3', "\0"])
def test_a_damaged_state_is_listed(experiment: Path, content: str):
    (experiment / "ag-seed0" / "state.json").write_text(content)

    assert list_runs(experiment)[0].state == "damaged"


def test_age_is_that_of_the_newest_file(experiment: Path):
    for file in (experiment / "ag-seed0").rglob("*.*"):
        os.utime(file, (LONG_AGO, LONG_AGO))

    age = datetime.now() - list_runs(experiment)[0].changed
    assert tell_age(age) == "2 hours"


def test_nothing_is_deleted_without_being_asked_to(experiment: Path):
    before = sorted(experiment.rglob("*"))

    assert "Nothing to delete" in call("prune", experiment)
    assert "would be freed" in call("prune", experiment, "--failed", "--quantized")
    assert sorted(experiment.rglob("*")) == before


def test_failed_runs_and_quantized_networks_go_where_asked(experiment: Path):
    run = Run(experiment / "ag-seed0")
    converted = run.network("fp32", "litert")
    converted.write_bytes(b"l" * 100)
    write_json(run.tuning.state, {"status": "finished"})
    run.tuning.best.parent.mkdir()
    run.tuning.best.write_bytes(b"t" * 1000)
    printed = call("prune", experiment, "--failed", "--quantized", "--delete")

    assert "freed." in printed
    assert "--runtime litert" in " ".join(printed.split())
    assert [path.name for path in experiment.iterdir()] == ["ag-seed0"]
    assert run.best.exists()
    assert run.onnx("fp32").exists()
    assert not run.onnx("int8_static").exists()
    assert not converted.exists()
    assert not run.tuning.path.exists()


@pytest.mark.parametrize("name", ["best", "last", "previous"])
def test_a_failed_run_that_could_go_on_stays(experiment: Path, name: str):
    run = Run(experiment / "se-seed0")
    checkpoint = getattr(run, name)
    checkpoint.parent.mkdir()
    checkpoint.touch()

    assert "Nothing to delete" in call("prune", experiment, "--failed")


def test_an_interrupted_run_is_no_failure(experiment: Path):
    make(experiment / "se-seed0", "failed", "data", reason="interrupted")

    assert list_runs(experiment)[1].state == "interrupted"
    assert "Nothing to delete" in call("prune", experiment, "--failed")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path):
    result = CliRunner().invoke(app, ["runs", "prune", str(tmp_path / "outptus"), "--delete"])

    assert "is not a folder" in str(result.exception)


def test_a_network_without_its_checkpoint_stays(experiment: Path):
    run = Run(experiment / "ag-seed0")
    run.best.unlink()

    assert "Nothing to delete" in call("prune", experiment, "--quantized")


def test_leftovers_are_half_deleted_runs_and_old_temporary_files(experiment: Path):
    run = experiment / "ag-seed0"
    old, new = run / ".history.csv.x1y2.csv", run / "checkpoints" / ".last.ckpt.x1y2.ckpt"
    gone = experiment / ".se-seed1.removed"
    gone.mkdir()
    (gone / "model.onnx").write_bytes(b"12345")
    for file in (old, new, run / ".lock", experiment / ".hidden.of.others"):
        file.touch()
    os.utime(old, (LONG_AGO, LONG_AGO))

    assert {each.path: each.size_bytes for each in find_leftovers(experiment)} == {gone: 5, old: 0}
    call("prune", experiment, "--delete")
    assert not gone.exists()
    assert not old.exists()
    assert new.exists()
    assert (run / ".lock").exists()


@pytest.mark.parametrize(
    ("size", "told"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**40, "1.0 TiB")]
)
def test_sizes_for_people(size: int, told: str):
    assert tell_size(size) == told


@pytest.mark.parametrize(
    ("age", "told"),
    [({"seconds": 5}, "now"), ({"minutes": 1}, "1 minute"), ({"days": 3, "hours": 5}, "3 days")],
)
def test_ages_for_people(age: dict[str, int], told: str):
    assert tell_age(timedelta(**age)) == told
