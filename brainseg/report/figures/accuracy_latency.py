"""Accuracy against latency: one line of panels per device, one panel per variant."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from brainseg.report.figures.style import COLOURS, GRID, Drawing, mode_marker, styled
from brainseg.report.points import Point, dominates, name_places, place_of, scored_points
from brainseg.report.rows import is_reference

FRONT, GREY = "#0072B2", "#999999"
"""Colours of the front, and of the legend's outlines."""

EMPHASIS = {"markeredgecolor": "black", "markeredgewidth": 1.8}
"""Of the reference, fp32 with onnxruntime."""

TITLE = "Accuracy against latency"
CAPTION = (
    "Mean IoU on the test split against the median latency of one image, means over the seeds; "
    "what has fewer seeds than fp32 stands at fp32's mean plus what it changes in those. Colour "
    "and filled part of the marker: the mode; shape: the runtime; area: the size of the file. "
    "Thick edge and dotted line: fp32 with onnxruntime. Line: what no other configuration of the "
    "variant beats in both. The axis is narrow: other patients would move every point by more than "
    "points differ (see the intervals of the scores)."
)

MARKERS = {"onnxruntime": "o", "openvino": "s"}
COLUMNS = 4
AREA = 2.0
"""Square points per MiB."""


@styled
def draw_accuracy_latency(points: Sequence[Point]) -> Drawing | None:
    """Draw the points that have a `mean_iou`, or nothing where there are fewer than two.

    Variants of one device share their axes; the area of a marker is the size of the file; the line
    joins what no other configuration of the variant beats in both. fp32 with onnxruntime has a
    thick edge, and a dotted line at its accuracy.

    Args:
        points: from `collect_points`.
    """
    scored = scored_points(points)
    return Drawing(_make_figure(scored), _describe(scored)) if len(scored) > 1 else None


def _describe(points: Sequence[Point]) -> str:
    """Accuracy and latency of each point."""
    told = [
        f"{point.rows[0]['variant']} {point.brief} on {point.rows[0]['device']}: "
        f"{point.expected('mean_iou'):.4f} at {point.latency:.1f} ms"
        for point in points
    ]
    return f"Mean IoU against median latency of one image. {'; '.join(told)}."


def _make_figure(points: Sequence[Point]) -> Figure:
    places = name_places(row for point in points for row in point.rows)
    variants = list(dict.fromkeys(point.rows[0]["variant"] for point in points))
    columns = min(COLUMNS, len(variants))
    lines = -(-len(variants) // columns)
    size = (max(1.2 + 2.6 * columns, 7.0), 1.9 + 2.6 * lines * len(places))
    figure = Figure(figsize=size, layout="constrained")
    parts = figure.subfigures(len(places), 1, squeeze=False)
    for part, (place, name) in zip(parts.flat, places.items(), strict=True):
        found = [point for point in points if place_of(point.rows[0]) == place]
        part.supxlabel(f"median latency of one image on {name}, ms")
        part.supylabel("mean IoU, test")
        grid = part.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        for axes, variant in zip(grid.flat, variants, strict=False):
            _draw_variant(axes, variant, [p for p in found if p.rows[0]["variant"] == variant])
        for axes in grid.flat[len(variants) :]:
            axes.set_visible(False)
    figure.legend(
        handles=_legend(points),
        loc="outside lower center",
        ncols=min(6, columns + 2),
        frameon=False,
        labelspacing=0.9,
    )
    return figure


def _draw_variant(axes: Axes, variant: str, points: Sequence[Point]) -> None:
    axes.set_title(variant)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.ticklabel_format(axis="y", style="plain", useOffset=False)
    axes.margins(0.2)
    axes.grid(**GRID)
    axes.set_axisbelow(True)
    if not points:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center")
        return
    front = sorted(map(_position, _front(points)))
    front.append((max(point.latency for point in points), front[-1][1]))
    axes.plot(*zip(*front, strict=True), color=FRONT, linewidth=1.2, drawstyle="steps-post")
    # Small files above large ones: the same accuracy at the same speed is common.
    for point in sorted(points, key=lambda point: -_area(point)):
        x, y = _position(point)
        emphasis = is_reference(point.rows[0])
        marker = MARKERS.get(point.rows[0]["runtime"], "D")
        # A square is as wide as a circle of its diameter, but larger in area.
        size = math.sqrt(_area(point) * (1 if marker == "o" else math.pi / 4))
        look = mode_marker(point.rows[0]["mode"], marker, size)
        axes.plot(x, y, **look | (EMPHASIS if emphasis else {}), zorder=3)
        if emphasis:
            axes.axhline(y, color="black", linewidth=0.8, linestyle=":", zorder=1)
        if options := point.mode.partition(" (")[2].removesuffix(")"):
            axes.annotate(options, (x, y), (0, 12), textcoords="offset points", ha="center")


def _legend(points: Sequence[Point]) -> list[Line2D]:
    """Colours, shapes and sizes that occur."""
    modes = [mode for mode in COLOURS if any(point.rows[0]["mode"] == mode for point in points)]
    runtimes = dict.fromkeys(point.rows[0]["runtime"] for point in points)
    sizes = sorted({round(point.mib) for point in points if point.mib})
    shown = dict.fromkeys([sizes[0], sizes[-1]]) if sizes else {}
    return [
        *(Line2D([], [], label=mode, **mode_marker(mode)) for mode in modes),
        *(_entry(runtime, marker=MARKERS.get(runtime, "D")) for runtime in runtimes),
        *(_entry(f"{size} MiB", area=AREA * size) for size in shown),
        _entry(
            "fp32 with onnxruntime", linestyle=":", markeredgecolor="black", markeredgewidth=1.8
        ),
        Line2D([], [], color=FRONT, linewidth=1.2, label="Pareto front"),
    ]


def _entry(label: str, marker: str = "o", area: float = 90, **style: Any) -> Line2D:
    plain: dict[str, Any] = {
        "linestyle": "",
        "color": "black",
        "marker": marker,
        "markersize": area**0.5,
        "markerfacecolor": "white",
        "markeredgecolor": GREY,
    }
    return Line2D([], [], label=label, **plain | style)


def _front(points: Sequence[Point]) -> list[Point]:
    """The points that no other one beats in both accuracy and latency."""
    costs = {id(point): (x, -y) for point in points for x, y in [_position(point)]}
    return [
        point
        for point in points
        if not any(dominates(costs[id(other)], costs[id(point)]) for other in points)
    ]


def _position(point: Point) -> tuple[float, float]:
    return point.latency, point.expected("mean_iou") or 0.0


def _area(point: Point) -> float:
    return AREA * (point.mib or 10)
