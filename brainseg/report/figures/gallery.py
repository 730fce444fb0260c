"""Every figure of the report, drawn into a folder; those whose inputs are the same are kept."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, count
from pathlib import Path
from textwrap import fill
from types import ModuleType
from typing import Any

from brainseg.files import hash_file, read_json, write_json
from brainseg.report.appropriateness import by_data_set, collect_sources
from brainseg.report.comparisons import Comparison
from brainseg.report.external import NOTE, note_synthetic
from brainseg.report.figures import (
    accuracy_latency,
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
from brainseg.report.figures.style import Drawing, paths_of, save, styled
from brainseg.report.page import PageFigure
from brainseg.report.points import Point
from brainseg.report.provenance import read_config
from brainseg.report.table import Runs
from brainseg.run import Run
from brainseg.terminal import bar

WORST, APPROPRIATE = "worst_cases", "appropriateness"

RECORD = "drawn.json"
"""Beside the figures: by name, what each was drawn from, and its text for those who cannot see."""

PACKAGE = Path(__file__).parents[2]
"""Whatever changes there may change a figure."""

LONGEST = 80
"""Characters in a line of a title on a picture; names of runs are long."""


@dataclass(frozen=True)
class Plan:
    """A figure that may be drawn.

    Attributes:
        stem: of its files.
        title: above it.
        caption: below it.
        draw: draws it, where there is something to show.
        inputs: tells all that it shows; a figure with the same inputs is not drawn again.
    """

    stem: Path
    title: str
    caption: str
    draw: Callable[[], Drawing | None]
    inputs: Any

    @property
    def digest(self) -> str:
        """The same for the same picture: its title, its inputs, and the package's code."""
        code = [hash_file(file) for file in sorted(PACKAGE.rglob("*.py"))]
        told = json.dumps([self.title, self.inputs, code])
        return hashlib.sha256(told.encode()).hexdigest()


def draw_all(
    runs: Runs, points: Sequence[Point], rows: Sequence[Comparison], folder: Path
) -> list[PageFigure]:
    """Draw every figure for which the runs hold what it shows.

    The worst cases of each run lie in its own folder (`draw_own`); those of a variant's first run
    are shown. Figures of an earlier call that are no longer drawn are removed; other files stay.

    Args:
        runs: variants in the order of the table, each with its runs, one per seed.
        points: from `collect_points`.
        rows: from `compare_all`.
        folder: where the files are written.

    Returns:
        The figures that were drawn, in the order of a report.
    """
    for run in chain.from_iterable(members[1:] for members in runs.values()):
        draw_own(run)
    plans = list(_plan(runs, points, rows, folder))
    found = [_draw(plan) for plan in bar(plans, "Drawing figures")]
    drawn = [figure for figure in found if figure is not None]
    _remove_stale(folder, {figure.stem for figure in drawn})
    return drawn


def draw_own(run: Run) -> PageFigure | None:
    """Draw a run's own figure, its worst cases, into its folder; it stands beside its card."""
    return _draw(_plan_own(run))


def name_parts(labels: Iterable[str]) -> dict[str, str]:
    """By label, a part of a file's name that any disk takes, and that no other label has."""
    names: dict[str, str] = {}
    for label in labels:
        name = re.sub(r"[^\w.]+", "-", label).strip("-")
        numbered = (f"{name}-{number}" for number in count(2))
        names[label] = next(each for each in chain([name], numbered) if each not in names.values())
    return names


