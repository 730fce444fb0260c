"""Rows to a description of the table that people read."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean, stdev
from typing import Any

Row = dict[str, Any]

ORDERS: dict[str, tuple[str, ...]] = {
    "attention": ("none", "ag", "se", "cbam"),
    "variant": (),
    "mode": ("fp32", "fp16", "int8_dynamic", "int8_weights", "int8_static", "int8_qat"),
    "device": ("cpu", "cuda"),
    "runtime": ("onnxruntime", "openvino"),
}
"""What a table is sorted by, and the values that come first."""

SETTINGS = ("mode", "options", "runtime", "device", "batch", "threads")
COLUMNS = (
    *("Attention", "Mode", "Device", "Mean IoU", "Tumour IoU", "Dice"),
    *("Size, MiB", "Latency, ms", "Speed-up", "Note"),
)
NOTHING = "–"


@dataclass(frozen=True)
class Table:
    """What people see, before it is Markdown or anything else.

    Attributes:
        title: one line above the table.
        groups: the cells of each row under `COLUMNS`, rows of the same variant together.
        footnotes: the text of footnote 1, 2, …, which cells name as `[1]`.
        captions: lines under the table.
    """

    title: str
    groups: list[list[list[str]]]
    footnotes: list[str]
    captions: list[str]


def summarize(title: str, rows: Sequence[Row], captions: Sequence[str]) -> Table:
    """Describe rows of `table.json` as the paper's Table I, with this machine's numbers.

    Rows that differ in nothing but the seed become one, with mean ± standard deviation (n - 1).
    """
    merged: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=_order):
        merged[_canonical([row["variant"], *(row[key] for key in SETTINGS)])].append(row)
    shown = {key for key in ("options", "threads") if _varies(rows, key)}
    footnotes: dict[str, int] = {}
    groups = [
        [_cells(members, shown, footnotes) for members in variant]
        for _, variant in groupby(merged.values(), key=lambda members: members[0]["variant"])
    ]
    return Table(title, groups, list(footnotes), [*_legend(rows, merged.values()), *captions])


def _cells(rows: Sequence[Row], shown: set[str], footnotes: dict[str, int]) -> list[str]:
    first, seeds = rows[0], len(rows)
    measured = [row for row in rows if row["status"] == "ok"]
    latencies = [row | {"p50": (row["latency_ms"] or {}).get("p50")} for row in measured]
    options = f" {_canonical(first['options'])}" if "options" in shown and first["options"] else ""
    return [
        first["variant"] + (f" ({seeds} seeds)" if seeds > 1 else ""),
        (first["mode"] or NOTHING) + options,
        _device(first, shown),
        *(_number(measured, key, ".4f") for key in ("mean_iou", "tumor_iou", "dice")),
        _size(measured),
        _number(latencies, "p50", ".1f"),
        _number(measured, "speedup_vs_reference", ".2f"),
        _note(rows, footnotes),
    ]


def _number(rows: Sequence[Row], key: str, form: str) -> str:
    values = [row[key] for row in rows if row[key] is not None]
    if not values:
        return NOTHING
    mean = f"{fmean(values):{form}}"
    return f"{mean} ± {stdev(values):{form}}" if len(values) > 1 else mean


def _size(rows: Sequence[Row]) -> str:
    sizes = [row["size_bytes"] / 2**20 for row in rows if row["size_bytes"] is not None]
    ratios = [row["size_ratio"] for row in rows if row["size_ratio"] is not None]
    share = f" ({fmean(ratios):.0%})" if ratios else ""
    return f"{fmean(sizes):.1f}{share}" if sizes else NOTHING


def _device(row: Row, shown: set[str]) -> str:
    if row["device"] is None:
        return NOTHING
    extras = [
        row["runtime"] if row["runtime"] != "onnxruntime" else None,
        f"batch {row['batch']}" if (row["batch"] or 1) > 1 else None,
        f"threads {row['threads']}" if "threads" in shown and row["threads"] else None,
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


def _legend(rows: Sequence[Row], merged: Iterable[list[Row]]) -> list[str]:
    passes = sorted({row["passes"] for row in rows if row["passes"]})
    threads = sorted({row["threads"] for row in rows if row["latency_ms"]})
    over = f" over {', '.join(map(str, passes))} passes" if passes else ""
    on = f" with {', '.join(map(str, threads))} threads" if threads else ""
    seeds = any(len(members) > 1 for members in merged)
    noisy = any(row["noisy"] for row in rows)
    return [
        f"Latency: median{over} of one image{on}. Speed-up: against fp32 with onnxruntime on the "
        "same device. Runtime: onnxruntime where none is named."
        + (" ±: standard deviation over seeds." if seeds else "")
        + (" Noisy: other processes took part of the CPU meanwhile." if noisy else "")
    ]


def _varies(rows: Sequence[Row], key: str) -> bool:
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row[key] is not None:
            place = [row[name] for name in ("mode", "runtime", "device", "batch")]
            found[_canonical(place)].add(_canonical(row[key]))
    return any(len(values) > 1 for values in found.values())


def _order(row: Row) -> tuple[Any, ...]:
    return (
        *(_rank(row[key], names) for key, names in ORDERS.items()),
        row["batch"] or 0,
        row["threads"] or 0,
        _canonical(row["options"]),
        row["run"],
    )


def _rank(name: str | None, names: Sequence[str]) -> tuple[int, str]:
    return (names.index(name) if name in names else len(names), str(name))


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
