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
from brainseg.training.config import check_complete, find_run, register_schema, to_plain
from brainseg.training.job import run_job
from brainseg.training.settings import check_settings
from brainseg.training.sweep import Job, time_sweep

logger = logging.getLogger("brainseg")
experiments: list[Path] = []
finished: list[Job] = []
failures: list[str] = []


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> None:
    """Run one job. What fails is noted instead of raised, so that a sweep's other jobs go on."""
    try:
        check_complete(config)
        plain = to_plain(config)
        check_settings(plain)
        run = find_run(plain)
        if run.experiment not in experiments:
            experiments.append(run.experiment)
        run_job(plain, run)
        finished.append((plain, run))
    except InputError as error:
        note(error)
    except Exception as error:
        if isinstance(error.__cause__, KeyboardInterrupt):  # while a library was being loaded
            raise error.__cause__ from None
        failures.append(str(error))
        logger.exception("This job failed.")


def note(error: InputError) -> None:
    """Tell of a failure that the user can mend, and go on."""
    failures.append(str(error))
    logger.error("Error: %s", error)


def run_all() -> int:
    """Run the jobs, time them together and tell what they found; the exit code."""
    try:
        try:
            main()
            attempt(time_sweep, finished)
        finally:
            for experiment in experiments:
                attempt(show_report, experiment)
    except KeyboardInterrupt:
        logger.error(
            "Interrupted. What is finished is kept: the same command goes on from there (without "
            "force=true, which starts over)."
        )
        return 130
    return 1 if failures else 0


def attempt(work: Callable[[Any], Any], subject: Any) -> None:
    """Do `work` on `subject`; what the user can mend is told, and the rest goes on."""
    try:
        work(subject)
    except InputError as error:
        note(error)


if __name__ == "__main__":
    register_schema()
    sys.exit(run_all())
