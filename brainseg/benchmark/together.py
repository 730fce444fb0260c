"""Timing what belongs together: all runs of an experiment, on each device that lacks a timing.

The heavy libraries are imported where there is something to time: having nothing to do takes no
time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from brainseg.benchmark.plan import TimingPlan
from brainseg.benchmark.ready import require_ready
from brainseg.row import Row
from brainseg.rows import read_rows, read_sessions
from brainseg.run import Run
from brainseg.runtime.open import may_be_had, runtimes_on


def time_together(runs: Sequence[Run], plan: TimingPlan) -> dict[Run, list[str]]:
    """Time all runs in one session on each device on which one of them lacks a timing.

    All runs, modes and runtimes, because ratios hold within one session. A run with a damaged file
    that is required is named and left out.

    Args:
        runs: prepared in the plan's modes.
        plan: what every run shall have been timed in.

    Returns:
        What was done with each run, a short phrase each; empty where nothing was timed.

    Raises:
        InputError: a run has no test images.
    """
    done: dict[Run, list[str]] = {run: [] for run in runs}
    runs = require_ready(runs)
    missing = {device for run in runs for _, _, device, _ in untimed(run, plan)}
    for device in filter(missing.__contains__, plan.devices):
        from brainseg.benchmark.benchmark import benchmark

        for run, rows in benchmark(runs, replace(plan, devices=(device,))).items():
            done[run] += _tell(rows)
    return done


def untimed(run: Run, plan: TimingPlan) -> list[tuple[str, str, str, int]]:
    """What was timed in no session of as many passes: mode, runtime, device, threads.

    What failed, or cannot be had on this machine, is settled too; a GPU or a runtime that has
    appeared since is tried.
    """
    passes = {name: session["passes"] for name, session in read_sessions(run).items()}
    settled = {
        (row.mode, row.runtime, row.device, row.threads)
        for row in read_rows(run)
        if _is_settled(row, plan.passes, passes)
        and row.batch == plan.batch
        and row.precision is None  # comes with fp32 in the same runtime
        and (row.network is None or row.network == run.hash_network(row.mode, row.runtime))
    }
    return [
        missing
        for device in plan.devices
        for threads in plan.threads_on(device)
        for runtime in runtimes_on(device, plan.runtimes)
        for mode in plan.modes
        if (missing := (mode, runtime, device, threads)) not in settled
    ]


def _is_settled(row: Row, passes: int, asked: Mapping[str, int]) -> bool:
    """Whether a row, which had fewer passes where its ratio was sure, need not be timed again."""
    if row.status == "failed" or max(row.passes or 0, asked.get(row.session or "", 0)) >= passes:
        return True
    return not may_be_had(row.runtime, row.device)


def _tell(rows: Iterable[Row]) -> list[str]:
    """What was timed, by device and runtime."""
    told = []
    for row in rows:
        mode = f"{row.mode} ({row.precision})" if row.precision else row.mode
        place = f"{mode} with {row.runtime} on {row.device}"
        told.append(f"timed {place}" if row.status == "ok" else f"{place}: {row.status}")
    return told
