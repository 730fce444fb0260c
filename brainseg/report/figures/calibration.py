"""Whether probabilities mean what they say, and what another threshold would do."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from brainseg.files import read_json
from brainseg.report.figures.style import GRID, Drawing, Look, looks_of, styled
from brainseg.report.table import Runs

TITLE = "Calibration and threshold"
CAPTION = (
    "Upper line: among the test pixels of similar predicted probability, the share that is "
    "tumour; on the diagonal the probabilities mean what they say. ECE: mean distance from the "
    "diagonal over all pixels, and over those that are neither 0 nor 1. Middle: the number of "
    "pixels, on a logarithmic axis. Lower line: metrics at other thresholds. The threshold is "
    "fixed at 0.5, the dotted line; the curve is not used to choose it. First run of each variant."
)

SWEPT = {
    "mean_iou": "mean IoU",
    "tumor_iou": "tumour IoU",
    "dice": "Dice",
    "detection_rate": "detection rate",
    "false_positive_rate": "false positive rate",
}
"""Metrics of the threshold's curve."""

FIXED = 0.5


@styled
def draw_calibration(runs: Runs) -> Drawing | None:
    """Draw what `metrics.json` says of probabilities, or nothing where it says nothing."""
    found = _read_calibrations(runs)
    if not found:
        return None
    return Drawing(_make_figure(found, looks_of(runs)), _describe(found))


def _read_calibrations(runs: Runs) -> dict[str, dict[str, Any]]:
    """`metrics.json` of each variant's first run, where it tells of calibration."""
    first = {variant: members[0].metrics for variant, members in runs.items()}
    read = {variant: read_json(file) for variant, file in first.items() if file.exists()}
    return {variant: metrics for variant, metrics in read.items() if metrics.get("calibration")}


def _make_figure(found: Mapping[str, Mapping[str, Any]], looks: Mapping[str, Look]) -> Figure:
    figure = Figure(figsize=(max(2.5 * len(found), 11), 7.4), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(2, 1), squeeze=False)[:, 0]
    grid = upper.subplots(
        2, len(found), height_ratios=(3, 1), sharex=True, sharey="row", squeeze=False
    )
    for (diagram, histogram), (variant, metrics) in zip(grid.T, found.items(), strict=True):
        _draw_reliability(diagram, metrics["calibration"], looks[variant])
        _draw_histogram(histogram, metrics["calibration"]["bins"], looks[variant])
        diagram.set_title(f"{variant}\n{_errors(metrics['calibration'])}", fontsize="medium")
    grid[1, 0].set_yscale("log", nonpositive="clip")
    grid[1, 0].set_ylim(bottom=0.5)
    grid[1, 0].yaxis.set_major_formatter("{x:,.0f}")
    grid[1, 0].yaxis.set_minor_formatter(NullFormatter())
    grid[0, 0].set_ylabel("share that is tumour")
    grid[1, 0].set_ylabel("pixels")
    upper.supxlabel("predicted probability of tumour", fontsize="medium")
    for axes, (metric, label) in zip(lower.subplots(1, len(SWEPT)), SWEPT.items(), strict=True):
        _draw_sweep(axes, metric, found, looks)
        axes.set_title(label, fontsize="medium")
    lower.supxlabel("threshold", fontsize="medium")
    handles, labels = lower.axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=4, frameon=False, handlelength=4
    )
    return figure


def _describe(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The calibration errors."""
    told = [f"{variant} {_errors(metrics['calibration'])}" for variant, metrics in found.items()]
    return (
        "Reliability diagram of each variant with a histogram of its probabilities, and five line "
        f"charts of metrics against the threshold. {'; '.join(told)}."
    )


def _draw_reliability(axes: Axes, calibration: Mapping[str, Any], look: Look) -> None:
    known = [each for each in calibration["bins"] if each["n"]]
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8)
    axes.plot(
        [each["confidence"] for each in known],
        [each["share"] for each in known],
        color=look.colour,
        linestyle=look.line,
        marker=look.marker,
        markersize=5,
    )
    axes.grid(**GRID)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), box_aspect=1)


def _draw_histogram(axes: Axes, bins: Sequence[Mapping[str, Any]], look: Look) -> None:
    edges = [each["low"] for each in bins]
    widths = [each["high"] - each["low"] for each in bins]
    heights = [each["n"] for each in bins]
    axes.bar(
        edges, heights, widths, align="edge", color=look.colour, edgecolor="white", linewidth=0.6
    )
    axes.set_box_aspect(1 / 3)


def _draw_sweep(
    axes: Axes, metric: str, found: Mapping[str, Mapping[str, Any]], looks: Mapping[str, Look]
) -> None:
    for variant, metrics in found.items():
        rows = [row for row in metrics.get("thresholds") or () if row[metric] is not None]
        axes.plot(
            [row["threshold"] for row in rows],
            [row[metric] for row in rows],
            color=looks[variant].colour,
            linestyle=looks[variant].line,
            linewidth=1.5,
            label=variant,
        )
    axes.axvline(FIXED, color="black", linewidth=0.8, linestyle=":")
    axes.grid(**GRID)
    axes.set_xlim(0, 1)


def _errors(calibration: Mapping[str, Any]) -> str:
    all_, uncertain = (_number(calibration[key]) for key in ("ece", "ece_uncertain"))
    return f"ECE {all_}, of uncertain pixels {uncertain}"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
