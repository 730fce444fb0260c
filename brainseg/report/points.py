"""Timed rows to points of accuracy, latency and size: what recommendation and figure compare."""

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
    """One configuration of one variant in one place; means over its seeds.

    Attributes:
        mode: with the options that tell it from others.
        rows: one per seed.
        references: of each row fp32 with onnxruntime of the same run in the same place, if it was
            measured.
    """

    mode: str
    rows: tuple[Row, ...]
    references: tuple[Row | None, ...]

    @property
    def name(self) -> str:
        """Mode and runtime."""
        return f"{self.mode} with {self.rows[0]['runtime']}"

    @property
    def brief(self) -> str:
        """Mode and runtime as in the table: onnxruntime where none is named."""
        return self.mode if self.rows[0]["runtime"] == RUNTIME else self.name

    @property
    def latency(self) -> float:
        """Median latency of one image in ms."""
        return fmean(row["latency_ms"]["p50"] for row in self.rows)

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

    def changes(self, key: str) -> list[float]:
        """A number of each row minus that of its reference, where both have it."""
        return [
            row[key] - reference[key]
            for row, reference in zip(self.rows, self.references, strict=True)
            if reference and row[key] is not None and reference[key] is not None
        ]


def is_timed(row: Row) -> bool:
    """Whether a row was measured one image at a time."""
    latency = (row["latency_ms"] or {}).get("p50")
    return row["status"] == "ok" and row["batch"] == 1 and latency is not None


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
    """The points of the timed rows, in the order of the table."""
    rows = list(rows)
    varying = varying_options(rows)
    timed = sorted(filter(is_timed, rows), key=order)
    references = {(row["run"], place_of(row)): row for row in timed if is_reference(row)}
    merged: dict[str, list[Row]] = defaultdict(list)
    for row in timed:
        merged[canonical([row["variant"], *(row[key] for key in SETTINGS)])].append(row)
    return [
        Point(
            name_mode(members[0], varying),
            tuple(members),
            tuple(references.get((row["run"], place_of(row))) for row in members),
        )
        for members in merged.values()
    ]


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
    if reference is None or row["session"] is None or row["session"] != reference["session"]:
        return None
    return reference["latency_ms"]["p50"] / row["latency_ms"]["p50"]