def _plan(
    runs: Runs, points: Sequence[Point], rows: Sequence[Comparison], folder: Path
) -> Iterator[Plan]:
    """Each figure in the order of a report."""
    note = _note_synthetic(chain.from_iterable(runs.values()))

    def plan(figure: ModuleType, draw: Callable[[Any], Drawing | None], shown: Any) -> Plan:
        name = figure.__name__.rpartition(".")[2]
        inputs = _files(shown, figure.INPUTS) if shown is runs else repr(shown)
        title = figure.TITLE + note
        return Plan(folder / name, title, figure.CAPTION, partial(draw, shown), inputs)

    yield plan(curves, curves.draw_curves, runs)
    yield plan(accuracy_latency, accuracy_latency.draw_accuracy_latency, points)
    yield plan(comparisons, comparisons.draw_comparisons, rows)
    yield plan(boxplots, boxplots.draw_boxplots, runs)
    yield plan(qualitative, qualitative.draw_qualitative, runs)
    yield plan(classes, classes.draw_classes, runs)
    for members in runs.values():
        yield _plan_own(members[0])
    yield plan(attention, attention.draw_attention, runs)
    yield plan(calibration, calibration.draw_calibration, runs)
    yield _plan_appropriateness(runs, folder / APPROPRIATE, note)
    others = by_data_set(runs)
    for name, part in name_parts(others).items():
        # which may be synthetic where the data of training are not
        title = f" on {name}{note_synthetic(others[name])}"
        yield _plan_appropriateness(others[name], folder / f"{APPROPRIATE}-{part}", title)
    yield plan(architecture, architecture.draw_architecture, runs)


def _plan_own(run: Run) -> Plan:
    title = f"{worst_cases.TITLE} of {run.name}{_note_synthetic([run])}"
    draw = partial(worst_cases.draw_worst_cases, run)
    inputs = _files({run.name: [run]}, worst_cases.INPUTS)
    return Plan(run.figures / WORST, title, worst_cases.CAPTION, draw, inputs)


def _plan_appropriateness(runs: Runs, stem: Path, place: str) -> Plan:
    def draw() -> Drawing | None:
        return appropriateness.draw_appropriateness(collect_sources(runs))

    title, inputs = appropriateness.TITLE + place, _files(runs, appropriateness.INPUTS)
    return Plan(stem, title, appropriateness.CAPTION, draw, inputs)


def _files(runs: Runs, names: Iterable[str]) -> list[Any]:
    """Variant, run, name and hash of the files in `names`, attributes of `Run`, of all modes."""
    found = []
    for variant, run in ((variant, run) for variant, members in runs.items() for run in members):
        found.append([variant, run.name])
        for name in names:
            file = getattr(run, name)
            pattern = (file("*") if callable(file) else file).name
            found += [[each.name, hash_file(each)] for each in sorted(run.path.glob(pattern))]
    return found


def _note_synthetic(runs: Iterable[Run]) -> str:
    """What the titles of figures of these runs end with."""
    names = {read_config(run).get("data", {}).get("name") for run in runs}
    return NOTE if "phantom" in names else ""


@styled
def _draw(plan: Plan) -> PageFigure | None:
    """Draw a figure, if it is not there already."""
    folder, name, digest = plan.stem.parent, plan.stem.name, plan.digest
    record = _read_record(folder)
    known = record.pop(name, {})
    if known.get("inputs") != digest or not all(file.exists() for file in paths_of(plan.stem)):
        drawing = plan.draw()
        if drawing is None:
            return None
        drawing.figure.suptitle(fill(plan.title, LONGEST))
        save(drawing.figure, plan.stem)
        known = {"inputs": digest, "alt": drawing.alt}
        write_json(folder / RECORD, record | {name: known})
    return PageFigure(plan.title, plan.caption, known["alt"], plan.stem)


def _read_record(folder: Path) -> dict[str, Any]:
    file = folder / RECORD
    return read_json(file) if file.exists() else {}


def _remove_stale(folder: Path, drawn: Iterable[Path]) -> None:
    """Remove the figures of an earlier call that were not drawn now."""
    record = _read_record(folder)
    names = {stem.name for stem in drawn}
    for name in record.keys() - names:
        for file in paths_of(folder / name):
            file.unlink(missing_ok=True)
    if record:
        write_json(folder / RECORD, {name: record[name] for name in record if name in names})
