"""In which runtimes the paper's claim for dynamic range quantization holds."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean

from brainseg.report.points import is_timed
from brainseg.report.rows import TableRow, order, signed, span
from brainseg.vocabulary import PAPER_MODE, REFERENCE

SMALLER, LESS_TIME = 0.75, 0.37
"""What the paper found (abstract): so much of the file, and of the time, is saved."""

FASTER = 1 / (1 - LESS_TIME)

ROUNDED = 0.01
"""What a share may fall short of the claim, which is rounded to whole percent."""

VERDICTS = ("holds with", "holds in part with", "does not hold with")


def tell_claim(rows: Iterable[TableRow]) -> list[str]:
    """A sentence on the claim, where its mode was timed in several runtimes; else nothing.

    It holds in a runtime where the file is small enough, and the mode, in every row, so much faster
    than fp32 in the same runtime; in part where it is only faster, or only in some rows.
    """
    found: dict[str, list[TableRow]] = defaultdict(list)
    for row in sorted(filter(_is_about, rows), key=order):
        found[str(row.runtime)].append(row)
    if len(found) < 2:
        return []
    verdicts: dict[str, list[str]] = {verdict: [] for verdict in VERDICTS}
    for runtime, members in found.items():
        verdicts[_judge(members)].append(f"{runtime} ({_tell(members)})")
    told = [f"{verdict} {', '.join(where)}" for verdict, where in verdicts.items() if where]
    return [
        f"The paper's claim for dynamic range quantization ({SMALLER:.0%} smaller, {LESS_TIME:.0%} "
        f"less time, that is {FASTER:.2f} times as fast) {'; '.join(told)}. Compared with "
        f"{REFERENCE} in the same runtime, on test."
    ]


def _is_about(row: TableRow) -> bool:
    return row.mode == PAPER_MODE and is_timed(row) and None not in (row.speedup, row.size_ratio)


def _judge(rows: Sequence[TableRow]) -> str:
    speedups = [row.speedup or 0 for row in rows]
    small = 1 - max(row.size_ratio or 1 for row in rows) >= SMALLER - ROUNDED
    if small and min(speedups) >= FASTER - ROUNDED:
        return VERDICTS[0]
    return VERDICTS[1] if max(speedups) > 1 else VERDICTS[2]


def _tell(rows: Sequence[TableRow]) -> str:
    smaller = fmean(1 - (row.size_ratio or 1) for row in rows)
    faster = span([f"{row.speedup:.2f}" for row in rows])
    changes = [row.delta_mean_iou for row in rows if row.delta_mean_iou is not None]
    change = f", mean IoU {signed(fmean(changes))}" if changes else ""
    return f"{smaller:.0%} smaller, {faster} times as fast{change}"
