"""Rows to points of accuracy, latency and size: what the answer and figures compare."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from brainseg.report.rows import TableRow, name_mode, order, varying_options
from brainseg.vocabulary import REFERENCE_RUNTIME

Place = tuple[str | None, int | None]
"""Device and threads: latencies are compared within."""


@dataclass(frozen=True)
class Point:
    """One configuration of one variant in one place; at least one of its seeds was timed.

    Attributes:
        mode: with the options that distinguish it from others.
        rows: one per seed.
        baseline: the reference of every seed of the variant in that place.
    """

    mode: str
    rows: tuple[TableRow, ...]
    baseline: tuple[TableRow, ...]

    @property
    def name(self) -> str:
        """Mode and runtime."""
        return f"{self.mode} with {self.rows[0].runtime}"

    @property
    def brief(self) -> str:
        """Mode, and the runtime where it is not onnxruntime."""
        return self.mode if self.rows[0].runtime == REFERENCE_RUNTIME else self.name

    @property
    def is_reference(self) -> bool:
        """Whether its rows are the references."""
        return self.rows[0].is_reference

    @property
    def latency(self) -> float:
        """Median latency of one image in ms, mean over the seeds that were timed."""
        return fmean(_latencies(self.rows))

    @property
    def pace(self) -> float:
        """Latency as a share of the reference's, in ms where the reference was not timed."""
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
        return any(row.noisy for row in self.rows)

    @property
    def speedup(self) -> float | None:
        """How much faster it is than the reference, timed in the same session."""
        return self.mean("speedup_vs_reference")

    def mean(self, key: str) -> float | None:
        """Mean of a number of the rows that have it."""
        return mean_of(self.rows, key)

    def expected(self, key: str) -> float | None:
        """The mean of a number as if all seeds of the variant had it.

        It is the reference's mean plus the change in the configuration's own seeds: which seeds it
        has makes no difference.
        """
        changes, baseline = self.changes(key), mean_of(self.baseline, key)
        return fmean(changes) + baseline if changes and baseline is not None else self.mean(key)

    def changes(self, key: str) -> list[float]:
        """A number of each row minus that of its reference, where both have it."""
        by_run = {row.run: getattr(row, key) for row in self.baseline}
        pairs = [(getattr(row, key), by_run.get(row.run)) for row in self.rows]
        return [value - before for value, before in pairs if None not in (value, before)]


def mean_of(rows: Iterable[TableRow], key: str) -> float | None:
    """Mean of a number of those rows that have it; `None` where none has."""
    known = [value for row in rows if (value := getattr(row, key)) is not None]
    return fmean(known) if known else None


def is_measured(row: TableRow) -> bool:
    """Whether a row is about one image at a time on a device, and was measured."""
    return row.status == "ok" and row.batch == 1 and row.device is not None


def is_timed(row: TableRow) -> bool:
    """Whether a measured row has a latency."""
    return is_measured(row) and row.median_ms is not None


def place_of(row: TableRow) -> Place:
    """Where a row was measured."""
    return row.device, row.threads


def name_places(rows: Iterable[TableRow]) -> dict[Place, str]:
    """The places of `rows` in their order; threads are named where a device has several."""
    places = list(dict.fromkeys(map(place_of, sorted(rows, key=order))))
    devices = Counter(device for device, _ in places)
    return {
        place: f"{place[0]} (threads {place[1]})" if devices[place[0]] > 1 else str(place[0])
        for place in places
    }


def usual_threads(rows: Iterable[TableRow]) -> dict[tuple[str, str | None], int | None]:
    """By variant and device, the number of threads with which configurations are compared.

    Of those with which two of them were timed, or one where there are no two: the one with which
    fp32 is fastest, or the largest where that is unknown.
    """
    timed = list(filter(is_timed, rows))
    counts = Counter(key[:3] for key in {(*_use(row), row.key) for row in timed})
    speeds = {_use(row): 1 / (row.median_ms or 1) for row in timed if row.is_reference}
    ranked = sorted(counts, key=lambda key: (counts[key] > 1, speeds.get(key, 0), key[2] or 0))
    return {(variant, device): threads for variant, device, threads in ranked}


def _use(row: TableRow) -> tuple[str, str | None, int | None]:
    return row.variant, row.device, row.threads


def collect_points(rows: Iterable[TableRow]) -> list[Point]:
    """The points of the measured rows, in the order of the table."""
    rows = list(rows)
    varying = varying_options(rows)
    merged: dict[tuple[str, str], list[TableRow]] = defaultdict(list)
    baselines: dict[tuple[str, Place], list[TableRow]] = defaultdict(list)
    for row in sorted(filter(is_measured, rows), key=order):
        merged[row.variant, row.key].append(row)
        if row.is_reference:
            baselines[row.variant, place_of(row)].append(row)
    return [
        Point(
            name_mode(first := members[0], varying),
            tuple(members),
            tuple(baselines[first.variant, place_of(first)]),
        )
        for members in merged.values()
        if any(map(is_timed, members))
    ]


def scored_points(points: Sequence[Point]) -> list[Point]:
    """The points that have a `mean_iou`, with their `usual_threads`."""
    usual = usual_threads(row for point in points for row in point.rows)
    return [
        point
        for point in points
        if point.mean("mean_iou") is not None
        and usual[(first := point.rows[0]).variant, first.device] == first.threads
    ]


def dominates(costs: Sequence[float], others: Sequence[float]) -> bool:
    """Whether `costs` are nowhere above `others`, and somewhere below."""
    pairs = list(zip(costs, others, strict=True))
    return all(cost <= other for cost, other in pairs) and any(a < b for a, b in pairs)


def _latencies(rows: Iterable[TableRow]) -> list[float]:
    return [row.median_ms for row in rows if row.median_ms is not None]
