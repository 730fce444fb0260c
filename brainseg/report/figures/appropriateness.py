"""Place, shape and contrast of tumours by class, as drawn by the truth and by each variant."""

from collections import Counter
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from brainseg.evaluation.appropriateness import EXPECTED
from brainseg.report.appropriateness import Sources, collect_sources, is_truth
from brainseg.report.figures import style
from brainseg.report.rows import span
from brainseg.report.table import Runs
from brainseg.vocabulary import MEASURES

TITLE = "Appropriateness"
CAPTION = (
    "Whether tumours lie and look as their class should (section III-C of the study). Box: "
    "quartiles of what was drawn, also in the wrong place; whiskers: 5th to 95th percentile; n: "
    "images, the fewest and the most of a source. Arrow: section I-B expects higher or lower "
    "values of this class than of the others."
)
INPUTS = ("appropriateness", "cases")

COLUMNS = 4
ARROWS = {"high": "↑", "low": "↓"}


@style.styled
def draw(runs: Runs) -> style.Drawing | None:
    """Draw the distribution of each measure that a class is expected to have high or low.

    Nothing where no such class was measured. `runs` may be evaluations on another data set.
    """
    sources = collect_sources(runs)
    if not sources:
        return None
    told = []
    for name, rows in sources.items():
        counts = Counter(row["class"] for row in rows if row["detected"])
        told.append(f"{name}: {', '.join(f'{counts[class_]} {class_}' for class_ in EXPECTED)}")
    alt = f"Box plots of each measure by class. Tumours measured: {'; '.join(told)}."
    return style.Drawing(_make_figure(sources), alt)


def _make_figure(sources: Sources) -> Figure:
    shown = [name for name in MEASURES if any(_expected(class_, name) for class_ in EXPECTED)]
    lines = -(-len(shown) // COLUMNS)
    figure = Figure(figsize=(3 * COLUMNS, 2.8 * lines + 0.5), layout="constrained")
    grid = figure.subplots(lines, COLUMNS, squeeze=False)
    fills = _fills(sources)
    for axes, measure in zip(style.use(grid, len(shown)), shown, strict=True):
        _draw_measure(axes, measure, sources, fills)
    handles = [Patch(label=name, edgecolor="black", **each) for name, each in fills.items()]
    style.add_legend(figure, handles, len(sources))
    return figure


def _draw_measure(
    axes: Axes, measure: str, sources: Sources, fills: Mapping[str, style.Style]
) -> None:
    width = 0.8 / len(sources)
    values = [[_values(rows, class_, measure) for class_ in EXPECTED] for rows in sources.values()]
    for number, name in enumerate(sources):
        drawn = axes.boxplot(
            values[number],
            positions=np.arange(len(EXPECTED)) + (number - (len(sources) - 1) / 2) * width,
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
        f"{class_}\nn {span([str(len(each)) for each in found])}\n{_expected(class_, measure)}"
        for class_, *found in zip(EXPECTED, *values, strict=True)
    ]
    axes.set_xticks(range(len(EXPECTED)), labels)
    style.add_grid(axes, "y")


def _fills(sources: Sources) -> dict[str, style.Style]:
    """Face and hatch of each source: a truth is white, a variant the same in any figure."""
    looks = style.looks_of(name for name in sources if not is_truth(name))
    for place, name in enumerate(filter(is_truth, sources)):
        looks[name] = style.Look("#FFFFFF", "-", hatch=place * "*")
    # Black would hide hatch and median.
    colours = {name: look.colour.replace("#000000", "#BBBBBB") for name, look in looks.items()}
    return {name: {"facecolor": colours[name], "hatch": looks[name].hatch} for name in sources}


def _expected(class_: str, measure: str) -> str:
    """An arrow where something is expected."""
    found = [entry.direction for entry in EXPECTED[class_] if entry.measure == measure]
    return f"expected {ARROWS[found[0]]}" if found else ""


def _values(rows: Sequence[Mapping[str, Any]], class_: str, measure: str) -> list[float]:
    return [row[measure] for row in rows if row["class"] == class_ and row[measure] is not None]
