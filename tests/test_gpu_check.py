"""The parts of `make gpu-check`, on the CPU and with a tiny network."""

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from brainseg.row import Row
from brainseg.rows import write_rows

ROOT = Path(__file__).parents[1]


@pytest.fixture
def benchmarks(monkeypatch):
    """The scripts import one another as when they are run."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")


@pytest.fixture
def make_budget(benchmarks, tmp_path):
    from budget import Budget

    def make(seconds=60.0):
        return Budget(seconds, tmp_path / "log.txt", tmp_path, {"COLOUR": "red"})

    return make


@pytest.fixture
def check(make_budget, tmp_path):
    from gpu_check import SCALES, Check

    work, out = tmp_path / "work", tmp_path / "out"
    work.mkdir()
    out.mkdir()
    return Check(SCALES["cpu"], make_budget(), work, out)


def test_what_a_command_prints_is_shown_and_kept(make_budget, tmp_path, capfd):
    code = "import os, sys; print(os.environ['COLOUR']); print('loud', file=sys.stderr)"
    outcome = make_budget().run([sys.executable, "-c", code], 10)
    assert (outcome.status, sorted(outcome.lines)) == ("ok", ["loud", "red"])
    log = (tmp_path / "log.txt").read_text()
    assert capfd.readouterr().out == log
    assert {"  red", "  loud"} <= set(log.splitlines())


def test_a_failure_is_noted_and_the_next_command_runs(make_budget):
    budget = make_budget()
    budget.run([sys.executable, "-c", "import os; os.abort()"], 10)
    budget.run([sys.executable, "-c", "raise SystemExit(3)"], 10)
    budget.run([sys.executable, "-c", ""], 10)
    assert [each.status for each in budget.outcomes] == [
        "failed: exit code -6",
        "failed: exit code 3",
        "ok",
    ]


def test_a_hang_is_ended_with_all_that_it_has_started(make_budget, monkeypatch):
    monkeypatch.setattr("budget.GRACE", 0.2)
    script = "trap '' INT; sleep 100 & echo $!; wait; sleep 100"
    outcome = make_budget().run(["sh", "-c", script], 0.3)
    assert outcome.status == "stopped: its time was up"
    (child,) = map(int, outcome.lines)
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_ctrl_c_comes_first(make_budget):
    code = "import time\ntry: time.sleep(100)\nexcept KeyboardInterrupt: print('kept', flush=True)"
    outcome = make_budget().run([sys.executable, "-c", code], 0.5)
    assert (outcome.status, outcome.lines) == ("stopped: its time was up", ["kept"])


def test_what_would_take_too_long_is_not_begun(make_budget, tmp_path):
    outcome = make_budget(15).run(["touch", str(tmp_path / "begun")], 30)
    assert outcome.status == "skipped: it takes about 30 s, 5 s are left"
    assert not (tmp_path / "begun").exists()


def test_forms_on_a_cpu_agree_and_the_others_say_what_they_need(benchmarks, run):
    from cuda_forms import ARITHMETICS, measure

    from brainseg.deploy.stages import prepare

    prepare(run, ["fp16"])
    rows = measure(run, 2, "cpu", seconds=0.05)
    assert [(row["mode"], row["tf32"], row["nhwc"]) for row in rows] == list(ARITHMETICS)
    assert {row["reason"] for row in rows} == {"needs CUDA"}
    plain, half = (row for row in rows if not (row["tf32"] or row["nhwc"]))
    assert plain["change"] < 1e-6
    assert 1e-6 < half["change"] < 5e-2
    for row in rows:
        measured = row in (plain, half)
        assert [row[name] is not None for name in ("plain", "IO binding", "CUDA graph")] == [
            *(measured, measured),
            False,
        ]


def test_a_file_that_cannot_be_opened_is_a_reason(benchmarks, tmp_path):
    from cuda_forms import open_passes

    (tmp_path / "model.onnx").write_bytes(b"no graph")
    image = np.zeros((1, 1, 8, 8), np.float32)
    passes, reason = open_passes(tmp_path / "model.onnx", "cpu", False, False, image)
    assert passes == {}
    assert "model.onnx" in reason


def test_rounds_end_in_time_but_there_is_one(benchmarks):
    from cuda_forms import until

    assert list(until(0, 5)) == [0]
    assert list(until(60, 3)) == [0, 1, 2]


def test_speeds_leave_the_first_epoch_out(check):
    from gpu_check import speeds

    for name, values in (("ag-seed0-lr1", (1, 30, 20)), ("none-seed0", (7,))):
        history = check.work / "check" / name / "history.csv"
        history.parent.mkdir(parents=True)
        history.write_text("epoch,images_per_second\n" + "".join(f"0,{v}\n" for v in values))
    found = [
        (row["run"], row["epochs"], row["images_per_second"]) for row in speeds(check, "check")
    ]
    assert found == [("ag", 3, 30.0), ("none", 1, 7.0)]
    assert check.run("none") == check.work / "check" / "none-seed0"
    with pytest.raises(FileNotFoundError, match="no run of se"):
        check.run("se")


def test_rows_tell_their_form(benchmarks, run):
    from gpu_check import deploy_rows, markdown

    timed = Row(mode="fp32", options={"precision": "tf32"}, device="cuda", threads=2)
    timed = replace(timed, latency_ms={"p50": 1.54}, got={"cuda_graph": True, "without": {}})
    gone = Row(mode="fp16", device="cuda", threads=2, status="unavailable", reason="no | CUDA")
    write_rows(run, [timed, gone])
    first, second = deploy_rows(run.path)
    assert (first["mode"], first["latency_ms"]) == ("fp32 tf32", 1.54)
    assert (second["latency_ms"], second["status"]) == (None, "unavailable")
    (table,) = markdown([first, second])
    assert "cuda_graph True" in table
    assert "no \\| CUDA" in table
    assert "device_ms" not in table  # nothing stands there
    assert asdict(timed)["got"] == first["got"]


def test_without_time_it_says_what_it_left_out(benchmarks, tmp_path, monkeypatch, capsys):
    import gpu_check

    monkeypatch.setattr(
        sys, "argv", ["gpu_check", "--minutes", "0", "--small", "--out", str(tmp_path)]
    )
    assert gpu_check.main() == 1
    tables = json.loads((tmp_path / "rows.json").read_text())
    assert all("skipped" in each["status"] for each in tables["commands"])
    summary = (tmp_path / "summary.md").read_text()
    assert "there is no run of ag" in summary
    assert "python train.py -m" in summary
    assert {path.name for path in tmp_path.iterdir()} == {"log.txt", "rows.json", "summary.md"}
    assert capsys.readouterr().out == (tmp_path / "log.txt").read_text()
