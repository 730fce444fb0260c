"""Which configurations may be recommended: what they lose on validation, and what is shown."""

from collections.abc import Sequence
from statistics import fmean

from brainseg.evaluation.equivalence import DIGITS, MARGIN, is_not_worse
from brainseg.report.points import Point
from brainseg.report.rows import TableRow, mean_interval, to_text
from brainseg.vocabulary import REFERENCE

BUDGET = MARGIN
"""Mean IoU that a mode may lose on validation as measured, unless its `max_drop` says otherwise."""

UNTESTED = "not tested over patients"


def accept(points: Sequence[Point], margin: float) -> list[Point]:
    """The configurations of one variant in one place that may be recommended.

    Their loss on *validation* against the reference is within the budget, and they are shown not to
    lose more than the margin: non-inferiority, so that a gain is never refused. Where none can be
    tested, the budget alone decides. The test split plays no part.

    Args:
        points: the configurations, all in one place.
        margin: the largest loss of mean IoU that does not matter.
    """
    within = [point for point in points if is_within_budget(point)]
    if not can_test(points):
        return within
    return [point for point in within if is_shown(point, margin)]


def can_test(points: Sequence[Point]) -> bool:
    """Whether the change of any mode has an interval over patients."""
    return any(_is_changed(point) and interval_of(point) for point in points)


def is_within_budget(point: Point) -> bool:
    """Whether its mean loss on validation is within `BUDGET`, or its own `max_drop`."""
    loss, own = loss_of(point), _max_drop(point)
    return loss is not None and round(loss, DIGITS) <= (BUDGET if own is None else own)


def is_shown(point: Point, margin: float) -> bool:
    """Whether a loss of more than the margin, or `max_drop` where that is more, is excluded."""
    interval = interval_of(point)
    return interval is not None and is_not_worse(interval, max(margin, _max_drop(point) or 0))


def loss_of(point: Point) -> float | None:
    """Mean IoU that it loses on validation against the reference, mean over the seeds."""
    changes = point.changes("val_mean_iou")
    return -fmean(changes) if changes else None


def interval_of(point: Point) -> tuple[float, float] | None:
    """90 % interval over patients of its change on validation against the reference.

    A row has that of its change against fp32 in its own runtime, which is moved to the change
    against the reference. fp32 itself is what is compared with, and has no interval but its change.
    """
    references = {row.run: row.val_mean_iou for row in point.baseline}
    return mean_interval([_interval(row, references.get(row.run)) for row in point.rows])


def tell_refusal(point: Point) -> str:
    """Why a configuration is not accepted."""
    loss, interval = loss_of(point), interval_of(point)
    if loss is None:
        return "was not scored on validation"
    if not is_within_budget(point):
        return f"loses {loss:.3g}"
    return f"is not shown ({to_text(interval)})" if interval else f"is {UNTESTED}"


def _interval(row: TableRow, reference: float | None) -> tuple[float, float] | None:
    if row.val_mean_iou is None or reference is None:
        return None
    change = row.val_mean_iou - reference
    if row.is_baseline:
        return change, change
    interval = (row.tost or {}).get("val")
    if interval is None or row.delta_val_mean_iou is None:
        return None
    low, high = (end + change - row.delta_val_mean_iou for end in interval)
    return low, high


def _is_changed(point: Point) -> bool:
    return any(row.mode != REFERENCE or row.options for row in point.rows)


def _max_drop(point: Point) -> float | None:
    return point.rows[0].options.get("max_drop")
