"""A sweep: its jobs, in one process or several, and the timing of all its runs side by side."""

import json
import logging
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from brainseg import interrupt
from brainseg.benchmark.together import time_together
from brainseg.deploy.litert import convert_all
from brainseg.environment import physical_cores
from brainseg.errors import InputError, brief
from brainseg.files import read_json, write_json
from brainseg.lock import locked
from brainseg.run import INTERRUPTED, Run
from brainseg.terminal import SPENT, share_terminal, spent
from brainseg.tracking.wandb_run import log_results, tracked
from brainseg.training.config import (
    find_run,
    job_choices,
    job_number,
    jobs_at_once,
    read_settings,
    trial_watch,
)
from brainseg.training.job import Pruned, run_job
from brainseg.training.refusal import explain_refusal
from brainseg.training.settings import plan_timing

Job = tuple[Mapping[str, Any], Run]
"""The resolved configuration of a run, and its directory."""

OUTCOMES = "BRAINSEG_OUTCOMES"
"""The environment variable that names the folder where the jobs of a command leave outcomes."""


logger = logging.getLogger(__name__)


@dataclass
class Outcome:
    """What the process that started a sweep must know of a job, which may run in another.

    Attributes:
        failure: why it did not end well; `None` where it did.
        path: the directory of its run, once that is known.
        config: the resolved configuration.
        pruned: whether it was a trial that Optuna ended early.
        at_once: how many jobs ran side by side.
        seconds: spent on each part of the job, and on the whole `job`.
    """

    failure: str | None = INTERRUPTED
    path: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    pruned: bool = False
    at_once: int = 1
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def run(self) -> Run | None:
        """Its run; `None` where the configuration did not tell."""
        return Run(Path(self.path)) if self.path else None


@contextmanager
def gathering() -> Iterator[None]:
    """Make the place where the jobs started within leave their outcomes.

    Hydra hands no results of a sweep on, and none at all where it was interrupted.
    """
    os.environ[OUTCOMES] = tempfile.mkdtemp(prefix="brainseg-")
    try:
        yield
    finally:
        shutil.rmtree(os.environ.pop(OUTCOMES), ignore_errors=True)


def finished_jobs() -> list[Job]:
    """The jobs so far that came to their end."""
    ended = [job for job in gather() if not (job.failure or job.pruned)]
    return [(job.config, job.run) for job in ended if job.run]


def share_outcomes(output_dir: Path) -> None:
    """Gather below `output_dir` from now on, which jobs on other machines see too."""
    private, shared = Path(os.environ[OUTCOMES]), output_dir.resolve() / ".submitit"
    if private.parent == shared:
        return
    shared.mkdir(parents=True, exist_ok=True)
    os.environ[OUTCOMES] = tempfile.mkdtemp(prefix="outcomes-", dir=shared)
    shutil.rmtree(private)


def note_lost(number: int, failure: str) -> None:
    """Leave the outcome of a job that was not able to, because its process or machine ended."""
    left = Path(os.environ[OUTCOMES]) / f"{number}.json"
    outcome = Outcome(**read_json(left)) if left.exists() else Outcome()
    outcome.failure = failure
    logger.error("Error: %s", failure)
    _leave(outcome, number)


def gather() -> list[Outcome]:
    """The outcomes so far, in the order of the jobs."""
    files = sorted(Path(os.environ[OUTCOMES]).glob("*.json"), key=lambda file: int(file.stem))
    return [Outcome(**read_json(file)) for file in files]


def note_cut_off(outcomes: Sequence[Outcome]) -> None:
    """Say in the state of runs whose process was killed that they were interrupted."""
    for outcome in outcomes:
        if outcome.failure == INTERRUPTED and (run := outcome.run):
            with suppress(InputError), locked(run.path):  # unless it is another command's
                if run.read_state().get("status") == "running":
                    run.update_state(status="failed", reason=INTERRUPTED)


