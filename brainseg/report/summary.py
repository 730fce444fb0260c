"""Rows to a description of the table that people read."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean, stdev

from brainseg.report.comparisons import Comparison, Marks, mark
from brainseg.report.rows import (
    REFERENCE,
    RUNTIME,
    SETTINGS,
    Row,
    canonical,
    name_mode,
    order,
    signed,
    varying_options,
)

COLUMNS = (
    *("Attention", "Mode", "Device", "Mean IoU", "Δ mean IoU", "95 % of Δ", "Δ validation"),
    *("Tumour IoU", "Dice", "Size, MiB", "Latency, ms", "End to end, ms", "Speed-up", "Note"),
)
TEXTUAL = ("Attention", "Mode", "Device", "Note")
"""Columns that are no numbers."""

NOTHING = "–"


@dataclass(frozen=True)
class Table:
    """What people see, before it is Markdown or anything else.

    Attributes:
        title: one line above the table.
        groups: the cells of each row under `COLUMNS`, rows of the same variant together.
        footnotes: the text of footnote 1, 2, …, which cells name as `[1]`.
        captions: lines under the table.
        figure: name of a picture beside the Markdown document.
    """

    title: str
    groups: list[list[list[str]]]
    footnotes: list[str]
    captions: list[str]
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
    varying, threads = varying_options(rows), _threads_vary(rows)
    footnotes: dict[str, int] = {}
    marks = mark(comparisons)
    groups = [
        [_cells(members, varying, threads, footnotes, marks) for members in variant]
        for _, variant in groupby(merged.values(), key=lambda members: members[0]["variant"])
    ]
    legend = _legend(rows, merged.values(), comparisons, marks.values())
    return Table(title, groups, list(footnotes), legend)


def _cells(
    rows: Sequence[Row],
    varying: set[tuple[str, str]],
    threads: bool,
    footnotes: dict[str, int],
    marks: Marks,
) -> list[str]:
    first, seeds = rows[0], len(rows)
    # Scores are compared as onnxruntime has them on the CPU; elsewhere they differ a little.
    here = (first["runtime"], first["device"]) in ((RUNTIME, "cpu"), (None, None))
    marked = marks.get((first["variant"], first["mode"]), "") if here else ""
    measured = [row for row in rows if row["status"] == "ok"]
    medians = [
        {key: (row[key] or {}).get("p50") for key in ("latency_ms", "end_to_end_ms")}
        for row in measured
    ]
    return [
        first["variant"] + (f" ({seeds} seeds)" if seeds > 1 else ""),
        name_mode(first, varying) if first["mode"] else NOTHING,
        _device(first, threads),
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


def _device(row: Row, threads: bool) -> str:
    if row["device"] is None:
        return NOTHING
    extras = [
        row["runtime"] if row["runtime"] != RUNTIME else None,
        f"batch {row['batch']}" if (row["batch"] or 1) > 1 else None,
        f"threads {row['threads']}" if threads and row["threads"] else None,
    ]
    return " ".join([row["device"], *(f"({extra})" for extra in extras if extra)])


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


def _share_on_cpu(row: Row) -> float:
    """Share of the nodes that a row of another device left to the CPU."""
    placement = row["placement"] if row["device"] != "cpu" else None
    return (placement or {}).get("CPUExecutionProvider", {}).get("share", 0)


def _legend(
    rows: Sequence[Row],
    merged: Iterable[list[Row]],
    comparisons: Sequence[Comparison],
    marks: Collection[str],
) -> list[str]:
    passes = sorted({row["passes"] for row in rows if row["passes"]})
    threads = sorted({row["threads"] for row in rows if row["latency_ms"]})
    over = f" over {', '.join(map(str, passes))} passes" if passes else ""
    on = f" with {', '.join(map(str, threads))} threads" if threads else ""
    seeds = any(len(members) > 1 for members in merged)
    told = {key for row in rows for key in ("end_to_end_ms", "delta_mean_iou", "noisy") if row[key]}
    sentences = {
        f"Latency: median{over} of one image{on}.": True,
        "End to end: from an image file to its mask.": "end_to_end_ms" in told,
        "Speed-up: against fp32 with onnxruntime on the same device.": True,
        "Runtime: onnxruntime where none is named.": True,
        "Δ: against fp32 with the same runtime on the same device.": "delta_mean_iou" in told,
        "±: standard deviation over seeds.": seeds,
        "†: differs from the first variant beyond chance.": "†" in marks,
        "*: differs from fp32 beyond chance.": "*" in marks,
        "No difference is beyond chance.": bool(comparisons)
        and not any(row["beyond_chance"] for row in comparisons),
        "Noisy: other processes took part of the CPU meanwhile.": "noisy" in told,
    }
    return [" ".join(sentence for sentence, shown in sentences.items() if shown)]


def _threads_vary(rows: Iterable[Row]) -> bool:
    found: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        if row["threads"] is not None:
            place = [row[name] for name in ("mode", "runtime", "device", "batch")]
            found[canonical(place)].add(row["threads"])
    return any(len(values) > 1 for values in found.values())
