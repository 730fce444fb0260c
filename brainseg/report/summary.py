"""Rows to a description of the table that people read."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from statistics import fmean, stdev

from brainseg.report.comparisons import Comparison, Marks, first_of, is_judged, mark
from brainseg.report.rows import (
    NOTHING,
    REFERENCE,
    RUNTIME,
    SETTINGS,
    Row,
    canonical,
    name_device,
    name_mode,
    order,
    signed,
    threads_vary,
    varying_options,
)

COLUMNS = (
    *("Attention", "Mode", "Device", "Mean IoU", "Δ mean IoU", "95 % of Δ", "Δ validation"),
    *("Tumour IoU", "Dice", "Size, MiB", "Latency, ms", "End to end, ms", "Speed-up", "Note"),
)
TEXTUAL = ("Attention", "Mode", "Device", "Note")
"""Columns that are no numbers."""


@dataclass(frozen=True)
class Table:
    """What people see, before it is Markdown or anything else.

    Attributes:
        title: one line above the table.
        groups: the cells of each row under `COLUMNS`, rows of the same variant together.
        footnotes: the text of footnote 1, 2, …, which cells name as `[1]`.
        legend: what the cells under a column mean, as sentences with the name of that column.
        captions: lines under the table.
        figure: name of a picture beside the Markdown document.
    """

    title: str
    groups: list[list[list[str]]]
    footnotes: list[str]
    legend: list[tuple[str, str]]
    captions: list[str] = field(default_factory=list)
    figure: str | None = None


def summarize(title: str, rows: Sequence[Row], comparisons: Sequence[Comparison] = ()) -> Table:
    """Describe rows of `table.json` as the paper's Table I, with this machine's numbers.

    Rows that differ in nothing but the seed become one, with mean ± standard deviation (n - 1).
    Of the `comparisons` those are marked that are beyond chance: with `†` the variants that differ
    from the first one, with `*` the modes that differ from fp32 of the same variant.
    """
    merged: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=order):
        merged[canonical([row["variant"], *(row[key] for key in SETTINGS)])].append(row)
    varying, threads = varying_options(rows), threads_vary(rows)
    footnotes: dict[str, int] = {}
    marks = mark(comparisons)
    seeds = any(len(members) > 1 for members in merged.values())
    groups = [
        [_cells(members, varying, threads, seeds, footnotes, marks) for members in variant]
        for _, variant in groupby(merged.values(), key=lambda members: members[0]["variant"])
    ]
    partly = any(map(_is_partly_timed, merged.values()))
    legend = _legend(rows, groups, comparisons, marks.values(), partly)
    return Table(title, groups, list(footnotes), legend)


def _cells(
    rows: Sequence[Row],
    varying: set[tuple[str, str]],
    threads: bool,
    seeds: bool,
    footnotes: dict[str, int],
    marks: Marks,
) -> list[str]:
    first = rows[0]
    counted = f" ({len(rows)} seed{'s' if len(rows) > 1 else ''})" if seeds else ""
    # Scores are compared as onnxruntime has them on the CPU; elsewhere they differ a little.
    here = (first["runtime"], first["device"]) in ((RUNTIME, "cpu"), (None, None))
    marked = marks.get((first["variant"], first["mode"]), "") if here else ""
    measured = [row for row in rows if row["status"] == "ok"]
    medians = [
        {key: (row[key] or {}).get("p50") for key in ("latency_ms", "end_to_end_ms")}
        for row in measured
    ]
    return [
        first["variant"] + counted,
        name_mode(first, varying) if first["mode"] else NOTHING,
        name_device(first, threads),
        _number(measured, "mean_iou", ".4f") + (marked if first["mode"] == REFERENCE else ""),
        _change(measured, "delta_mean_iou") + ("" if first["mode"] == REFERENCE else marked),
        _interval(measured),
        _change(measured, "delta_val_mean_iou"),
        *(_number(measured, key, ".4f") for key in ("tumor_iou", "dice")),
        _size(measured),
        *(_number(medians, key, ".1f") for key in ("latency_ms", "end_to_end_ms")),
        _number(measured, "speedup_vs_reference", ".2f"),
        _note(rows, footnotes),
    ]


def _number(rows: Sequence[Row], key: str, form: str) -> str:
    values = [row[key] for row in rows if row[key] is not None]
    if not values:
        return NOTHING
    mean = f"{fmean(values):{form}}"
    return f"{mean} ± {stdev(values):{form}}" if len(values) > 1 else mean


def _change(rows: Sequence[Row], key: str) -> str:
    values = [row[key] for row in rows if row[key] is not None]
    if not values:
        return NOTHING
    mean = signed(fmean(values))
    return f"{mean} ± {stdev(values):.4f}" if len(values) > 1 else mean


def _interval(rows: Sequence[Row]) -> str:
    """Of one run only: intervals over patients cannot be averaged over seeds."""
    found = rows[0]["delta_mean_iou_interval"] if len(rows) == 1 else None
    return " to ".join(map(signed, found)) if found else NOTHING


def _size(rows: Sequence[Row]) -> str:
    sizes = [row["size_bytes"] / 2**20 for row in rows if row["size_bytes"] is not None]
    ratios = [row["size_ratio"] for row in rows if row["size_ratio"] is not None]
    share = f" ({fmean(ratios):.0%})" if ratios else ""
    return f"{fmean(sizes):.1f}{share}" if sizes else NOTHING


def _note(rows: Sequence[Row], footnotes: dict[str, int]) -> str:
    notes: Counter[str] = Counter()
    for row in rows:
        texts = [
            row["status"] if row["status"] != "ok" else "",
            "noisy" if row["noisy"] else "",
            f"{share:.0%} of nodes on CPU" if (share := _share_on_cpu(row)) else "",
        ]
        text = ", ".join(filter(None, texts))
        if row["reason"]:
            reason = " ".join(row["reason"].split())
            reason = reason if row["mode"] else f"{row['run']}: {reason}"
            text += f" [{footnotes.setdefault(reason, len(footnotes) + 1)}]"
        notes[text.strip()] += 1
    return ", ".join(
        text if count == len(rows) else f"{count} of {len(rows)}: {text}"
        for text, count in notes.items()
        if text
    )


def _is_partly_timed(rows: Sequence[Row]) -> bool:
    """Whether some of the seeds have a latency, and some were only scored."""
    return len({bool(row["latency_ms"]) for row in rows if row["status"] == "ok"}) > 1


def _share_on_cpu(row: Row) -> float:
    """Share of the nodes that a row of another device left to the CPU."""
    placement = row["placement"] if row["device"] != "cpu" else None
    return (placement or {}).get("CPUExecutionProvider", {}).get("share", 0)


def _legend(
    rows: Sequence[Row],
    groups: Iterable[list[list[str]]],
    comparisons: Sequence[Comparison],
    marks: Collection[str],
    partly: bool,
) -> list[tuple[str, str]]:
    passes = sorted({row["passes"] for row in rows if row["passes"]})
    threads = sorted({row["threads"] for row in rows if row["latency_ms"]})
    over = f" over {', '.join(map(str, passes))} passes" if passes else ""
    on = f" with {', '.join(map(str, threads))} threads" if threads else ""
    spread = any("±" in cell for group in groups for cells in group for cell in cells)
    noisy = any(row["noisy"] for row in rows)
    judged = bool(comparisons) and all(map(is_judged, comparisons))
    silent = judged and not any(row["beyond_chance"] for row in comparisons)
    tested = f"tested with {RUNTIME} on the cpu only"
    sentences = [
        ("Device", f"Runtime: {RUNTIME} where none is named.", True),
        ("Mean IoU", "±: standard deviation over seeds.", spread),
        ("Mean IoU", f"†: differs from {first_of(comparisons)} beyond chance.", "†" in marks),
        ("Δ mean IoU", "Δ: against fp32 with the same runtime on the same device.", True),
        ("Δ mean IoU", f"*: differs from fp32 beyond chance, {tested}.", "*" in marks),
        ("Mean IoU", f"No difference is beyond chance, {tested}.", silent),
        (
            "95 % of Δ",
            "95 % of Δ: over patients, against the same fp32 as Δ, not corrected for their number.",
            True,
        ),
        ("Latency, ms", f"Latency: median{over} of one image{on}.", True),
        ("Latency, ms", "Times are of those seeds that were timed; not all were.", partly),
        (
            "End to end, ms",
            "End to end: from an image file to its mask, in a tenth as many rounds of its own, so "
            "that noise may put it below the latency.",
            True,
        ),
        (
            "Speed-up",
            f"Speed-up: against fp32 with {RUNTIME} on the same device; the median of the ratios "
            "within each round, not the ratio of the medians.",
            True,
        ),
        ("Note", "Noisy: other processes took part of the CPU meanwhile.", noisy),
    ]
    return [(column, sentence) for column, sentence, shown in sentences if shown]
