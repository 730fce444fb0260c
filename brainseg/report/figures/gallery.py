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
from brainseg.report.external import NOTE, note_synthetic
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
from brainseg.report.figures.style import FORMATS, Drawing, copy, save, styled
from brainseg.report.page import PageFigure
from brainseg.report.points import Point
from brainseg.report.provenance import read_config
from brainseg.report.table import Runs
from brainseg.run import Run
from brainseg.terminal import bar

Argument = TypeVar("Argument")

Maker = Callable[[Path], PageFigure | None]
"""Writes the files of a figure, whose stem it takes, where there is something to show."""

WORST, APPROPRIATE = "worst_cases", "appropriateness"
"""Names of the figures of which there may be several: one per variant, or per data set."""

SEVERAL = (f"{WORST}-", f"{APPROPRIATE}-")

LONGEST = 80
"""Characters in a line of a title on a picture; names of runs are long."""


def draw_all(
    runs: Runs, points: Sequence[Point], rows: Sequence[Comparison], folder: Path
) -> list[PageFigure]:
    """Draw every figure for which the runs hold what it shows.

    The worst cases of each run are drawn into its own folder (`draw_own`); those of a variant's
    first run are copied. Figures of an earlier call that are no longer drawn are removed; other
    files stay.

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
    return _draw(
        _note_synthetic([run]),
        f"{worst_cases.TITLE} of {run.name}",
        worst_cases.CAPTION,
        worst_cases.draw_worst_cases,
        run,
        run.figures / WORST,
    )


def name_parts(labels: Iterable[str]) -> dict[str, str]:
    """By label, a part of a file's name that any disk takes, and that no other label has."""
    names: dict[str, str] = {}
    for label in labels:
        name = re.sub(r"[^\w.]+", "-", label).strip("-")
        numbered = (f"{name}-{number}" for number in count(2))
        names[label] = next(each for each in chain([name], numbered) if each not in names.values())
    return names


def _plan(runs: Runs, points: Sequence[Point], rows: Sequence[Comparison]) -> dict[str, Maker]:
    """What makes each figure, by the figure's name and in the order of a report."""
    note = _note_synthetic(chain.from_iterable(runs.values()))
    draw = partial(_draw, note)
    return {
        "curves": partial(draw, curves.TITLE, curves.CAPTION, curves.draw_curves, runs),
        "accuracy_latency": partial(
            draw,
            accuracy_latency.TITLE,
            accuracy_latency.CAPTION,
            accuracy_latency.draw_accuracy_latency,
            points,
        ),
        "accuracy_size": partial(
            draw,
            accuracy_size.TITLE,
            accuracy_size.CAPTION,
            accuracy_size.draw_accuracy_size,
            points,
        ),
        "comparisons": partial(
            draw, comparisons.TITLE, comparisons.CAPTION, comparisons.draw_comparisons, rows
        ),
        "boxplots": partial(draw, boxplots.TITLE, boxplots.CAPTION, boxplots.draw_boxplots, runs),
        "qualitative": partial(
            draw, qualitative.TITLE, qualitative.CAPTION, qualitative.draw_qualitative, runs
        ),
        "classes": partial(draw, classes.TITLE, classes.CAPTION, classes.draw_classes, runs),
        **_plan_worst_cases(note, runs),
        "attention": partial(
            draw, attention.TITLE, attention.CAPTION, attention.draw_attention, runs
        ),
        "calibration": partial(
            draw, calibration.TITLE, calibration.CAPTION, calibration.draw_calibration, runs
        ),
        APPROPRIATE: partial(_draw_appropriateness, note, "", runs),
        **_plan_external(runs),
        "architecture": partial(
            draw, architecture.TITLE, architecture.CAPTION, architecture.draw_architecture, runs
        ),
    }


def _plan_worst_cases(note: str, runs: Runs) -> dict[str, Maker]:
    names = name_parts(runs)
    return {
        f"{WORST}-{names[variant]}": partial(
            _copy_own, note, f"{worst_cases.TITLE} of {variant}", members
        )
        for variant, members in runs.items()
    }


def _plan_external(runs: Runs) -> dict[str, Maker]:
    """Of each other data set, which may be synthetic where those of training are not."""
    others = by_data_set(runs)
    names = name_parts(others)
    return {
        f"{APPROPRIATE}-{names[name]}": partial(
            _draw_appropriateness, note_synthetic(found), f" on {name}", found
        )
        for name, found in others.items()
    }


def _note_synthetic(runs: Iterable[Run]) -> str:
    """What the titles of figures of these runs end with."""
    names = {read_config(run).get("data", {}).get("name") for run in runs}
    return NOTE if "phantom" in names else ""


@styled
def _draw(
    note: str,
    title: str,
    caption: str,
    draw: Callable[[Argument], Drawing | None],
    argument: Argument,
    stem: Path,
) -> PageFigure | None:
    drawing = draw(argument)
    if drawing is None:
        return None
    drawing.figure.suptitle(fill(title + note, LONGEST))
    save(drawing.figure, stem)
    return PageFigure(title + note, caption, drawing.alt, stem)


def _draw_appropriateness(note: str, place: str, runs: Runs, stem: Path) -> PageFigure | None:
    return _draw(
        note,
        f"{appropriateness.TITLE}{place}",
        appropriateness.CAPTION,
        appropriateness.draw_appropriateness,
        collect_sources(runs),
        stem,
    )


def _copy_own(note: str, title: str, runs: Sequence[Run], stem: Path) -> PageFigure | None:
    """Draw the own figure of each run, and show a copy of the first one's."""
    first, *_ = [draw_own(run) for run in runs]
    if first is None:
        return None
    copy(first.stem, stem)
    return replace(first, title=title + note, stem=stem)


def _remove_stale(folder: Path, names: Collection[str], drawn: Collection[str]) -> None:
    """Remove the files of figures that were not drawn now."""
    for file in folder.glob("*"):
        ours = file.stem in names or file.stem.startswith(SEVERAL)
        if ours and file.suffix in FORMATS and file.stem not in drawn:
            file.unlink()
