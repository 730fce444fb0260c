"""Accuracy against the size of the file."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from brainseg.report.figures.style import GRID, Drawing, Look, looks_of, mode_marker, styled
from brainseg.report.points import Point

TITLE = "Accuracy against size"
CAPTION = (
    "Mean IoU on the test split against the size of the file, means over the seeds. Shape and "
    "line: the variant, whose modes the line joins; colour and filled part of the marker: the "
    "mode. One point per variant and mode: the first of the table, where several runtimes or "
    "devices were measured."
)


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
            found.setdefault(point.rows[0]["variant"], {}).setdefault(point.mode, point)
    return {variant: list(modes.values()) for variant, modes in found.items()}


def _make_figure(variants: Mapping[str, Sequence[Point]]) -> Figure:
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    looks = looks_of(variants)
    for variant, members in variants.items():
        look = looks[variant]
        line = sorted(map(_position, members))
        axes.plot(*zip(*line, strict=True), color="#999999", linestyle=look.line, linewidth=1)
        for point in members:
            axes.plot(*_position(point), **mode_marker(point.rows[0]["mode"], look.marker))
    axes.set(xlabel="size of the file, MiB", ylabel="mean IoU, test")
    axes.set_xlim(left=0)
    axes.margins(y=0.1)
    axes.ticklabel_format(axis="y", style="plain", useOffset=False)
    axes.grid(**GRID)
    modes = dict.fromkeys(point.rows[0]["mode"] for each in variants.values() for point in each)
    handles = [
        *(_entry(name, look) for name, look in looks.items()),
        *(Line2D([], [], label=mode, **mode_marker(mode)) for mode in modes),
    ]
    figure.legend(handles=handles, loc="outside right center", frameon=False, labelspacing=1)
    return figure


def _describe(variants: Mapping[str, Sequence[Point]]) -> str:
    """Accuracy and size of each point."""
    told = [
        f"{variant} {point.mode}: {point.mean('mean_iou'):.4f} at {point.mib:.1f} MiB"
        for variant, members in variants.items()
        for point in members
    ]
    return f"Mean IoU against the size of the file. {'; '.join(told)}."


def _position(point: Point) -> tuple[float, float]:
    return point.mib or 0.0, point.mean("mean_iou") or 0.0


def _entry(variant: str, look: Look) -> Line2D:
    return Line2D(
        [],
        [],
        label=variant,
        marker=look.marker,
        linestyle=look.line,
        color="#999999",
        markerfacecolor="white",
    )
