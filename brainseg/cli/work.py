"""Work on many runs: one that fails does not stop the others."""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from brainseg import interrupt
from brainseg.errors import DamagedFile, InputError, in_words
from brainseg.experiment import find_runs
from brainseg.lock import locked
from brainseg.run import Run

if TYPE_CHECKING:
    from brainseg.benchmark.plan import TimingPlan

logger = logging.getLogger(__name__)


def found_runs(paths: list[Path]) -> list[Run]:
    """The trained runs below some folders, each once; others are named and skipped.

    Raises:
        InputError: none of them is trained.
    """
    runs = list({run.path.resolve(): run for path in paths for run in find_runs(path)}.values())
    trained = [run for run in runs if _is_trained(run)]
    for run in runs:
        if run not in trained:
            print(f"{run.path}: skipped, its training is not finished")
    if not trained:
        raise InputError("None of these runs is trained. Finish their training first.")
    return trained


def _is_trained(run: Run) -> bool:
    try:
        return run.is_trained()
    except DamagedFile:
        return True  # it is told what is wrong, and with which file, when it is worked on


Done = tuple[list[Run], dict[Run, str]]
"""The runs that changed, and why others failed."""


def do_each(runs: Sequence[Run], work: Callable[[Run], list[str]]) -> Done:
    """Do `work` on each run; one that fails does not stop the others."""
    changed: list[Run] = []
    failed: dict[Run, str] = {}
    for run in runs:
        try:
            with locked(run.path):
                done = work(run)
        except Exception as error:  # whatever it is, the other runs can still be done
            interrupt.settle()
            failed[run] = f"{run.path}: {in_words(error)}"
            continue
        print(f"{run.path}: {', '.join(done) or 'up to date, nothing to do'}")
        changed += [run] if done else []
    return changed, failed


def time_experiments(runs: Sequence[Run], plan: "TimingPlan") -> Done:
    """Time the runs of each experiment together."""
    from brainseg.benchmark.together import time_together
    from brainseg.deploy.litert import convert_all

    experiments: dict[Path, list[Run]] = defaultdict(list)
    for run in runs:
        experiments[run.experiment].append(run)
    changed: list[Run] = []
    failed: dict[Run, str] = {}
    for experiment, members in experiments.items():
        try:
            with locked(*(run.path for run in members)):
                convert_all(members, plan)
                timed = time_together(members, plan)
        except Exception as error:  # whatever it is, the other experiments can still be timed
            interrupt.settle()
            failed[members[0]] = f"{experiment}: {in_words(error)}"
            continue
        for run, done in timed.items():
            if done:
                print(f"{run.path}: {', '.join(done)}")
                changed.append(run)
    return changed, failed


def report_done(done: Done, job: str) -> None:
    """As `finish`, for what `do_each` gave."""
    changed, failed = done
    finish(list(dict.fromkeys(changed)), job, list(failed.values()))


def finish(runs: list[Run], job: str, failed: list[str]) -> None:
    """Renew and print the reports of the runs' experiments, then mirror the runs.

    Args:
        runs: that changed.
        job: what was done, for W&B.
        failed: what went wrong before.

    Raises:
        InputError: something went wrong, before or here. A mirror that fails is only a warning:
            the runs are the same without it.
    """
    from brainseg.report.write import show_report

    for experiment in dict.fromkeys(run.experiment for run in runs):
        try:
            show_report(experiment)
        except Exception as error:  # whatever it is, it must not hide what failed before
            interrupt.settle()
            failed = [*failed, f"{experiment}: {in_words(error)}"]
    for run in filter(lambda run: run.wandb.exists(), runs):
        from brainseg.tracking.wandb_run import mirror_results  # importing wandb takes a second

        try:
            mirror_results(run, job)
        except Exception as error:  # whatever it is, the files are what counts
            interrupt.settle()
            logger.warning("%s: its new results are not in W&B: %s", run.path, in_words(error))
    if failed:
        raise InputError("\n".join(failed))
