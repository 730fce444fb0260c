"""The session at the end of a sweep."""

from contextlib import contextmanager
from pathlib import Path

import pytest

from brainseg.benchmark.plan import TimingPlan
from brainseg.run import Run
from brainseg.training import sweep
from brainseg.training.sweep import time_sweep


def job(name: str, **deploy):
    settings = {"modes": ["int8_dynamic"], "devices": ["cpu"], "passes": 5} | deploy
    settings["runtimes"] = ["onnxruntime"]
    return {"deploy": settings}, Run(Path(name))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch):
    """What was timed together, and what was mirrored; run `b` had its timings already."""
    timed, mirrored = [], []

    def time_together(runs, plan):
        timed.append(([str(run.path) for run in runs], plan))
        return {run: [] if str(run.path) == "b" else ["timed fp32 on cpu"] for run in runs}

    @contextmanager
    def tracked(run, config, job):
        yield job

    monkeypatch.setattr(sweep, "time_together", time_together)
    monkeypatch.setattr(sweep, "tracked", tracked)
    monkeypatch.setattr(
        sweep, "log_results", lambda opened, run: mirrored.append((opened, str(run.path)))
    )
    return timed, mirrored


def test_runs_are_timed_in_one_session_and_mirrored(calls):
    timed, mirrored = calls
    time_sweep([job("a"), job("b"), job("c")])
    plan = TimingPlan(("int8_dynamic",), ("cpu",), ("onnxruntime",), 5)
    assert timed == [(["a", "b", "c"], plan)]
    assert mirrored == [("benchmark", "a"), ("benchmark", "c")]


def test_other_settings_have_a_session_of_their_own(calls):
    timed, _ = calls
    time_sweep([job("a"), job("b", passes=9), job("c")])
    assert [(runs, plan.passes) for runs, plan in timed] == [(["a", "c"], 5), (["b"], 9)]


def test_nothing_finished_is_nothing_to_time(calls):
    time_sweep([])
    assert calls == ([], [])