def start_job(config: DictConfig) -> None:
    """Run the job that Hydra has composed, and leave its outcome.

    What fails is noted instead of raised, so that a sweep's other jobs go on.
    """
    interrupt.listen()  # this may be a process of its own
    number, outcome = job_number(), Outcome(at_once=jobs_at_once())
    if outcome.at_once > 1:
        _join_others(outcome.at_once, number)
    SPENT.clear()
    try:
        with spent("job"):
            _run(config, number, outcome)
        outcome.failure = None
    except Pruned as error:
        outcome.failure, outcome.pruned = None, True
        logger.info("Ended early: %s.", error)
    except (Exception, SystemExit) as error:
        interrupt.settle()
        told = explain_refusal(error)
        outcome.failure = told or brief(error)
        if told:
            logger.error("Error: %s", told)
        else:
            logger.exception("This job failed.")
    finally:
        outcome.seconds = dict(SPENT)
        _leave(outcome, number)


def _run(config: DictConfig, number: int, outcome: Outcome) -> None:
    """Check the configuration, and do what is left of its run."""
    outcome.config = read_settings(config, job_choices())
    run = find_run(outcome.config)
    outcome.path = str(run.path)
    _leave(outcome, number)
    if outcome.at_once > 1:
        share_terminal(run.name)
    run_job(outcome.config, run, trial_watch(run))


def _leave(outcome: Outcome, number: int) -> None:
    write_json(Path(os.environ[OUTCOMES]) / f"{number}.json", asdict(outcome))


def _join_others(jobs: int, number: int) -> None:
    """Leave room for the other processes of a sweep, on the terminal and among the cores."""
    share_terminal(f"job {number}")
    if number == 0 and jobs > (cores := physical_cores()):
        logger.warning(
            "%d jobs at once (hydra.launcher.n_jobs) on %d cores: they take turns, and need the "
            "memory of %d. Unless they wait for a GPU, hydra.launcher.n_jobs=%d is as fast.",
            *(jobs, cores, jobs, cores),
        )
    _take_share(jobs)


@cache  # a process may do several jobs, one after the other
def _take_share(jobs: int) -> None:
    take_cores(max(1, physical_cores() // jobs))


def take_cores(count: int) -> None:
    """Use `count` of the cores from now on."""
    os.environ["LOKY_MAX_CPU_COUNT"] = str(count)  # `physical_cores` heeds it
    torch.set_num_threads(min(count, torch.get_num_threads()))


def time_sweep(jobs: Sequence[Job]) -> None:
    """Time the finished runs of a sweep in one interleaved session, if one of them lacks a timing.

    Latencies that were taken one after the other, each after its own training, would compare the
    hours of the day rather than the networks. W&B gets the new rows.

    Args:
        jobs: those that ended well. Jobs that ask for other timings have a session of their own.

    Raises:
        InputError: a run has lost its test images, or another process is working on one.
    """
    groups: dict[str, list[Job]] = defaultdict(list)
    for config, run in jobs:
        groups[json.dumps(config["deploy"], sort_keys=True)].append((config, run))
    for alike in groups.values():
        configs = {run: config for config, run in alike}
        with locked(*(run.path for run in configs)):
            plan = plan_timing(alike[0][0]["deploy"])
            convert_all(list(configs), plan)
            done = time_together(list(configs), plan)
            for run, phrases in done.items():
                if phrases:
                    with tracked(run, configs[run], job="benchmark") as opened:
                        log_results(opened, run)


def describe_times(outcomes: Sequence[Outcome]) -> str:
    """One line that tells where the time of this command went, in whole seconds.

    The parts of jobs are summed: side by side, they add up to more than the jobs took.
    """
    parts: dict[str, float] = defaultdict(float)
    for outcome in outcomes:
        for part, seconds in outcome.seconds.items():
            parts[part] += seconds
    parts["other"] = parts.pop("job", 0.0) - sum(parts.values())
    at_once = max((outcome.at_once for outcome in outcomes), default=1)
    beside = f", {at_once} at once" if at_once > 1 else ""
    return (
        f"Where the time went: {_count(outcomes)} {SPENT['jobs']:.0f} s{beside} "
        f"({_list(parts)}), {_list({part: SPENT[part] for part in ('timing', 'report')})}."
    )


def _count(jobs: Sequence[Outcome]) -> str:
    return "1 job" if len(jobs) == 1 else f"{len(jobs)} jobs"


def _list(seconds: Mapping[str, float]) -> str:
    return ", ".join(f"{part} {value:.0f} s" for part, value in seconds.items())
