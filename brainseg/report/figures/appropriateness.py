"""Place, shape and contrast of tumours by class, as drawn by the truth and by each variant."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from brainseg.evaluation.appropriateness import EXPECTED
from brainseg.evaluation.tumor import MEASURES
from brainseg.report.appropriateness import Sources, is_truth
from brainseg.report.figures.style import (
    LOOKS,
    Drawing,
    Style,
    add_grid,
    add_legend,
    looks_of,
    styled,
)
from brainseg.report.rows import span

TITLE = "Appropriateness"
CAPTION = (
    "Whether tumours lie and look as their class should (section III-C of the study). Box: "
    "quartiles of what was drawn, also in the wrong place; whiskers: 5th to 95th percentile; n: "
    "images, the fewest and the most of a source. Arrow: section I-B expects higher or lower "
    "values of this class than of the others."
)
INPUTS = ("appropriateness", "cases")

COLUMNS = 4
HATCHES = ("//", "..", "xx", "\\\\", "++", "oo", "--")
ARROWS = {"high": "↑", "low": "↓"}


@styled
def draw_appropriateness(sources: Sources) -> Drawing | None:
    """Draw the distribution of each measure that a class is expected to have high or low.

    Args:
        sources: from `collect_sources`, of runs or of evaluations on another data set.

    Returns:
        The drawing, or `None` where nothing is expected of what was measured.
    """
    if not any(row["class"] in EXPECTED for rows in sources.values() for row in rows):
        return None
    told = [
        f"{name}: {', '.join(f'{_detected(rows, class_)} {class_}' for class_ in EXPECTED)}"
        for name, rows in sources.items()
    ]
    alt = f"Box plots of each measure by class. Tumours measured: {'; '.join(told)}."
    return Drawing(_make_figure(sources), alt)


def _make_figure(sources: Sources) -> Figure:
    shown = [name for name in MEASURES if any(_expected(class_, name) for class_ in EXPECTED)]
    lines = -(-len(shown) // COLUMNS)
    figure = Figure(figsize=(3 * COLUMNS, 2.8 * lines + 0.5), layout="constrained")
    grid = figure.subplots(lines, COLUMNS, squeeze=False)
    fills = _fills(sources)
    for axes, measure in zip(grid.flat, shown, strict=False):
        _draw_measure(axes, measure, sources, fills)
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    handles = [Patch(label=name, edgecolor="black", **each) for name, each in fills.items()]
    add_legend(figure, handles, len(sources))
    return figure


def _detected(rows: Sequence[Mapping[str, Any]], class_: str) -> int:
    return sum(row["class"] == class_ and row["detected"] for row in rows)


def _draw_measure(axes: Axes, measure: str, sources: Sources, fills: Mapping[str, Style]) -> None:
    width = 0.8 / len(sources)
    for number, name in enumerate(sources):
        values = [_values(sources[name], class_, measure) for class_ in EXPECTED]
        drawn = axes.boxplot(
            values,
            positions=np.arange(len(values)) + (number - (len(sources) - 1) / 2) * width,
            widths=0.85 * width,
            whis=(5, 95),
            showfliers=False,
            patch_artist=True,
            medianprops={"color": "black", "linewidth": 1.6},
            manage_ticks=False,
        )
        for box in drawn["boxes"]:
            box.set(linewidth=0.7, **fills[name])
    axes.set_title(measure.replace("_", " "))
    unit = MEASURES[measure].partition(", ")[2] or MEASURES[measure]
    axes.set_ylabel(fill(unit, 30), fontsize="small")
    labels = [
        f"{class_}\nn {_count(sources, class_, measure)}\n{_expected(class_, measure)}"
        for class_ in EXPECTED
    ]
    axes.set_xticks(range(len(EXPECTED)), labels)
    add_grid(axes, "y")


def _fills(sources: Sources) -> dict[str, Style]:
    """Face and hatch of each source: a truth is white, a variant the same in any figure."""
    hatches = dict(zip(LOOKS, HATCHES, strict=True))
    looks = looks_of(name for name in sources if not is_truth(name))
    fills = {
        # Black would hide hatch and median.
        name: {"facecolor": look.colour.replace("#000000", "#BBBBBB"), "hatch": hatches[look]}
        for name, look in looks.items()
    }
    truths = [name for name in sources if is_truth(name)]
    fills |= {
        name: {"facecolor": "white", "hatch": place * "*"} for place, name in enumerate(truths)
    }
    return {name: fills[name] for name in sources}


def _expected(class_: str, measure: str) -> str:
    """An arrow where something is expected."""
    found = [entry.direction for entry in EXPECTED[class_] if entry.measure == measure]
    return f"expected {ARROWS[found[0]]}" if found else ""


def _count(sources: Sources, class_: str, measure: str) -> str:
    """In how many images a measure is defined, of all sources."""
    return span([str(len(_values(rows, class_, measure))) for rows in sources.values()])


def _values(rows: Sequence[Mapping[str, Any]], class_: str, measure: str) -> list[float]:
    return [row[measure] for row in rows if row["class"] == class_ and row[measure] is not None]
