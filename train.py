"""Train one network, or sweep over several: `python train.py -m model.attention=none,ag,se,cbam`.

Configuration: conf/ (groups), sweeps/ (sweeps). What comes after training: `brainseg --help`.
"""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from brainseg import interrupt

try:
    with interrupt.leaving_at_once():
        import hydra
        from omegaconf import DictConfig

        from brainseg.errors import brief
        from brainseg.report.write import show_report
        from brainseg.terminal import spent
        from brainseg.training.config import register_schema
        from brainseg.training.plugins import register_plugins
        from brainseg.training.refusal import explain_refusal
        from brainseg.training.sweep import (
            describe_times,
            finished_jobs,
            gather,
            gathering,
            note_cut_off,
            start_job,
            time_sweep,
        )
except ModuleNotFoundError as error:
    if error.name != "hydra":
        raise
    sys.exit(
        "Hydra is not installed in this Python. Set up once with `make setup`, then activate "
        "the environment with `source .venv/bin/activate`."
    )

# Hydra looks for sweeps/ beside this file, wherever the command is typed.
os.environ["BRAINSEG_ROOT"] = str(Path(__file__).resolve().parent)

TRACED = os.environ.get("HYDRA_FULL_ERROR") == "1"
"""Whether the user wants to see where an error came from."""

logger = logging.getLogger("brainseg")


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> None:
    """Run one job, in this process or beside others."""
    start_job(config)


def run_all() -> int:
    """Run the jobs, time them together and tell what they found; the exit code."""
    failures: list[str] = []

    def attempt(part: str, work: Callable[..., Any], *subject: Any) -> None:
        """Do a part of the work; what fails is told in one message, and the rest goes on."""
        try:
            with spent(part):
                work(*subject)
        except Exception as error:
            interrupt.settle()
            told = explain_refusal(error)
            if TRACED or (told is None and part != "jobs"):
                raise
            failures.append(told or f"{brief(error)}. HYDRA_FULL_ERROR=1 shows where.")
            print(f"Error: {failures[-1]}", file=sys.stderr)

    os.environ["HYDRA_FULL_ERROR"] = "1"  # it hands its errors on
    with gathering():
        try:
            try:
                attempt("jobs", main)
                attempt("timing", time_sweep, finished_jobs())
            finally:
                note_cut_off(gather())
                runs = [job.run for job in gather() if job.run and job.run.state.exists()]
                for experiment in dict.fromkeys(run.experiment for run in runs):
                    attempt("report", show_report, experiment)
        except KeyboardInterrupt:
            logger.error("%s (without force=true, which starts over).", interrupt.GOING_ON)
            return interrupt.exit_code()
        if gather():
            logger.info(describe_times(gather()))
        return 1 if failures or any(job.failure for job in gather()) else 0


if __name__ == "__main__":
    interrupt.listen()
    register_schema()
    register_plugins()
    sys.exit(run_all())
