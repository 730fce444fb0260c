"""Place, shape and contrast of tumours by class, as drawn by the truth and by each variant."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from brainseg.evaluation.appropriateness import EXPECTED
from brainseg.evaluation.tumor import MEASURES
from brainseg.report.appropriateness import Sources, is_truth
from brainseg.report.figures.style import GRID, Drawing, looks_of, styled
from brainseg.report.rows import ORDERS, span
from brainseg.vocabulary import TRUTH

TITLE = "Appropriateness"
CAPTION = (
    "Whether tumours lie and look as their class should (section III-C of the study). Box: "
    "quartiles of what was drawn, also in the wrong place; whiskers: 5th to 95th percentile; n: in "
    "how many images, the fewest and the most of a source. An arrow under a class says that "
    "section I-B expects higher or lower values of it than of the others."
)

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
    return Drawing(_make_figure(sources), _describe(sources))


def _make_figure(sources: Sources) -> Figure:
    shown = [name for name in MEASURES if any(_expected(class_, name) for class_ in EXPECTED)]
    lines = -(-len(shown) // COLUMNS)
    figure = Figure(figsize=(3 * COLUMNS, 2.8 * lines + 0.5), layout="constrained")
    grid = figure.subplots(lines, COLUMNS, squeeze=False)
    for axes, measure in zip(grid.flat, shown, strict=False):
        _draw_measure(axes, measure, sources)
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    figure.legend(
        handles=[
            Patch(facecolor=colour, hatch=hatch, edgecolor="black", label=name)
            for name, (colour, hatch) in _fills(sources).items()
        ],
        loc="outside lower center",
        ncols=len(sources),
        frameon=False,
    )
    return figure


def _describe(sources: Sources) -> str:
    """How many tumours each source drew, by class."""
    counts = [
        f"{name}: " + ", ".join(f"{_detected(rows, class_)} {class_}" for class_ in EXPECTED)
        for name, rows in sources.items()
    ]
    return (
        "Box plots of place, shape and contrast of tumours by class. Tumours measured: "
        f"{'; '.join(counts)}. The table of appropriateness holds the medians."
    )


def _detected(rows: Sequence[Mapping[str, Any]], class_: str) -> int:
    return sum(row["class"] == class_ and row["detected"] for row in rows)


def _draw_measure(axes: Axes, measure: str, sources: Sources) -> None:
    width = 0.8 / len(sources)
    for number, (name, (colour, hatch)) in enumerate(_fills(sources).items()):
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
            box.set(facecolor=colour, hatch=hatch, linewidth=0.7)
    axes.set_title(measure.replace("_", " "))
    unit = MEASURES[measure].partition(", ")[2] or MEASURES[measure]
    axes.set_ylabel(fill(unit, 30), fontsize="small")
    labels = [
        f"{class_}\nn {_count(sources, class_, measure)}\n{_expected(class_, measure)}"
        for class_ in EXPECTED
    ]
    axes.set_xticks(range(len(EXPECTED)), labels)
    axes.grid(axis="y", **GRID)
    axes.set_axisbelow(True)


def _fills(sources: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Colour and hatch of each source; the truth is white, and a variant the same in any figure."""
    known = dict(zip(ORDERS["attention"], HATCHES, strict=False))
    spare = cycle(HATCHES[len(known) :])
    looks = looks_of(name for name in sources if not is_truth(name))
    colours = {name: look.colour for name, look in looks.items()} | {"none": "#BBBBBB"}
    hatches = {TRUTH: ""} | known
    return {
        name: (
            "white" if is_truth(name) else colours[name],
            hatches[name] if name in hatches else next(spare),
        )
        for name in sources
    }


def _expected(class_: str, measure: str) -> str:
    """An arrow where something is expected."""
    found = [entry.direction for entry in EXPECTED[class_] if entry.measure == measure]
    return f"expected {ARROWS[found[0]]}" if found else ""


def _count(sources: Sources, class_: str, measure: str) -> str:
    """In how many images a measure is defined, of all sources."""
    return span([str(len(_values(rows, class_, measure))) for rows in sources.values()])


def _values(rows: Sequence[Mapping[str, Any]], class_: str, measure: str) -> list[float]:
    return [row[measure] for row in rows if row["class"] == class_ and row[measure] is not None]
