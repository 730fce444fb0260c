"""What quantization changes: the table of each mode against fp32 in the same place."""

import json
from collections import defaultdict
from collections.abc import Sequence

from brainseg.evaluation.equivalence import Verdict, equivalent_within, judge
from brainseg.report.points import mean_of
from brainseg.report.render import Table
from brainseg.report.rows import (
    NOTHING,
    TableRow,
    mean_interval,
    name_device,
    name_mode,
    order,
    signed,
    to_text,
    varying_options,
)
from brainseg.run import place_name
from brainseg.vocabulary import REFERENCE

TITLE = "What quantization changes"

COLUMNS = (
    *("Variant", "Mode", "Device", "Δ validation", "Equivalent within"),
    *("Δ test", "Equivalent within, test", "Δ probability", "Pixels changed", "Δ Dice"),
)
NUMERIC = COLUMNS[3:]

UNCOMPARED = (
    "Older versions did not compare some of these rows: `brainseg quantize RUN --mode all` does, "
    "from the scores that are kept."
)


def change_table(rows: Sequence[TableRow], margin: float) -> Table:
    """A row for each mode of a variant, and each place where it has scores of its own.

    Seeds are averaged, and so are the ends of their intervals.

    Args:
        rows: those of `table.json`.
        margin: within which a change does not matter.
    """
    merged: dict[tuple[str, str], dict[str, TableRow]] = defaultdict(dict)
    for row in sorted(filter(_is_compared, rows), key=order):
        # Other threads and batches, and places that take scores over, have the same.
        merged[row.variant, _scored_as(row)].setdefault(row.run, row)
    varying = varying_options(rows)
    cells = []
    for members in ([*found.values()] for found in merged.values()):
        first = members[0]
        names = [first.variant, name_mode(first, varying), name_device(first, ())]
        cells.append([*names, *_changes(members, margin)])
    notes = [_note(margin)]
    if any(row.lacks_tost for found in merged.values() for row in found.values()):
        notes.append(UNCOMPARED)
    return Table(TITLE, COLUMNS, cells, notes, NUMERIC)


def _is_compared(row: TableRow) -> bool:
    return row.status == "ok" and not row.is_baseline and row.delta_mean_iou is not None


def _scored_as(row: TableRow) -> str:
    """The same for rows of a variant that have the same scores."""
    place = row.scores_from or place_name(str(row.runtime), str(row.device), row.precision)
    return json.dumps([row.mode, row.options, place], sort_keys=True)


def _changes(rows: Sequence[TableRow], margin: float) -> list[str]:
    val, test = (
        mean_interval([(row.tost or {}).get(part) for row in rows]) for part in ("val", "test")
    )
    probability, pixels = mean_of(rows, "probability_mae"), mean_of(rows, "disagreement")
    dice = mean_interval([row.delta_dice_interval for row in rows])
    return [
        _change(mean_of(rows, "delta_val_mean_iou"), val),
        _equivalence(val, margin),
        _change(mean_of(rows, "delta_mean_iou"), test),
        _equivalence(test, margin),
        NOTHING if probability is None else f"{probability:.2g}",
        NOTHING if pixels is None else f"{100 * pixels:.2g} %",
        _change(mean_of(rows, "delta_dice"), dice),
    ]


def _change(change: float | None, interval: Sequence[float] | None) -> str:
    if change is None:
        return NOTHING
    return signed(change) + (f" ({to_text(interval)})" if interval else "")


def _equivalence(interval: Sequence[float] | None, margin: float) -> str:
    verdict = judge(interval, margin)
    return f"{equivalent_within(interval):.4f} ({verdict})" if interval and verdict else NOTHING


def _note(margin: float) -> str:
    return (
        f"Against {REFERENCE} in the same runtime on the same device. In brackets: 90 % intervals "
        "over patients, of Δ Dice 95 %, not corrected for the number of rows. Equivalent within: "
        "the smallest margin at which two one-sided tests at 5 % pass, as the interval lies "
        f"within it. At a margin of {margin:g} (--margin): {Verdict.equivalent}, both pass; "
        f"{Verdict.not_worse}, a larger loss is excluded, but not a larger gain; "
        f"{Verdict.not_shown}, patients are too few to tell; {Verdict.worse}, more is lost. Δ "
        "probability: mean absolute change of a pixel's probability, from maps with a resolution "
        "of 1/255; pixels changed: the share on the other side of the threshold; both on test. Δ "
        "Dice: of test images with tumour."
    )
