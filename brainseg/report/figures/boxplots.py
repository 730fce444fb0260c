"""How the scores of single images scatter, per class and variant."""

from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from brainseg.report.figures.style import GRID, Drawing, Look, looks_of, styled
from brainseg.report.pictures import Case, by_class, read_float_cases
from brainseg.report.table import Runs
from brainseg.run import Run

TITLE = "Scores of single images"
CAPTION = (
    "Dice (high is good) and 95th percentile Hausdorff distance in pixels (low is good) of each "
    "test image with a tumour, all seeds. Box: quartiles and median; whiskers: the furthest points "
    "within 1.5 times the box; point: an image, moved aside by chance. Where nothing is predicted, "
    "the distance is the image diagonal; a mark in the wrong place is nearer. Missed: the "
    "prediction does not touch the tumour. Images of one patient "
    "resemble each other: boxes say how images scatter, not how sure a difference is."
)

METRICS = {"dice": "Dice", "hd95_px": "HD95, px"}

WIDTH = 0.5
"""Of a box; variants stand one apart."""

Scores = dict[str, list[list[Case]]]
"""By variant, for each run the cases with a tumour."""


@styled
def draw_boxplots(runs: Runs) -> Drawing | None:
    """Draw `METRICS` × classes, a box per variant, or nothing where no tumour was scored."""
    scores = _read_scores(runs)
    if not scores:
        return None
    classes = list(by_class(case for runs in scores.values() for cases in runs for case in cases))
    return Drawing(_make_figure(scores, classes, looks_of(runs)), _describe(scores, classes))


def _read_scores(runs: Runs) -> Scores:
    """The tumours that were scored; variants without any are left out."""
    found = {variant: [_tumors(run) for run in members] for variant, members in runs.items()}
    return {variant: members for variant, members in found.items() if any(members)}


def _make_figure(scores: Scores, classes: Sequence[str], looks: Mapping[str, Look]) -> Figure:
    width = max(1.9, 0.85 * len(scores))
    figure = Figure(figsize=(1 + width * len(classes), 7), layout="constrained")
    grid = figure.subplots(len(METRICS), len(classes), sharex="col", sharey="row", squeeze=False)
    for column, name in zip(grid.T, classes, strict=True):
        members = {variant: _of_class(found, name) for variant, found in scores.items()}
        column[0].set_title(name)
        for axes, metric in zip(column, METRICS, strict=True):
            for place, (variant, found) in enumerate(members.items()):
                _draw_box(axes, place, _values(found, metric), looks[variant])
            axes.grid(axis="y", **GRID)
            axes.set_axisbelow(True)
        labels = [_label(variant, found) for variant, found in members.items()]
        column[-1].set_xticks(range(len(members)), labels)
    for axes, label in zip(grid[:, 0], METRICS.values(), strict=True):
        axes.set_ylabel(label)
    grid[0, 0].set_ylim(-0.02, 1.02)
    _scale_distances(grid[1, 0])
    return figure


def _describe(scores: Scores, classes: Sequence[str]) -> str:
    """Medians and missed tumours."""
    told = []
    for name in classes:
        for variant, found in scores.items():
            members = _of_class(found, name)
            if any(members):
                values = (_values(members, metric) for metric in METRICS)
                medians = " and ".join(f"{median(each):.3g}" for each in values if each)
                told.append(f"{name}, {variant}: {medians}, {_missed(members)}")
    return (
        "Box plots of Dice and HD95 per class and variant. Medians of Dice and of HD95 in pixels: "
        f"{'; '.join(told)}."
    )


def _tumors(run: Run) -> list[Case]:
    return [case for case in read_float_cases(run) if case["dice"] is not None]


def _of_class(runs: Sequence[Sequence[Case]], name: str) -> list[list[Case]]:
    return [[case for case in cases if case["class"] == name] for cases in runs]


def _values(runs: Sequence[Sequence[Case]], metric: str) -> list[float]:
    return [case[metric] for cases in runs for case in cases if case[metric] is not None]


def _draw_box(axes: Axes, place: int, values: Sequence[float], look: Look) -> None:
    aside = np.random.default_rng(0).uniform(-WIDTH / 2, WIDTH / 2, len(values))
    axes.scatter(
        place + aside,
        values,
        s=5,
        color=look.colour,
        marker=look.marker,
        linewidths=0,
        alpha=0.35,
        rasterized=True,
    )
    line = {"color": look.colour, "linewidth": 1.3}
    axes.boxplot(
        [list(values)],
        positions=[place],
        widths=WIDTH,
        showfliers=False,
        boxprops=line,
        whiskerprops=line,
        capprops=line,
        medianprops=line | {"linewidth": 2.6},
    )


def _scale_distances(axes: Axes) -> None:
    """Logarithmic from one pixel on; below it is linear, since a perfect outline has distance 0."""
    _, top = axes.get_ylim()
    axes.set_yscale("symlog", linthresh=1, linscale=0.3)
    axes.set_ylim(-0.2, 1.2 * top)
    axes.yaxis.set_major_formatter("{x:g}")


def _label(variant: str, runs: Sequence[Sequence[Case]]) -> str:
    sizes = [len(cases) for cases in runs]
    seeds = f" × {len(sizes)}" if len(sizes) > 1 else ""
    n = f"{sizes[0]}{seeds}" if len(set(sizes)) == 1 else " + ".join(map(str, sizes))
    return "\n".join(filter(None, [variant, f"n {n}", _missed(runs)]))


def _missed(runs: Sequence[Sequence[Case]]) -> str:
    missed = [case["tp"] == 0 for cases in runs for case in cases]
    return f"{sum(missed) / len(missed):.0%} missed" if missed else ""
