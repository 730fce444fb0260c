"""Whether probabilities mean what they say, and what another threshold would do."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from brainseg.report.figures import style
from brainseg.report.table import Runs
from brainseg.vocabulary import METRICS

TITLE = "Calibration and threshold"
CAPTION = (
    "Upper line: among test pixels of similar predicted probability, the share that is tumour; on "
    "the diagonal the probabilities mean what they say. ECE: mean distance from the diagonal over "
    "all pixels, and over those that are neither 0 nor 1. Middle: the number of pixels, on a "
    "logarithmic axis. Lower line: metrics at other thresholds. The threshold is fixed at 0.5, the "
    "dotted line; the curve is not used to choose it. First run of each variant."
)
INPUTS = ("metrics",)

SWEPT = ("mean_iou", "tumor_iou", "dice", "detection_rate", "false_positive_rate")
"""Metrics of the threshold's curve."""

FIXED = 0.5

Metrics = Mapping[str, Mapping[str, Any]]
"""The content of `metrics.json` by variant."""


@style.styled
def draw(runs: Runs) -> style.Drawing | None:
    """Draw what `metrics.json` says of probabilities, or nothing where it says nothing."""
    firsts = {variant: members[0] for variant, members in runs.items()}
    read = {name: run.read(run.metrics) for name, run in firsts.items() if run.metrics.exists()}
    found = {variant: metrics for variant, metrics in read.items() if metrics.get("calibration")}
    if not found:
        return None
    told = "; ".join(f"{variant} {_errors(metrics)}" for variant, metrics in found.items())
    alt = f"Reliability diagrams, and metrics against the threshold. {told}."
    return style.Drawing(_make_figure(found, style.looks_of(runs)), alt)


def _make_figure(found: Metrics, looks: Mapping[str, style.Look]) -> Figure:
    figure = Figure(figsize=(max(2.5 * len(found), 11), 7.4), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(2, 1), squeeze=False)[:, 0]
    grid = upper.subplots(
        2, len(found), height_ratios=(3, 1), sharex=True, sharey="row", squeeze=False
    )
    for (diagram, histogram), (variant, metrics) in zip(grid.T, found.items(), strict=True):
        _draw_reliability(diagram, histogram, metrics["calibration"]["bins"], looks[variant])
        diagram.set_title(f"{variant}\n{_errors(metrics)}", fontsize="medium")
    grid[1, 0].set_yscale("log", nonpositive="clip")
    grid[1, 0].set_ylim(bottom=0.5)
    grid[1, 0].yaxis.set_major_formatter("{x:,.0f}")
    grid[1, 0].yaxis.set_minor_formatter(NullFormatter())
    grid[0, 0].set_ylabel("share that is tumour")
    grid[1, 0].set_ylabel("pixels")
    upper.supxlabel("predicted probability of tumour", fontsize="medium")
    for axes, metric in zip(lower.subplots(1, len(SWEPT)), SWEPT, strict=True):
        _draw_sweep(axes, metric, found, looks)
    lower.supxlabel("threshold", fontsize="medium")
    style.add_legend(figure, lower.axes[0].get_lines()[:-1], 4, handlelength=4)
    return figure


def _draw_reliability(diagram: Axes, histogram: Axes, bins: list[Any], look: style.Look) -> None:
    known = [each for each in bins if each["n"]]
    points = zip(*((each["confidence"], each["share"]) for each in known), strict=True)
    diagram.plot([0, 1], [0, 1], color="#999999", linewidth=0.8)
    diagram.plot(*points, marker=look.marker, markersize=5, **look.style)
    style.add_grid(diagram)
    diagram.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), box_aspect=1)
    edges, heights = [each["low"] for each in bins], [each["n"] for each in bins]
    widths = [each["high"] - each["low"] for each in bins]
    bars: style.Style = {"color": look.colour, "edgecolor": "white", "linewidth": 0.6}
    histogram.bar(edges, heights, widths, align="edge", **bars)
    histogram.set_box_aspect(1 / 3)


def _draw_sweep(axes: Axes, metric: str, found: Metrics, looks: Mapping[str, style.Look]) -> None:
    for variant, metrics in found.items():
        rows = [row for row in metrics.get("thresholds") or () if row[metric] is not None]
        x, y = ([row[key] for row in rows] for key in ("threshold", metric))
        axes.plot(x, y, linewidth=1.5, label=variant, **looks[variant].style)
    axes.axvline(FIXED, color="black", linewidth=0.8, linestyle=":")
    style.add_grid(axes)
    axes.set_xlim(0, 1)
    axes.set_title(METRICS[metric].label, fontsize="medium")


def _errors(metrics: Mapping[str, Any]) -> str:
    values = (metrics["calibration"][key] for key in ("ece", "ece_uncertain"))
    all_, uncertain = ("undefined" if value is None else f"{value:.3f}" for value in values)
    return f"ECE {all_}, of uncertain pixels {uncertain}"
