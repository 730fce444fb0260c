"""How the scores of single images scatter, per class and variant."""

from collections.abc import Mapping, Sequence
from statistics import median
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from brainseg.report.figures.style import Drawing, Look, Style, add_grid, looks_of, styled
from brainseg.report.pictures import Case, by_class, read_float_cases
from brainseg.report.table import Runs
from brainseg.vocabulary import METRICS as KNOWN

TITLE = "Scores of single images"
CAPTION = (
    "Dice (high is good) and 95th percentile Hausdorff distance (low is good) of each test image "
    "with a tumour, all seeds. Box: quartiles and median; whiskers: the furthest points within 1.5 "
    "times the box; point: an image, moved sideways at random. Where nothing is predicted, the "
    "distance is the image diagonal. Missed: the prediction does not touch the tumour. Images of "
    "one patient resemble each other: boxes do not show how certain a difference is."
)
INPUTS = ("cases",)

METRICS = ("dice", "hd95_px")

WIDTH = 0.5
"""Of a box; variants stand one apart."""

Tumors = Sequence[Sequence[Case]]
"""For each run the cases with a tumour."""


@styled
def draw(runs: Runs) -> Drawing | None:
    """Draw `METRICS` × classes, a box per variant, or nothing where no tumour was scored."""
    found = {
        variant: [[c for c in read_float_cases(run) if c["dice"] is not None] for run in members]
        for variant, members in runs.items()
    }
    scores = {variant: tumors for variant, tumors in found.items() if any(tumors)}
    classes = by_class(case for tumors in scores.values() for cases in tumors for case in cases)
    if not classes:
        return None
    groups = {
        name: {
            variant: [[case for case in cases if case["class"] == name] for cases in tumors]
            for variant, tumors in scores.items()
        }
        for name in classes
    }
    told = [
        f"{name}, {variant}: {_tell_medians(tumors)}, {_missed(tumors)}"
        for name, members in groups.items()
        for variant, tumors in members.items()
        if any(tumors)
    ]
    alt = f"Box plots per class and variant. Medians of Dice and HD95 in pixels: {'; '.join(told)}."
    return Drawing(_make_figure(groups, looks_of(runs)), alt)


def _make_figure(groups: Mapping[str, Mapping[str, Tumors]], looks: Mapping[str, Look]) -> Figure:
    width = max(1.9, 0.85 * len(next(iter(groups.values()))))
    figure = Figure(figsize=(1 + width * len(groups), 7), layout="constrained")
    grid = figure.subplots(len(METRICS), len(groups), sharex="col", sharey="row", squeeze=False)
    for column, (name, members) in zip(grid.T, groups.items(), strict=True):
        column[0].set_title(name)
        for axes, metric in zip(column, METRICS, strict=True):
            for place, (variant, tumors) in enumerate(members.items()):
                _draw_box(axes, place, _values(tumors, metric), looks[variant])
            add_grid(axes, "y")
        labels = [_label(variant, tumors) for variant, tumors in members.items()]
        column[-1].set_xticks(range(len(members)), labels)
    for axes, metric in zip(grid[:, 0], METRICS, strict=True):
        axes.set_ylabel(KNOWN[metric].label)
    grid[0, 0].set_ylim(-0.02, 1.02)
    _scale_distances(grid[1, 0])
    return figure


def _values(tumors: Tumors, metric: str) -> list[float]:
    return [case[metric] for cases in tumors for case in cases if case[metric] is not None]


def _draw_box(axes: Axes, place: int, values: Sequence[float], look: Look) -> None:
    aside = np.random.default_rng(0).uniform(-WIDTH / 2, WIDTH / 2, len(values))
    points: Style = {"marker": look.marker, "linewidths": 0, "alpha": 0.35, "rasterized": True}
    axes.scatter(place + aside, values, s=5, color=look.colour, **points)
    line = {"color": look.colour, "linewidth": 1.3}
    parts: Style = dict.fromkeys(("boxprops", "whiskerprops", "capprops"), line)
    parts |= {"medianprops": line | {"linewidth": 2.6}, "showfliers": False}
    axes.boxplot([list(values)], positions=[place], widths=WIDTH, **parts)


def _scale_distances(axes: Axes) -> None:
    """Logarithmic from one pixel on; below it is linear, since a perfect outline has distance 0."""
    _, top = axes.get_ylim()
    axes.set_yscale("symlog", linthresh=1, linscale=0.3)
    axes.set_ylim(-0.2, 1.2 * top)
    axes.yaxis.set_major_formatter("{x:g}")


def _label(variant: str, tumors: Tumors) -> str:
    sizes = [len(cases) for cases in tumors]
    seeds = f" × {len(sizes)}" if len(sizes) > 1 else ""
    n = f"{sizes[0]}{seeds}" if len(set(sizes)) == 1 else " + ".join(map(str, sizes))
    return "\n".join(filter(None, [fill(variant, 12), f"n {n}", _missed(tumors)]))


def _tell_medians(tumors: Tumors) -> str:
    return " and ".join(f"{median(_values(tumors, metric)):.3g}" for metric in METRICS)


def _missed(tumors: Tumors) -> str:
    missed = [case["tp"] == 0 for cases in tumors for case in cases]
    return f"{sum(missed) / len(missed):.0%} missed" if missed else ""
