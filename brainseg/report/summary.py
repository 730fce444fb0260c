"""Rows to the main table, as the paper's Table I."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean, stdev

from brainseg.report.comparisons import Comparison, Marks, first_of, mark
from brainseg.report.points import usual_threads
from brainseg.report.render import Table
from brainseg.report.rows import (
    NOTHING,
    TableRow,
    name_device,
    name_mode,
    order,
    signed,
    span,
    varying_options,
    with_several_threads,
)
from brainseg.vocabulary import AGREEING, REFERENCE, REFERENCE_RUNTIME

COLUMNS = (
    *("Variant", "Mode", "Device", "Mean IoU", "Δ mean IoU", "95 % of Δ", "Δ validation"),
    *("Tumour IoU", "Dice", "Size, MiB", "Latency, ms", "On device, ms", "End to end, ms"),
    *("Passes", "Speed-up", "Note"),
)
NUMERIC = COLUMNS[3:-1]

OPTIONAL = ("Δ mean IoU", "95 % of Δ", "Δ validation", "On device, ms", "End to end, ms")
"""Columns that are left out where no row has a number."""

WIDE = ("95 % of Δ", "Δ validation", "Dice", "End to end, ms")
"""Columns for which terminal and page have no room: other tables, or `table.md`, have them."""

FORMS = (
    "Graph: the GPU starts all kernels at once; NHWC: channels come last; TF32: factors of "
    "11 significant bits"
)
"""How a network runs on CUDA."""


def summarize(rows: Sequence[TableRow], comparisons: Sequence[Comparison] = ()) -> Table:
    """The main table.

    Rows that differ in nothing but the seed become one, with mean ± standard deviation (n - 1).
    Of the `comparisons` those are marked that are beyond chance: with `†` the variants that differ
    from the first one, with `*` the modes that differ from fp32 of the same variant.
    """
    merged: dict[tuple[str, str], list[TableRow]] = defaultdict(list)
    for row in sorted(rows, key=order):
        merged[row.variant, row.key].append(row)
    varying, several, usual = varying_options(rows), with_several_threads(rows), usual_threads(rows)
    seeds = any(len(members) > 1 for members in merged.values())
    marks, footnotes = mark(comparisons), list[str]()
    cells, more = [], []
    for place, members in enumerate(merged.values()):
        first = members[0]
        alike = replace(first, threads=usual.get((first.variant, first.device), first.threads))
        if alike != first and (alike.variant, alike.key) in merged:
            more.append(place)
        number = f" ({len(members)} {'seed' if len(members) == 1 else 'seeds'})" if seeds else ""
        names = [
            first.variant + number,
            name_mode(first, varying) if first.mode else NOTHING,
            name_device(first, several),
        ]
        cells.append([*names, *_numbers(members, marks), _note(members, footnotes)])
    empty = [
        name
        for place, name in enumerate(COLUMNS)
        if name in OPTIONAL and all(row[place] == NOTHING for row in cells)
    ]
    if len({row[COLUMNS.index("Passes")] for row in cells} - {NOTHING}) < 2:
        empty.append("Passes")  # the legend tells it
    notes = [f"[{number}] {text}" for number, text in enumerate(footnotes, 1)]
    legend = _legend(list(merged.values()), cells, first_of(comparisons))
    title = "Accuracy, size and speed"
    table = Table(title, COLUMNS, cells, notes, NUMERIC, legend, WIDE, more)
    return table.without(empty)


def _numbers(rows: Sequence[TableRow], marks: Marks) -> list[str]:
    first = rows[0]
    measured = [row for row in rows if row.status == "ok"]
    # Scores are compared as onnxruntime has them on the CPU; elsewhere they differ a little.
    here = (first.runtime, first.device) in ((REFERENCE_RUNTIME, "cpu"), (None, None))
    marked = marks.get((first.variant, str(first.mode)), "") if here else ""
    of_variant, of_mode = (marked, "") if first.mode == REFERENCE else ("", marked)
    interval = first.delta_mean_iou_interval if len(rows) == 1 else None  # cannot be averaged
    return [
        _mean([row.mean_iou for row in measured]) + of_variant,
        _mean([row.delta_mean_iou for row in measured], change=True) + of_mode,
        " to ".join(map(signed, interval)) if interval else NOTHING,
        _mean([row.delta_val_mean_iou for row in measured], change=True),
        _mean([row.tumor_iou for row in measured]),
        _mean([row.dice for row in measured]),
        _size(measured),
        _mean([row.median_ms for row in measured], ".1f"),
        _mean([(row.device_ms or {}).get("p50") for row in measured], ".1f"),
        _mean([(row.end_to_end_ms or {}).get("p50") for row in measured], ".1f"),
        _passes(measured),
        _mean([row.speedup_vs_reference for row in measured], ".2f"),
    ]


def _mean(values: Sequence[float | None], form: str = ".4f", change: bool = False) -> str:
    """The mean of those that are known, with their standard deviation."""
    known = [value for value in values if value is not None]
    if not known:
        return NOTHING
    mean = signed(fmean(known)) if change else f"{fmean(known):{form}}"
    return f"{mean} ± {stdev(known):{form}}" if len(known) > 1 else mean


def _size(rows: Sequence[TableRow]) -> str:
    sizes = [row.size_bytes / 2**20 for row in rows if row.size_bytes is not None]
    ratios = [row.size_ratio for row in rows if row.size_ratio is not None]
    share = f" ({fmean(ratios):.0%})" if ratios else ""
    return f"{fmean(sizes):.1f}{share}" if sizes else NOTHING


def _note(rows: Sequence[TableRow], footnotes: list[str]) -> str:
    """What is special about rows; reasons become footnotes, which are added to those known."""
    notes: Counter[str] = Counter()
    for row in rows:
        share = _share_on_cpu(row)
        text = ", ".join(
            ([row.status] if row.status != "ok" else [])
            + (["noisy"] if row.noisy else [])
            + ([f"{share:.0%} of nodes on CPU"] if share else [])
            + _form(row)
        )
        for footnote in _footnotes(row):
            if footnote not in footnotes:
                footnotes.append(footnote)
            text += f" [{footnotes.index(footnote) + 1}]"
        notes[text.strip()] += 1
    return ", ".join(
        text if count == len(rows) else f"{count} of {len(rows)}: {text}"
        for text, count in notes.items()
        if text
    )


def _form(row: TableRow) -> list[str]:
    """In which form CUDA runs a row."""
    got = row.got or {}
    graph, layout, tf32 = (got.get(key) for key in ("cuda_graph", "layout", "tf32"))
    told = {"graph": graph, "NHWC": layout == "NHWC", "TF32": tf32}
    return [name for name, shown in told.items() if shown]


def _footnotes(row: TableRow) -> list[str]:
    """Why a row is not `ok`, lacks a form on CUDA, or has the scores of another."""
    found = []
    if row.reason:
        found.append(row.reason if row.mode else f"{row.run}: {row.reason}")
    without = (row.got or {}).get("without", {})
    names = {"cuda_graph": "CUDA graph", "nhwc": "NHWC"}
    found += [f"no {names.get(form, form)}: {reason}" for form, reason in without.items()]
    if row.scores_from:
        images = min(AGREEING, row.n or AGREEING)
        agree = f"the predictions agree to the pixel on {images} test images"
        found.append(f"scores of {row.scores_from}: {agree}")
    return [" ".join(text.split()) for text in found]


def _passes(rows: Iterable[TableRow]) -> str:
    """In how many rounds they were timed."""
    found = {str(row.passes) for row in rows if row.latency_ms and row.passes}
    return span([*found]) if found else NOTHING


def _share_on_cpu(row: TableRow) -> float:
    """Share of the nodes that a row of another device left to the CPU."""
    on_cpu = (row.placement or {}).get("CPUExecutionProvider", {})
    return 0 if row.device == "cpu" else on_cpu.get("share", 0)


def _legend(
    merged: Sequence[Sequence[TableRow]], cells: Sequence[Sequence[str]], first: str | None
) -> list[tuple[str, str]]:
    """What cells mean, as sentences with the name of their column."""
    every = [row for rows in merged for row in rows]
    threads = {row.threads for row in every if row.latency_ms and row.threads}
    timed = [{bool(row.latency_ms) for row in rows if row.status == "ok"} for rows in merged]
    signs = " ".join(cell for row in cells for cell in row)
    passes = f" in {_passes(every)} passes" if _passes(every) != NOTHING else ""
    latency = (
        f"Latency: median of one image{passes}, {', '.join(map(str, sorted(threads)))} threads."
    )
    cudnn = {row.got["cudnn"] for row in every if row.got and "cudnn" in row.got}
    reference = f"{REFERENCE} with {REFERENCE_RUNTIME}"
    sentences = [
        ("Device", f"Runtime: {REFERENCE_RUNTIME} unless named.", True),
        ("Mean IoU", "±: standard deviation over seeds.", "±" in signs),
        ("Mean IoU", f"†: differs from {first} beyond chance.", "†" in signs),
        ("Δ mean IoU", f"Δ: against {REFERENCE} in the same runtime.", True),
        ("Δ mean IoU", f"*: differs from {reference} beyond chance.", "*" in signs),
        ("95 % of Δ", "95 % of Δ: over patients, not corrected for the number of rows.", True),
        ("Latency, ms", latency, bool(threads)),
        ("Latency, ms", "Not all seeds were timed.", {True, False} in timed),
        ("On device, ms", "On device: without copies to and from the GPU.", True),
        ("End to end, ms", "End to end: image file to mask, timed in separate rounds.", True),
        ("Speed-up", f"Speed-up: against {reference}, within each round.", bool(threads)),
        ("Note", "Noisy: other processes used the CPU or the GPU.", "noisy" in signs),
        ("Note", f"{FORMS} (cuDNN {', '.join(sorted(cudnn))}).", bool(cudnn)),
    ]
    return [(column, sentence) for column, sentence, shown in sentences if shown]
