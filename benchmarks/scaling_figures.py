"""The tables and figures of what `scaling.py` measured."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from brainseg.report.figures.style import LOOKS, add_grid, add_legend, save, styled
from brainseg.report.render import Table, to_markdown

Record = dict[str, Any]
Points = dict[str, list[tuple[float, float]]]
"""By the name of a line, where it goes."""

TOLD_BY = ("find duplicates", "split")
"""Steps of a data set that measured the time of the part that is meant themselves."""


def tabulate(records: Sequence[Record], subject: str) -> str:
    """What was measured of a subject, as Markdown."""
    rows = [record for record in records if record["subject"] == subject]
    across, down, value, form = SHAPES[subject]
    columns = list(dict.fromkeys(map(across, rows)))
    cells: dict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
    for row in rows:
        cells[tuple(str(row[name]) for name in down)][across(row)] = form.format(value(row))
    body = [[*key, *(found.get(name, "–") for name in columns)] for key, found in cells.items()]
    return to_markdown(Table(subject, [*down, *columns], body, numeric=columns))


def _place(row: Record) -> str:
    return f"{row['mode']}, {row['runtime']}"


def _milliseconds(row: Record) -> tuple[float, float]:
    """Of processor, and of the clock, per image."""
    return row["cpu_ms"], row["ms"]


def _seconds(row: Record) -> float:
    """Seconds of processor, or those that a step told of itself."""
    return row["told"] if row["step"] in TOLD_BY else row["cpu_seconds"]


SHAPES: dict[str, tuple[Callable[[Record], str], Sequence[str], Callable[[Record], Any], str]] = {
    "size": (_place, ("size", "threads"), _milliseconds, "{0[0]:.1f} ({0[1]:.1f})"),
    "batch": (_place, ("threads", "batch"), _milliseconds, "{0[0]:.1f} ({0[1]:.1f})"),
    "memory": (_place, ("size", "threads"), lambda row: row["mib"], "{:,.0f}"),
    "report": (
        lambda row: row["step"],
        ("kind", "runs"),
        lambda row: (row["seconds"], row["cpu_seconds"], row["mib"], row["page_bytes"] / 1e6),
        "{0[0]:.1f} s, {0[1]:.1f} of processor, {0[2]:,.0f} MiB, {0[3]:.1f} MB",
    ),
    "data": (
        lambda row: row["step"],
        ("images",),
        lambda row: (row["seconds"], _seconds(row), row["mib"]),
        "{0[0]:.1f} s, {0[1]:.1f} of processor, {0[2]:,.0f} MiB",
    ),
}
"""Of a subject: what names a column, what names a row, and what stands in a cell."""


@styled
def draw(records: Sequence[Record], folder: Path) -> None:
    """Write `scaling_network` and `scaling_data`, both as SVG and PNG."""
    by = {
        subject: [record for record in records if record["subject"] == subject]
        for subject in SHAPES
    }
    _draw_network(by["size"], by["batch"], folder / "scaling_network")
    _draw_growth(by["report"], by["data"], folder / "scaling_data")


def _draw_network(sizes: Sequence[Record], batches: Sequence[Record], stem: Path) -> None:
    figure, (left, right) = _panels()
    _plot(left, _lines(sizes, _place, lambda r: r["size"] ** 2, lambda r: r["cpu_ms"]))
    _slope(left)
    left.set(xlabel="pixels of an image", ylabel="ms of processor per image", title="Size, batch 1")
    sides = sorted({row["size"] for row in sizes})
    left.set_xticks([side**2 for side in sides], [f"{side}²" for side in sides], minor=False)
    left.minorticks_off()
    most = max((row["threads"] for row in batches), default=0)
    shown = [row for row in batches if row["threads"] == most]
    _plot(right, _lines(shown, _place, lambda r: r["batch"], lambda r: r["cpu_ms"]))
    right.set(
        xlabel="images in a batch",
        ylabel="ms of processor per image",
        title=f"Batch, 224², {most} threads",
    )
    ticks = sorted({row["batch"] for row in batches})
    right.set_xticks(ticks, map(str, ticks))
    right.minorticks_off()
    _finish(figure, left, stem)


def _draw_growth(reports: Sequence[Record], data: Sequence[Record], stem: Path) -> None:
    figure, (left, right) = _panels()
    for axes, rows, name, count, title in (
        (left, data, lambda r: r["step"], "images", "Data set"),
        (right, reports, lambda r: f"{r['kind']}, {r['step']}", "runs", "Report"),
    ):
        key = count
        _plot(axes, _lines(rows, name, lambda r, key=key: r[key], _seconds))
        _slope(axes)
        axes.set(xlabel=count, ylabel="seconds of processor", title=title)
        axes.legend(frameon=False, fontsize="small")
    save(figure, stem)


def _panels() -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(8, 3.6), layout="compressed")
    return figure, figure.subplots(1, 2)


def _lines(
    rows: Sequence[Record],
    name: Callable[[Record], str],
    x: Callable[[Record], float],
    y: Callable[[Record], float],
) -> Points:
    points: Points = defaultdict(list)
    for row in sorted(rows, key=x):
        points[name(row)].append((x(row), y(row)))
    return points


def _plot(axes: Axes, points: Points) -> None:
    for look, (name, line) in zip(LOOKS, points.items(), strict=False):
        axes.plot(*zip(*line, strict=True), label=name, marker=look.marker, **look.style)
    axes.set(xscale="log", yscale="log")
    add_grid(axes)


def _slope(axes: Axes) -> None:
    """A grey line along which twice as much takes twice as long, below all others."""
    lines = [line.get_xydata() for line in axes.get_lines()]
    if lines:
        left, right = min(line[0][0] for line in lines), max(line[-1][0] for line in lines)
        start = min(line[0][1] for line in lines) / 2
        ends = [start, start * right / left]
        axes.plot([left, right], ends, color="#999999", linewidth=0.8, label="linear")


def _finish(figure: Figure, axes: Axes, stem: Path) -> None:
    handles, _ = axes.get_legend_handles_labels()
    add_legend(figure, handles, 3)
    save(figure, stem)
