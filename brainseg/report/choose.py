"""The fastest configuration of a variant whose loss on validation is within the budget."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from statistics import fmean

from brainseg.report.points import Point, collect_points, dominates
from brainseg.report.rows import REFERENCE, RUNTIME, Row, is_reference

BUDGET = 0.0004
"""Mean IoU that a mode may lose on validation, where its options name no `max_drop` of their own:
what the paper's best variant lost."""

LEARNED = 0.5
"""Tumour IoU on test from which on a loss says something: who finds nothing loses nothing."""

TIE = 1.02
"""Latencies that differ by no more than this factor are the same: the smaller file wins."""

TOLERANCE = 1e-9
"""Of a loss that equals the budget but for rounding."""


@dataclass(frozen=True)
class Finding:
    """A short clause with at most one number, so that clauses of several variants can be merged.

    Attributes:
        text: the clause, `{}` in the place of the number.
        number: the number as people read it.
    """

    text: str
    number: str = ""


@dataclass(frozen=True)
class Choice:
    """What one variant should run as in one place.

    Attributes:
        best: the recommended point; the fastest one where there is a doubt.
        doubt: why nothing can be recommended on accuracy, if that is so.
        others: why each of the other configurations lost, by name.
        unlearned: seeds that were left out because they find too little tumour.
    """

    best: Point
    doubt: Finding | None
    others: Mapping[str, Finding]
    unlearned: int = 0


def choose(rows: Sequence[Row]) -> Choice | None:
    """Choose among the measured rows of one variant in one place.

    Of the points whose loss on *validation* against fp32 with onnxruntime is within the budget,
    and which no other of them beats in accuracy there, latency and size at once, it is the
    fastest; among equally fast ones the smallest. The test split has no say, but for whether the
    network has learned at all.

    Returns:
        `None` where fewer than two configurations were timed.
    """
    references = {row["run"]: row for row in rows if is_reference(row)}
    learned = {run for run, row in references.items() if (row["tumor_iou"] or 0) >= LEARNED}
    points = collect_points(row for row in rows if not learned or row["run"] in learned)
    if len(points) < 2:
        return None
    if doubt := _doubt(points, references.values(), learned):
        return Choice(min(points, key=_pace), doubt, {})
    fitting = [point for point in points if _fits(point)]
    best = _fastest([point for point in fitting if not _is_dominated(point, fitting)])
    # fp32 with onnxruntime is what all are compared with; that it is slower needs no clause.
    losers = [point for point in points if point != best and not is_reference(point.rows[0])]
    others = {point.brief: _why_not(point, best) for point in losers}
    return Choice(best, None, others, len(references) - len(learned))


def _fastest(points: Sequence[Point]) -> Point:
    limit = TIE * min(map(_pace, points))
    return min((point for point in points if point.pace <= limit), key=lambda p: p.mib or inf)


def _doubt(points: Sequence[Point], references: Iterable[Row], learned: set[str]) -> Finding | None:
    scores = [row["tumor_iou"] for row in references if row["tumor_iou"] is not None]
    if not scores:
        return Finding(f"{REFERENCE} with {RUNTIME} was not scored there")
    if not learned:
        text = f"with {{}} on test the tumour IoU of {REFERENCE} is below {LEARNED:g}, too low for "
        return Finding(text + "a small loss to mean anything", f"{fmean(scores):.2f}")
    if not any(point.changes("val_mean_iou") for point in points):
        return Finding("validation was not scored, run `brainseg quantize RUN --mode all`")
    return None


def _fits(point: Point) -> bool:
    loss = _loss(point)
    return loss is not None and loss <= _budget(point) + TOLERANCE


def _loss(point: Point) -> float | None:
    """Mean IoU that is lost on validation."""
    changes = point.changes("val_mean_iou")
    return -fmean(changes) if changes else None


def _budget(point: Point) -> float:
    own = (point.rows[0]["options"] or {}).get("max_drop")
    return BUDGET if own is None else own


def _pace(point: Point) -> float:
    return point.pace


def _is_dominated(point: Point, points: Iterable[Point]) -> bool:
    return any(_beats(other, point) for other in points)


def _beats(point: Point, other: Point) -> bool:
    """Whether it dominates; latencies that tie make no difference."""
    (error, pace, size), (other_error, other_pace, other_size) = _costs(point), _costs(other)
    if max(pace, other_pace) <= TIE * min(pace, other_pace):
        pace = other_pace
    return dominates((error, pace, size), (other_error, other_pace, other_size))


def _costs(point: Point) -> tuple[float, float, float]:
    """What should be low: error on validation, time, MiB."""
    return -(point.expected("val_mean_iou") or 0), point.pace, point.mib or inf


def _why_not(point: Point, best: Point) -> Finding:
    """The plainest reason: no loss needs to be told of what is no faster than fp32."""
    noisy = ", noisy" if point.noisy else ""
    number = None if point.speedup is None else f"{point.speedup:.1f}"
    if number == "1.0":
        return Finding(f"same speed as {REFERENCE}{noisy}")
    if number and float(number) < 1:
        return Finding(f"slower than {REFERENCE} ({{}}×{noisy})", number)
    if not _fits(point):
        return _too_lossy(_loss(point), _budget(point))
    speed = f"{{}} ms{noisy}" if number is None else f"{{}}×{noisy}"
    number = number or f"{point.latency:.1f}"
    if _beats(best, point):
        return Finding(f"dominated by {best.brief} ({speed})", number)
    return Finding(f"only {speed}", number)


def _too_lossy(loss: float | None, budget: float) -> Finding:
    if loss is None:
        return Finding("not scored on validation")
    number = f"{loss:.4f}"
    if float(number) <= budget:  # only its rounded value is within
        number = f"{loss:.6f}"
    return Finding(f"loses {{}} on validation, more than {budget:g}", number)
