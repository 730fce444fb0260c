"""Jobs that a cluster runs: their share of a machine, and what is left of those that get lost.

A whole sweep through submitit is in tests/test_train.py.
"""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from submitit.core.utils import UncompletedJobError

from brainseg.run import Run
from brainseg.training import launchers, sweep
from brainseg.training.launchers import LocalLauncher, SubmititLauncher
from brainseg.training.sweep import gather, gathering, share_outcomes


def lose(job_id: str) -> SimpleNamespace:
    """A job whose machine went away."""

    def results():
        raise UncompletedJobError("has not produced any output")

    paths = SimpleNamespace(stderr=Path("7_0_log.err"))
    return SimpleNamespace(job_id=job_id, state="NODE_FAIL", paths=paths, results=results)


def test_a_lost_job_is_told_with_its_run_and_its_log(caplog):
    with gathering():
        known = sweep.Outcome(path="outputs/demo/ag-seed0")
        sweep._leave(known, 0)
        launchers._wait(0, lose("12_0"))
        launchers._wait(1, lose("12_1"))  # before its first word
        one, other = gather()
    assert one.run == Run(Path("outputs/demo/ag-seed0"))
    assert other.run is None
    assert one.failure == "Job 12_0 ended as NODE_FAIL. Its log: 7_0_log.err"
    assert "Error: Job 12_1 ended as NODE_FAIL" in caplog.text


def test_outcomes_are_shared_below_the_output_dir_and_go_at_the_end(tmp_path: Path):
    with gathering():
        private = Path(os.environ[sweep.OUTCOMES])
        for _ in range(2):  # Optuna launches many times
            share_outcomes(tmp_path / "outputs")
        (shared,) = (tmp_path / "outputs" / ".submitit").iterdir()
        assert os.environ[sweep.OUTCOMES] == str(shared)
        assert not private.exists()
    assert not shared.exists()


@pytest.mark.parametrize(
    ("launcher", "settings", "jobs", "cores"),
    [
        (LocalLauncher, {}, 3, 2),
        (LocalLauncher, {}, 16, 1),
        (LocalLauncher, {"cpus_per_task": 4}, 2, 4),
        (SubmititLauncher, {"cpus_per_task": 4}, 2, 4),
        (SubmititLauncher, {}, 2, None),  # Slurm says
    ],
)
def test_jobs_take_their_share_of_a_machine(monkeypatch, launcher, settings, jobs, cores):
    monkeypatch.setattr(launchers, "physical_cores", lambda: 8)
    assert launcher(**settings)._cores(jobs) == cores


def test_a_job_takes_over_variables_and_the_cores_that_slurm_gave_it(monkeypatch):
    for name in ("BRAINSEG_ROOT", "LOKY_MAX_CPU_COUNT"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    monkeypatch.setattr(launchers.BaseSubmititLauncher, "__call__", lambda self, *job: job)
    launcher = SubmititLauncher()
    launcher.cores, launcher.variables = None, {"BRAINSEG_ROOT": "/here"}
    threads = torch.get_num_threads()
    try:
        assert launcher(["seed=1"]) == (["seed=1"],)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)
    assert os.environ["BRAINSEG_ROOT"] == "/here"
    assert os.environ["LOKY_MAX_CPU_COUNT"] == "1"
