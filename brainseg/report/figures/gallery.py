"""Every figure of the report, drawn into a folder."""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, count
from pathlib import Path
from textwrap import fill
from typing import TypeVar

from brainseg.report.appropriateness import by_data_set, collect_sources
from brainseg.report.comparisons import Comparison
from brainseg.report.figures import (
    accuracy_latency,
    accuracy_size,
    appropriateness,
    architecture,
    attention,
    boxplots,
    calibration,
    classes,
    comparisons,
    curves,
    qualitative,
    worst_cases,
)
from brainseg.report.figures.style import Drawing, copy, paths_of, save, styled
from brainseg.report.page import PageFigure
from brainseg.report.points import Point
from brainseg.report.provenance import read_config
from brainseg.report.table import Runs
from brainseg.run import Run
from brainseg.terminal import bar

Shown = TypeVar("Shown")

Maker = Callable[[Path], PageFigure | None]
"""Writes the files of a figure, given their stem, where there is something to show."""

WORST, APPROPRIATE = "worst_cases", "appropriateness"
"""Names of the figures of which there are several: one per variant or data set."""

LONGEST = 90
"""Characters in a line of a title: names of runs are long."""


def draw_all(
    runs: Runs, points: Sequence[Point], rows: Sequence[Comparison], folder: Path
) -> list[PageFigure]:
    """Draw every figure for which the runs hold what it shows.

    Each run's worst cases are drawn into its own folder (`draw_own`); those of a variant's first
    run are copied. Figures of an earlier call that are no longer drawn are removed; other files
    stay.

    Args:
        runs: variants in the order of the table, each with its runs, one per seed.
        points: from `collect_points`.
        rows: from `compare_all`.
        folder: where the files are written.

    Returns:
        The figures that were drawn, in the order of a report.
    """
    makers = _plan(runs, points, rows)
    found = [make(folder / name) for name, make in bar(makers.items(), "Drawing figures")]
    drawn = [figure for figure in found if figure is not None]
    _remove_stale(folder, makers, {figure.stem.name for figure in drawn})
    return drawn


def draw_own(run: Run) -> PageFigure | None:
    """Draw a run's own figure, its worst cases, into its folder; it stands beside its card."""
    title = f"{worst_cases.TITLE} of {run.name}{_warning([run])}"
    draw = worst_cases.draw_worst_cases
    return _draw(title, worst_cases.CAPTION, draw, run, run.figures / WORST)


def name_parts(labels: Iterable[str]) -> dict[str, str]:
    """By label, a part of a file's name that any disk takes and no other label has."""
    names: dict[str, str] = {}
    for label in labels:
        name = re.sub(r"[^\w.]+", "-", label).strip("-")
        numbered = (f"{name}-{number}" for number in count(2))
        names[label] = next(each for each in chain([name], numbered) if each not in names.values())
    return names


def _plan(
    runs: Runs, points: Sequence[Point], rows: Sequence[Comparison]
) -> dict[str, Maker]:
    """What makes each figure, by its name and in the order of a report."""
    warning = _warning(chain.from_iterable(runs.values()))

    def plan(title: str, caption: str, draw: Callable[[Shown], Drawing | None], of: Shown) -> Maker:
        return partial(_draw, title + warning, caption, draw, of)

    return {
    }
