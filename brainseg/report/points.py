"""Rows to points of accuracy, latency and size: what recommendation and figures compare."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from brainseg.report.rows import (
    RUNTIME,
    SETTINGS,
    Row,
    canonical,
    is_reference,
    name_mode,
    order,
    varying_options,
)

Place = tuple[str, int | None]
"""Device and threads: latencies are compared within."""


@dataclass(frozen=True)
class Point:
    """One configuration of one variant in one place; at least one of its seeds was timed.

    Attributes:
        mode: with the options that tell it from others.
        rows: one per seed.
        baseline: fp32 with onnxruntime of every seed of the variant in that place.
    """

    mode: str
    rows: tuple[Row, ...]
    baseline: tuple[Row, ...]

    @property
    def name(self) -> str:
        """Mode and runtime."""
        return f"{self.mode} with {self.rows[0]['runtime']}"

    @property
    def brief(self) -> str:
        """Mode and runtime as in the table: onnxruntime where none is named."""
        return self.mode if self.rows[0]["runtime"] == RUNTIME else self.name

    @property
    def references(self) -> list[Row | None]:
        """Of each row the one of the same run in the baseline, if it was measured."""
        by_run = {row["run"]: row for row in self.baseline}
        return [by_run.get(row["run"]) for row in self.rows]

    @property
    def latency(self) -> float:
        """Median latency of one image in ms, mean over the seeds that were timed."""
        return fmean(_latencies(self.rows))

    @property
    def pace(self) -> float:
        """Latency as a share of the reference's, measured within one session where it can be.

        In ms where the reference was not timed, and so no configuration has a ratio.
        """
        reference = _latencies(self.baseline)
        if not reference:
            return self.latency
        return 1 / self.speedup if self.speedup else self.latency / fmean(reference)

    @property
    def mib(self) -> float | None:
        """Size of the file in MiB."""
        size = self.mean("size_bytes")
        return None if size is None else size / 2**20

    @property
    def noisy(self) -> bool:
        """Whether any of its timings is."""
        return any(row["noisy"] for row in self.rows)

    @property
    def speedup(self) -> float | None:
        """How much faster it is than fp32 with onnxruntime, timed in the same session."""
        found = [
            speedup
            for row, reference in zip(self.rows, self.references, strict=True)
            if (speedup := _speedup(row, reference)) is not None
        ]
        return fmean(found) if found else None

    def mean(self, key: str) -> float | None:
        """Mean of a number of the rows, where one has it."""
        values = [row[key] for row in self.rows if row[key] is not None]
        return fmean(values) if values else None

    def expected(self, key: str) -> float | None:
        """The mean that a number would have over all seeds of the variant.

        That of the reference plus what the configuration changes in the seeds that it has: so
        configurations with fewer seeds do not differ by the luck of their seeds.
        """
        changes = self.changes(key)
        if not changes:
            return self.mean(key)
        return fmean(changes) + fmean(row[key] for row in self.baseline if row[key] is not None)

    def changes(self, key: str) -> list[float]:
        """A number of each row minus that of its reference, where both have it."""
        return [
            row[key] - reference[key]
            for row, reference in zip(self.rows, self.references, strict=True)
            if reference and row[key] is not None and reference[key] is not None
        ]


def is_measured(row: Row) -> bool:
    """Whether a row is about one image at a time, and nothing kept it from being measured."""
    return row["status"] == "ok" and row["batch"] == 1


def is_timed(row: Row) -> bool:
    """Whether a measured row has a latency."""
    return is_measured(row) and (row["latency_ms"] or {}).get("p50") is not None


def place_of(row: Row) -> Place:
    """Where a row was measured."""
    return row["device"], row["threads"]


def name_places(rows: Iterable[Row]) -> dict[Place, str]:
    """The places of `rows` in their order; threads are named where a device has several."""
    places = list(dict.fromkeys(place_of(row) for row in sorted(rows, key=order)))
    devices = [device for device, _ in places]
    return {
        (device, threads): device if devices.count(device) == 1 else f"{device} (threads {threads})"
        for device, threads in places
    }


def collect_points(rows: Iterable[Row]) -> list[Point]:
    """The points of the measured rows, in the order of the table.

    A configuration is a point where one of its seeds was timed; scores are of all its seeds.
    """
    rows = list(rows)
    varying = varying_options(rows)
    merged: dict[str, list[Row]] = defaultdict(list)
    baselines: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(filter(is_measured, rows), key=order):
        merged[canonical([row["variant"], *(row[key] for key in SETTINGS)])].append(row)
        if is_reference(row):
            baselines[_name_baseline(row)].append(row)
    return [
        Point(
            name_mode(members[0], varying),
            tuple(members),
            tuple(baselines[_name_baseline(members[0])]),
        )
        for members in merged.values()
        if any(map(is_timed, members))
    ]


def _name_baseline(row: Row) -> str:
    return canonical([row["variant"], place_of(row)])


def scored_points(points: Sequence[Point]) -> list[Point]:
    """The points that have a `mean_iou`."""
    return [point for point in points if point.mean("mean_iou") is not None]


def dominates(costs: Sequence[float], others: Sequence[float]) -> bool:
    """Whether `costs` are nowhere above `others`, and somewhere below."""
    pairs = list(zip(costs, others, strict=True))
    return all(cost <= other for cost, other in pairs) and any(a < b for a, b in pairs)


def _speedup(row: Row, reference: Row | None) -> float | None:
    if row["speedup_vs_reference"] is not None:
        return row["speedup_vs_reference"]
    # Medians of two sessions are no ratio: the machine may have changed between them.
    if reference is None or not (is_timed(row) and is_timed(reference)):
        return None
    if row["session"] is None or row["session"] != reference["session"]:
        return None
    return reference["latency_ms"]["p50"] / row["latency_ms"]["p50"]


def _latencies(rows: Iterable[Row]) -> list[float]:
    return [row["latency_ms"]["p50"] for row in rows if is_timed(row)]
