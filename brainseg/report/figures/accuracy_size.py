"""Accuracy against the size of the file."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from brainseg.report.figures.style import GRID, Drawing, mode_marker, styled
from brainseg.report.points import Point
from brainseg.report.rows import REFERENCE

TITLE = "Accuracy against size"
CAPTION = (
    "Mean IoU on the test split against the size of the file, means over the seeds (what has fewer "
    "than fp32 stands at fp32's mean plus what it changes in those); dotted line: fp32. Colour and "
    "filled part of the marker: the mode. One point per mode: the first of the table, where "
    "several runtimes, devices or precisions were measured. The axis is narrow: other patients "
    "would move every point by more than points differ."
)

COLUMNS = 4


@styled
def draw_accuracy_size(points: Sequence[Point]) -> Drawing | None:
    """Draw the points that have a `mean_iou` and a size, or nothing where there are fewer than two.

    Args:
        points: from `collect_points`.
    """
    variants = sized_points(points)
    if sum(map(len, variants.values())) < 2:
        return None
    return Drawing(_make_figure(variants), _describe(variants))


def sized_points(points: Sequence[Point]) -> dict[str, list[Point]]:
    """By variant, the first point of each mode that has a `mean_iou` and a size."""
    found: dict[str, dict[str, Point]] = {}
    for point in points:
        if point.mean("mean_iou") is not None and point.mib is not None:
            found.setdefault(point.rows[0]["variant"], {}).setdefault(point.rows[0]["mode"], point)
    return {variant: list(modes.values()) for variant, modes in found.items()}


def _make_figure(variants: Mapping[str, Sequence[Point]]) -> Figure:
    columns = min(COLUMNS, len(variants))
    lines = -(-len(variants) // columns)
    figure = Figure(figsize=(max(1.2 + 2.6 * columns, 7), 1.2 + 2.6 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for axes, (variant, members) in zip(grid.flat, variants.items(), strict=False):
        _draw_variant(axes, variant, members)
    for axes in grid.flat[len(variants) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("mean IoU, test")
    modes = dict.fromkeys(point.rows[0]["mode"] for each in variants.values() for point in each)
    handles = [Line2D([], [], label=mode, **mode_marker(mode)) for mode in modes]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, frameon=False)
    return figure


def _draw_variant(axes: Axes, variant: str, points: Sequence[Point]) -> None:
    axes.set(title=variant, xlabel="size of the file, MiB")
    for point in points:
        axes.plot(*_position(point), **mode_marker(point.rows[0]["mode"]), zorder=3)
        if point.rows[0]["mode"] == REFERENCE:
            axes.axhline(_position(point)[1], color="black", linewidth=0.8, linestyle=":")
    axes.set_xlim(left=0)
    axes.margins(0.2)
    axes.ticklabel_format(axis="y", style="plain", useOffset=False)
    axes.grid(**GRID)
    axes.set_axisbelow(True)


def _describe(variants: Mapping[str, Sequence[Point]]) -> str:
    """Accuracy and size of each point."""
    told = [
        f"{variant} {point.mode}: {point.expected('mean_iou'):.4f} at {point.mib:.1f} MiB"
        for variant, members in variants.items()
        for point in members
    ]
    return f"Mean IoU against the size of the file. {'; '.join(told)}."


def _position(point: Point) -> tuple[float, float]:
    return point.mib or 0.0, point.expected("mean_iou") or 0.0
