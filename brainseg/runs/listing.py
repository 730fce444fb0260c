"""Runs below a folder, with state, age, size and what they reached."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from brainseg.errors import InputError
from brainseg.experiment import find_runs
from brainseg.lock import is_abandoned
from brainseg.run import INTERRUPTED, Run
from brainseg.terminal import bar

KEY_METRICS = ("mean_iou", "tumor_iou", "dice")
"""Those of the checkpoint on the test split that the list shows."""

MOST_REASONS = 4


@dataclass(frozen=True)
class Listed:
    """What the list says of a run.

    Attributes:
        state: `finished`, `running`, `failed`, `interrupted` or `damaged`.
        stage: how far it has come; empty where nobody can tell.
        reason: why it failed, empty where it did not.
        changed: when a file of it was last written.
        size_bytes: of all its files.
        metrics: `KEY_METRICS` that are known.
    """

    run: Run
    state: str
    stage: str
    reason: str
    changed: datetime
    size_bytes: int
    metrics: dict[str, float]


def list_runs(folder: Path) -> list[Listed]:
    """The runs below a folder, in the order of their paths.

    Raises:
        InputError: the folder does not exist, or holds no run.
    """
    return [_look_at(run) for run in bar(find_runs(folder), "Looking at runs")]


def _look_at(run: Run) -> Listed:
    stats = [file.stat() for file in files_of(run.path)]
    changed = max((stat.st_mtime for stat in stats), default=run.path.stat().st_mtime)
    state, stage, reason = _read_state(run)
    return Listed(
        run,
        state,
        stage,
        reason,
        datetime.fromtimestamp(changed),
        sum(stat.st_size for stat in stats),
        _read_metrics(run),
    )


def files_of(folder: Path) -> Iterator[Path]:
    """All files in a folder and below, hidden ones too, but none that a link points to."""
    return (file for file in folder.rglob("*") if file.is_file() and not file.is_symlink())


def _read_state(run: Run) -> tuple[str, str, str]:
    try:
        state = run.read_state()
    except InputError as error:
        return "damaged", "", str(error)
    status, stage = state["status"], state.get("stage", "")
    if status == "running" and is_abandoned(run.path):
        return INTERRUPTED, stage, "its process was killed; the same command goes on from there"
    if status == "failed" and state.get("reason") == INTERRUPTED:
        return INTERRUPTED, stage, "the same command goes on from there"
    return status, stage, state.get("reason") or ""


def _read_metrics(run: Run) -> dict[str, float]:
    try:
        metrics = run.read(run.metrics)
    except InputError:  # not scored yet, or damaged: a report says so
        return {}
    return {name: metrics[name] for name in KEY_METRICS if metrics[name] is not None}


def to_table(listed: list[Listed], now: datetime) -> Table:
    """The list for a terminal, with the size of all runs in its last row."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False, show_footer=True)
    total = tell_size(sum(each.size_bytes for each in listed))
    count = f"{len(listed)} run{'s' if len(listed) != 1 else ''}"
    for heading, footer in (("Run", count), ("State", ""), ("Age", "")):
        table.add_column(heading, footer, overflow="fold")
    for heading, footer in (("Size", total), ("Mean IoU", ""), ("Tumour IoU", ""), ("Dice", "")):
        table.add_column(heading, footer, justify="right", no_wrap=True)
    for each in listed:
        table.add_row(
            Text(str(each.run.path)),
            f"{each.state} ({each.stage})" if each.reason and each.stage else each.state,
            tell_age(now - each.changed),
            tell_size(each.size_bytes),
            *(_tell_metric(each.metrics.get(name)) for name in KEY_METRICS),
        )
    return table


def tell_reasons(listed: list[Listed]) -> list[str]:
    """Why runs are not finished, a line each for the first few."""
    told = [f"{each.run.path}: {' '.join(each.reason.split())}" for each in listed if each.reason]
    more = [f"… and {len(told) - MOST_REASONS} more"] if len(told) > MOST_REASONS else []
    return [*told[:MOST_REASONS], *more, ""] if told else []


def _tell_metric(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def tell_size(size: int) -> str:
    """Bytes for people, such as `127.1 MiB`."""
    value, units = float(size), ("B", "KiB", "MiB", "GiB")
    for unit in units:
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def tell_age(age: timedelta) -> str:
    """How long ago, in the largest unit that fits."""
    seconds = max(age.total_seconds(), 0)
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "now"
