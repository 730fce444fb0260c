"""Rows of `table.json`: what they hold, their order, and how people read them."""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from statistics import fmean
from typing import Any

from brainseg import vocabulary
from brainseg.row import Row
from brainseg.vocabulary import REFERENCE_RUNTIME, rank

NOTHING = "–"
"""The cell of what was not measured, or is undefined."""


@dataclass(frozen=True, kw_only=True)
class TableRow(Row):
    """A row of `deploy.json` with its run; without a mode, why the run has nothing to show.

    Attributes:
        run: its folder within the experiment.
        variant: the same for runs that differ in nothing but the seed.
        attention: empty where the network has none to choose.
        data: name of the data set.
        split: how it was split.
        part: of the split, where scores are of.
        n: images in that part.
        seed: of the training.
        commit: of the code that trained it.
    """

    run: str
    variant: str
    attention: str | None = None
    data: str | None = None
    split: str | None = None
    part: str = "test"
    n: int | None = None
    seed: int | None = None
    commit: str | None = None
    mode: str | None = None  # type: ignore[assignment]
    runtime: str | None = None  # type: ignore[assignment]
    device: str | None = None  # type: ignore[assignment]
    threads: int | None = None  # type: ignore[assignment]
    measured_at: str | None = None  # type: ignore[assignment]


_DEPLOYED = [each.name for each in fields(Row)]

COLUMNS = tuple(
    sorted((each.name for each in fields(TableRow)), key=lambda name: name in _DEPLOYED)
)
"""The keys of a row: those of its run first."""


def order(row: TableRow) -> tuple[Any, ...]:
    """Sort key of a row."""
    return (
        rank(row.attention, vocabulary.STUDY),
        row.variant,
        rank(row.mode, vocabulary.MODES),
        rank(row.device, vocabulary.DEVICES),
        rank(row.runtime, vocabulary.RUNTIMES),
        row.batch,
        row.threads or 0,
        (bool(row.options), json.dumps(row.options, sort_keys=True)),
        row.run,
    )


def varying_options(rows: Iterable[Row]) -> set[tuple[str, str]]:
    """Mode and name of each option that has several values among the rows of its mode."""
    values: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        for key, value in row.options.items():
            values[row.mode, key].add(json.dumps(value, sort_keys=True))
    return {option for option, found in values.items() if len(found) > 1}


def name_mode(row: Row, varying: set[tuple[str, str]]) -> str:
    """The mode with the options that distinguish it from others, such as `fp32 (bf16)`."""
    mode = vocabulary.MODES.get(row.mode)
    usual = {key: opt.default for key, opt in (mode.options if mode else {}).items() if opt.telling}
    shown = [
        _name_option(key, value)
        for key, value in row.options.items()
        if value != usual.get(key, value) or key == "precision" or (row.mode, key) in varying
    ]
    options = ", ".join(filter(None, shown))
    return f"{row.mode} ({options})" if options else row.mode


def _name_option(key: str, value: Any) -> str:
    words = "drop" if key == "max_drop" else key.replace("_", " ")
    if value is None or value is False:
        return ""
    if value is True:
        return words
    if isinstance(value, (int, float)) or key == "weight_bits":
        return f"{words} {value:g}" if isinstance(value, float) else f"{words} {value}"
    if isinstance(value, list):
        return f"{len(value)} {words}"
    return str(value)


def name_device(row: Row, several: Collection[str | None]) -> str:
    """The device with what distinguishes the row: runtime, batch, and threads on the `several`."""
    if row.device is None:
        return NOTHING
    extras = [
        row.runtime if row.runtime != REFERENCE_RUNTIME else None,
        f"batch {row.batch}" if row.batch > 1 else None,
        f"threads {row.threads}" if row.device in several and row.threads else None,
    ]
    return " ".join([row.device, *(f"({extra})" for extra in extras if extra)])


def with_several_threads(rows: Iterable[Row]) -> set[str]:
    """The devices on which several numbers of threads were used."""
    found = {(row.device, row.threads) for row in rows if row.threads is not None}
    return {device for device, count in Counter(device for device, _ in found).items() if count > 1}


def span(numbers: Sequence[str]) -> str:
    """The number if all are the same, otherwise the lowest and the highest."""
    ends = sorted(numbers, key=lambda number: float(number or 0))
    return "–".join(dict.fromkeys([ends[0], ends[-1]]))


def decimals(value: float | None, digits: int = 4) -> str:
    """A number with a fixed number of decimals."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def mean_interval(intervals: Sequence[Sequence[float] | None]) -> tuple[float, float] | None:
    """The means of their ends, one per seed; `None` where a seed has none.

    No narrower than the interval of the mean: its spread is at most the mean of their spreads.
    """
    known = [interval for interval in intervals if interval is not None]
    if not known or len(known) < len(intervals):
        return None
    low, high = map(fmean, zip(*known, strict=True))
    return low, high


def to_text(interval: Sequence[float]) -> str:
    """The ends of an interval of a change."""
    return " to ".join(map(signed, interval))


def signed(value: float) -> str:
    """A change with its sign and four decimals."""
    text = f"{value:+.4f}"
    return text.replace("-", "−") if float(text) else "0.0000"
