"""The jobs of a sweep, what they leave to who started them, and the session at its end."""

import errno
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from brainseg import interrupt, terminal
from brainseg.benchmark.plan import TimingPlan
from brainseg.errors import InputError
from brainseg.lock import locked
from brainseg.run import Run
from brainseg.terminal import spent
from brainseg.training import sweep
from brainseg.training.config import jobs_at_once, register_schema
from brainseg.training.sweep import (
    Outcome,
    describe_times,
    gather,
    gathering,
    note_cut_off,
    start_job,
    time_sweep,
)

ROOT = Path(__file__).parents[2]


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


def launch(launcher: str, mode: str = "MULTIRUN", **settings) -> DictConfig:
    """A job's configuration as Hydra composes it, as a job that it is running."""
    overrides = [f"hydra.mode={mode}", f"hydra/launcher={launcher}", "hydra.job.num=3"]
    overrides += [f"{key}={value}" for key, value in settings.items()]
    config = compose("train", overrides, return_hydra_config=True)
    HydraConfig.instance().set_config(config.copy())
    with open_dict(config):
        del config["hydra"]
    return config


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch):
    """What a job changes in its process is undone."""
    monkeypatch.setenv("BRAINSEG_ROOT", str(ROOT))
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    monkeypatch.setattr(terminal, "_labelled", False)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    monkeypatch.setattr(logging.root, "handlers", [])
    sweep._take_share.cache_clear()
    threads = torch.get_num_threads()
    register_schema()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield
    torch.set_num_threads(threads)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize(
    ("launcher", "settings", "jobs"),
    [
        ("basic", {}, 1),
        ("joblib", {}, 2),
        ("joblib", {"hydra.launcher.n_jobs": 4}, 4),
        ("joblib", {"hydra.launcher.n_jobs": -1}, os.cpu_count()),
        ("joblib", {"hydra.launcher.n_jobs": 4, "mode": "RUN"}, 1),  # Hydra launches nothing there
    ],
)
def test_how_many_jobs_run_at_once(launcher: str, settings: dict, jobs: int):
    launch(launcher, **settings)
    assert jobs_at_once() == jobs


def test_jobs_divide_the_cores_and_are_told_of_a_crowd(monkeypatch, caplog):
    monkeypatch.setattr(sweep, "physical_cores", lambda: 8)
    monkeypatch.setattr(sweep, "run_job", lambda *_: None)
    torch.set_num_threads(4)
    with gathering():
        start_job(launch("joblib", **{"hydra.launcher.n_jobs": 4}))
        assert os.environ["LOKY_MAX_CPU_COUNT"] == "2"  # `physical_cores` heeds it
        assert torch.get_num_threads() == 2
        assert "take turns" not in caplog.text
        start_job(launch("joblib", **{"hydra.launcher.n_jobs": 16, "hydra.job.num": 0}))
        assert os.environ["LOKY_MAX_CPU_COUNT"] == "1"
    assert "16 jobs at once (hydra.launcher.n_jobs) on 8 cores: they take turns" in caplog.text


def test_a_process_takes_its_share_once(monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "2")
    monkeypatch.setattr(sweep, "run_job", lambda *_: None)
    monkeypatch.setattr(sweep, "physical_cores", lambda: int(os.environ["LOKY_MAX_CPU_COUNT"]) * 8)
    with gathering():
        for _ in range(3):
            start_job(launch("joblib", **{"hydra.launcher.n_jobs": 4}))
    assert os.environ["LOKY_MAX_CPU_COUNT"] == "4"


def run(monkeypatch: pytest.MonkeyPatch, error: BaseException | None, stops=False) -> Outcome:
    """What a job leaves that ends with `error`."""

    def run_job(config, run, *_):
        with spent("data"):
            if error:
                raise error

    monkeypatch.setattr(sweep, "run_job", run_job)
    with gathering():
        with pytest.raises(KeyboardInterrupt) if stops else nullcontext():
            start_job(launch("basic"))
        (outcome,) = gather()
    return outcome


@pytest.fixture
def stopped() -> Iterator[None]:
    """Ctrl-C has come."""
    interrupt.listen()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    yield
    interrupt.forget()


@pytest.mark.parametrize("swallowed", [SystemExit(1), ImportError("numpy"), KeyboardInterrupt()])
def test_what_libraries_make_of_an_interruption_is_one(monkeypatch, stopped, swallowed):
    outcome = run(monkeypatch, swallowed, stops=True)  # the first is Lightning's
    assert outcome.failure == "interrupted"


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (None, None),
        (InputError("No such data."), "No such data."),
        (ValueError("odd"), "ValueError: odd"),
        (MemoryError(), "MemoryError"),
        (OSError(errno.ENAMETOOLONG, "", "x"), "x: File name too long. Choose shorter names"),
    ],
)
def test_a_job_leaves_its_outcome(monkeypatch, error: BaseException | None, failure: str | None):
    outcome = run(monkeypatch, error)
    assert (outcome.failure or "").startswith(failure or "")
    assert bool(outcome.failure) == bool(failure)
    assert outcome.run == Run(Path("outputs/demo/none-seed0"))
    assert outcome.config["model"]["attention"] == "none"
    assert outcome.seconds.keys() == {"data", "job"}


def test_a_job_that_cannot_be_composed_to_its_end_has_no_run(monkeypatch):
    with gathering():
        start_job(launch("basic", experiment="paper"))
        (outcome,) = gather()
    assert outcome.run is None
    assert "data.root must be set" in str(outcome.failure)


def test_outcomes_come_in_the_order_of_the_jobs(monkeypatch):
    monkeypatch.setattr(sweep, "run_job", lambda *_: None)
    with gathering():
        for number in (10, 9, 2):
            start_job(launch("basic", **{"hydra.job.num": number, "seed": number}))
        assert [outcome.config["seed"] for outcome in gather()] == [2, 9, 10]


def test_a_killed_job_is_told_in_the_state_of_its_run(tmp_path: Path):
    killed, other, finished = (Run(tmp_path / name) for name in ("a", "b", "c"))
    for one in (killed, other):
        one.update_state(status="running", reason=None)
    finished.update_state(status="finished", reason=None)
    paths = [str(one.path) for one in (killed, other, finished)]
    with locked(other.path):  # by another command
        note_cut_off([Outcome(path=path) for path in paths] + [Outcome()])
    states = [one.read_state() for one in (killed, other, finished)]
    assert [state["status"] for state in states] == ["failed", "running", "finished"]
    assert states[0]["reason"] == "interrupted"


def test_the_line_of_times_sums_over_jobs(monkeypatch):
    monkeypatch.setattr(sweep, "SPENT", {"jobs": 61.6, "timing": 20.2, "report": 3})
    one = {"data": 2.0, "fitting": 40.0, "job": 50.0}
    other = {"fitting": 41.0, "scoring": 5.0, "job": 60.0}
    line = describe_times([Outcome(at_once=2, seconds=one), Outcome(at_once=2, seconds=other)])
    assert line == (
        "Where the time went: 2 jobs 62 s, 2 at once (data 2 s, fitting 81 s, scoring 5 s, "
        "other 22 s), timing 20 s, report 3 s."
    )
