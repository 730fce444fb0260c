"""Train one network, or sweep over several: `python train.py -m model.attention=none,ag,se,cbam`.

Configuration: conf/ (groups), sweeps/ (sweeps). What comes after training: `brainseg --help`.
"""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    import hydra
except ModuleNotFoundError:
    sys.exit(
        "Hydra is not installed in this Python. Set up once with `make setup`, then activate "
        "the environment with `source .venv/bin/activate`."
    )

from omegaconf import DictConfig

# Hydra looks for sweeps/ beside this file, wherever the command is typed.
os.environ["BRAINSEG_ROOT"] = str(Path(__file__).resolve().parent)

from brainseg.errors import InputError
from brainseg.report.write import show_report
from brainseg.terminal import spent
from brainseg.training.config import register_schema
from brainseg.training.plugins import register_plugins
from brainseg.training.sweep import (
    describe_times,
    gather,
    gathering,
    note_cut_off,
    start_job,
    time_sweep,
)

logger = logging.getLogger("brainseg")


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> None:
    """Run one job, in this process or beside others."""
    start_job(config)


def run_all() -> int:
    """Run the jobs, time them together and tell what they found; the exit code."""
    failures: list[str] = []

    def attempt(work: Callable[[Any], Any], subject: Any) -> None:
        """Do `work` on `subject`; what the user can mend is told, and the rest goes on."""
        try:
            work(subject)
        except InputError as error:
            failures.append(str(error))
            logger.error("Error: %s", error)

    with gathering():
        try:
            try:
                with spent("jobs"):
                    main()
                ended_well = [(job.config, job.run) for job in gather() if not job.failure]
                with spent("timing"):
                    attempt(time_sweep, ended_well)
            finally:
                note_cut_off(gather())
                runs = [job.run for job in gather() if job.run]
                with spent("report"):
                    for experiment in dict.fromkeys(run.experiment for run in runs):
                        attempt(show_report, experiment)
        except KeyboardInterrupt:
            logger.error(
                "Interrupted. What is finished is kept: the same command goes on from there "
                "(without force=true, which starts over)."
            )
            return 130
        logger.info(describe_times(gather()))
        return 1 if failures or any(job.failure for job in gather()) else 0


if __name__ == "__main__":
    register_schema()
    register_plugins()
    sys.exit(run_all())
