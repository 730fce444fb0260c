"""Accuracy against latency: one line of panels per device, one panel per variant."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from brainseg import vocabulary
from brainseg.report.figures import style
from brainseg.report.points import (
    Place,
    Point,
    dominates,
    name_places,
    place_of,
    scored_points,
)

TITLE = "Accuracy against latency"
CAPTION = (
    "Mean IoU on the test split against the median latency of one image, means over the seeds; a "
    "configuration with fewer seeds than fp32 stands at fp32's mean plus its change in those. "
    "Colour and filled part of the marker: the mode; shape: the runtime; area: the size of the "
    "file. Thick edge and dotted line: fp32 with onnxruntime. Line: what no other configuration of "
    "the variant beats in both. The axis is narrow: other patients would move every point by more "
    "than points differ (see the intervals of the scores)."
)

COLUMNS = 4
SMALLEST = 12
"""MiB of the smallest marker: those of smaller files could not be told apart."""

AREA = 2.0
"""Square points per MiB."""

PLAIN: style.Style = {
    **{"linestyle": "", "color": "black", "marker": "o", "markersize": math.sqrt(90)},
    **{"markerfacecolor": "white", "markeredgecolor": "#999999"},
}
"""Of entries of the legend."""

FRONT: style.Style = {"color": "#0072B2", "linewidth": 1.2}
EMPHASIS: style.Style = {"markeredgecolor": "black", "markeredgewidth": 1.8}
"""Of the reference, fp32 with onnxruntime."""


@style.styled
def draw(points: Sequence[Point]) -> style.Drawing | None:
    """Draw the points that have a `mean_iou`, or nothing where there are fewer than two."""
    scored = scored_points(points)
    if len(scored) < 2:
        return None
    told = [
        f"{point.rows[0].variant} {point.brief} on {point.rows[0].device}: "
        f"{point.expected('mean_iou'):.4f} at {point.latency:.1f} ms"
        for point in scored
    ]
    alt = f"Mean IoU against median latency of one image. {'; '.join(told)}."
    names = name_places(row for point in points for row in point.rows)
    return style.Drawing(_make_figure(scored, names), alt)


def _make_figure(points: Sequence[Point], names: Mapping[Place, str]) -> Figure:
    shown = {place_of(point.rows[0]) for point in points}
    places = {place: name for place, name in names.items() if place in shown}
    variants = list(dict.fromkeys(point.rows[0].variant for point in points))
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
        for axes, variant in zip(style.use(grid, len(variants)), variants, strict=True):
            _draw_variant(axes, variant, [p for p in found if p.rows[0].variant == variant])
        for axes in style.use(grid, len(variants)):
            style.scale_log(axes, "x")
    style.add_legend(figure, _legend(points), min(6, columns + 2), labelspacing=0.9)
    return figure


def _draw_variant(axes: Axes, variant: str, points: Sequence[Point]) -> None:
    axes.set_title(variant)
    axes.ticklabel_format(axis="y", style="plain", useOffset=False)
    axes.margins(0.2)
    style.add_grid(axes)
    if not points:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center")
        return
    front = sorted(map(_position, _front(points)))
    front.append((max(point.latency for point in points), front[-1][1]))
    axes.plot(*zip(*front, strict=True), drawstyle="steps-post", **FRONT)
    # Small files above large ones: the same accuracy at the same speed is common.
    for point in sorted(points, key=lambda point: -_area(point)):
        _draw_point(axes, point)


def _draw_point(axes: Axes, point: Point) -> None:
    x, y = _position(point)
    marker = style.runtime_marker(point.rows[0].runtime)
    # A square is as wide as a circle of its diameter, but larger in area.
    size = math.sqrt(_area(point) * (1 if marker == "o" else math.pi / 4))
    look = style.mode_marker(point.rows[0].mode, marker, size)
    axes.plot(x, y, **look | (EMPHASIS if point.is_reference else {}), zorder=3)
    if point.is_reference:
        axes.axhline(y, color="black", linewidth=0.8, linestyle=":", zorder=1)
    if options := point.mode.partition(" (")[2].removesuffix(")"):
        axes.annotate(options, (x, y), (0, 12), textcoords="offset points", ha="center")


def _legend(points: Sequence[Point]) -> list[Line2D]:
    """Colours, shapes and sizes that occur."""
    modes = {point.rows[0].mode for point in points}
    runtimes = dict.fromkeys(str(point.rows[0].runtime) for point in points)
    sizes = sorted({round(point.mib) for point in points if point.mib})
    ranked = sorted(modes, key=lambda name: vocabulary.rank(name, vocabulary.MODES))
    entries: dict[str | None, style.Style] = {mode: style.mode_marker(mode) for mode in ranked}
    entries |= {name: PLAIN | {"marker": style.runtime_marker(name)} for name in runtimes}
    for size in sizes[:1] + sizes[-1:]:
        entries[f"{size} MiB"] = PLAIN | {"markersize": math.sqrt(AREA * max(size, SMALLEST))}
    entries["fp32 with onnxruntime"] = PLAIN | EMPHASIS | {"linestyle": ":"}
    entries["Pareto front"] = FRONT
    return [Line2D([], [], label=label, **look) for label, look in entries.items()]


def _front(points: Sequence[Point]) -> list[Point]:
    """The points that no other one beats in both accuracy and latency."""
    costs = [(x, -y) for x, y in map(_position, points)]
    return [
        point
        for point, cost in zip(points, costs, strict=True)
        if not any(dominates(other, cost) for other in costs)
    ]


def _position(point: Point) -> tuple[float, float]:
    return point.latency, point.expected("mean_iou") or 0.0


def _area(point: Point) -> float:
    return AREA * max(point.mib or 0, SMALLEST)
