"""The tables and figures of what `scaling.py` measured."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from brainseg.files import replacing
from brainseg.report.figures.style import LOOKS, add_grid, styled
from brainseg.report.render import Table, to_markdown

Record = dict[str, Any]
Points = dict[str, list[tuple[float, float]]]
"""By the name of a line, where it goes."""

LEGEND: dict[str, Any] = {
    "loc": "outside lower center",
    "ncols": 3,
    "frameon": False,
    "fontsize": "small",
}
"""How a legend looks."""

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
    """Write `scaling_network.png` and `scaling_data.png`."""
    by = {
        subject: [record for record in records if record["subject"] == subject]
        for subject in SHAPES
    }
    _draw_network(by["size"], by["batch"], folder / "scaling_network.png")
    _draw_growth(by["report"], by["data"], folder / "scaling_data.png")


def _draw_network(sizes: Sequence[Record], batches: Sequence[Record], file: Path) -> None:
    figure, (left, right) = _panels()
    _plot(left, _lines(sizes, _place, lambda r: r["size"] ** 2, lambda r: r["cpu_ms"]))
    sides = sorted({row["size"] for row in sizes})
    left.set_xticks([side**2 for side in sides], map(str, sides), fontsize="small")
    left.set(xlabel="side of an image, pixels", ylabel="ms per image", title="Size, batch 1")
    _add_slope(left)
    figure.legend(*left.get_legend_handles_labels(), **LEGEND)
    alone = [row for row in batches if row["threads"] == 1]
    _plot(right, _lines(alone, _place, lambda r: r["batch"], lambda r: r["cpu_ms"]))
    ticks = sorted({row["batch"] for row in batches})
    right.set_xticks(ticks, map(str, ticks))
    right.set(xlabel="images in a batch", ylim=left.get_ylim(), title="Batch, 224×224")
    _save(figure, file)


def _draw_growth(reports: Sequence[Record], data: Sequence[Record], file: Path) -> None:
    figure, (left, right) = _panels()
    _plot(left, _lines(data, lambda r: r["step"], lambda r: r["images"], _seconds))
    left.set(xlabel="images", ylabel="seconds of processor", title="Data set")
    _plot(right, _lines(reports, lambda r: f"{r['kind']}, {r['step']}", _runs, _seconds))
    ticks = sorted({row["runs"] for row in reports})
    right.set_xticks(ticks, map(str, ticks))
    right.set(xlabel="runs", title="Report")
    for axes in (left, right):
        _add_slope(axes)
        below = LEGEND | {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2), "ncols": 2}
        axes.legend(**below)
    _save(figure, file)


def _runs(row: Record) -> float:
    return row["runs"]


def _panels() -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(8, 4), layout="constrained")
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
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axis.set_minor_locator(NullLocator())
    add_grid(axes)


def _add_slope(axes: Axes) -> None:
    """A grey line, below all others, along which twice as much takes twice as long."""
    lines = [line.get_xydata() for line in axes.get_lines()]
    left, right = min(line[0][0] for line in lines), max(line[-1][0] for line in lines)
    start = min(min(y * left / x for x, y in line) for line in lines)
    axes.plot([left, right], [start, start * right / left], color="#999999", label="linear")


def _save(figure: Figure, file: Path) -> None:
    with replacing(file) as temporary:
        figure.savefig(temporary, dpi=88, pil_kwargs={"optimize": True})
