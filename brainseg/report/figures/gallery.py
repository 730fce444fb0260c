"""Every figure of the report, drawn into a folder; those whose inputs are the same are kept."""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from textwrap import fill
from types import ModuleType
from typing import Any

from joblib import Parallel, delayed

from brainseg.content.read import read_content
from brainseg.environment import physical_cores
from brainseg.errors import InputError
from brainseg.files import hash_file, write_json
from brainseg.report.appropriateness import by_data_set
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
    latency_threads,
    mixed_precision,
    qualitative,
    robustness,
    worst_cases,
)
from brainseg.report.figures.style import paths_of, save, styled
from brainseg.report.page import PageFigure
from brainseg.report.points import Point
from brainseg.report.provenance import read_config
from brainseg.report.table import Runs
from brainseg.run import Run
from brainseg.terminal import bar

RECORD = "drawn.json"
"""Beside the figures: by name, what each was drawn from, and its text for those who cannot see."""

PACKAGE = Path(__file__).parents[2]
"""Whatever changes there may change a figure."""

MANY = 6
"""Figures from which on it pays to start other processes."""

LONGEST = 80
"""Characters in a line of a title on a picture; names of runs are long."""


@dataclass(frozen=True)
class Plan:
    """A figure that may be drawn.

    Attributes:
        figure: its module: `TITLE`, `CAPTION`, and `draw`, which gives `None` where there is
            nothing to show.
        shown: what `draw` takes: runs by variant, points or comparisons.
        stem: of its files.
        ending: of its title.
    """

    figure: ModuleType
    shown: Any
    stem: Path
    ending: str

    @property
    def title(self) -> str:
        """On the picture, and above it on a page."""
        return self.figure.TITLE + self.ending

    @property
    def inputs(self) -> Any:
        """All that it shows."""
        files = getattr(self.figure, "INPUTS", None)
        return _files(self.shown, files) if files else repr(self.shown)

    @property
    def digest(self) -> str:
        """The same for the same picture: its title, its inputs, and the package's code."""
        code = [hash_file(file) for file in sorted(PACKAGE.rglob("*.py"))]
        told = json.dumps([self.title, self.inputs, code])
        return hashlib.sha256(told.encode()).hexdigest()


def draw_all(
    runs: Runs, points: Sequence[Point], rows: Sequence[Comparison], folder: Path
) -> list[PageFigure]:
    """Draw every figure for which there is something to show, in the order of a report.

    The worst cases of each run lie in its own folder (`draw_own`); those of a variant's first run
    are shown. Figures of earlier reports that are no longer drawn are removed; other files stay.
    """
    others = chain.from_iterable(members[1:] for members in runs.values())
    plans, hidden = _plan(runs, points, rows, folder), [_plan_own(run) for run in others]
    drawn = _draw_all([*plans, *hidden])[: len(plans)]
    shown = [figure for figure in drawn if figure]
    _remove_others(folder, [figure.stem for figure in shown])
    return shown


def draw_own(run: Run) -> PageFigure | None:
    """Draw a run's own figure, its worst cases, into its folder; it stands beside its card."""
    return _draw_all([_plan_own(run)])[0]


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
) -> list[Plan]:
    """Each figure in the order of a report."""
    note = _note_synthetic(chain.from_iterable(runs.values()))

    def plan(figure: ModuleType, shown: Any = runs) -> Plan:
        return Plan(figure, shown, folder / figure.__name__.rpartition(".")[2], note)

    return [
        plan(curves),
        plan(accuracy_latency, points),
        plan(latency_threads, points),
        plan(comparisons, rows),
        plan(robustness),
        plan(mixed_precision),
        *map(plan, (boxplots, qualitative, classes)),
        *(_plan_own(members[0]) for members in runs.values()),
        *map(plan, (attention, calibration, appropriateness)),
        *_plan_others(runs, folder),
        plan(architecture),
    ]


def _plan_own(run: Run) -> Plan:
    ending = f" of {run.name}{_note_synthetic([run])}"
    return Plan(worst_cases, {run.name: [run]}, run.figures / "worst_cases", ending)


def _plan_others(runs: Runs, folder: Path) -> Iterator[Plan]:
    """The figures of other data sets, which may be synthetic where those of training are not."""
    others = by_data_set(runs)
    for name, part in name_parts(others).items():
        ending = f" on {name}{note_synthetic(others[name])}"
        yield Plan(appropriateness, others[name], folder / f"appropriateness-{part}", ending)


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


def _draw_all(plans: Sequence[Plan]) -> list[PageFigure | None]:
    """Draw figures on all cores, but for those that are there already, and note what they show."""
    known = [_known(plan) for plan in plans]
    stale = [plan for plan, alt in zip(plans, known, strict=True) if alt is None]
    jobs = min(physical_cores(), len(stale)) if len(stale) >= MANY else 1
    work = Parallel(n_jobs=max(1, jobs), return_as="generator")(map(delayed(_draw), stale))
    alts: Iterator[str | None] = iter(bar(work, "Drawing figures", total=len(stale)))
    found: list[PageFigure | None] = []
    for plan, before in zip(plans, known, strict=True):
        alt = next(alts) if before is None else before
        if alt is not None and before is None:
            _note(plan, alt)
        figure = (
            None if alt is None else PageFigure(plan.title, plan.figure.CAPTION, alt, plan.stem)
        )
        found.append(figure)
    return found


@styled
def _draw(plan: Plan) -> str | None:
    """Draw a figure; its alternative text, or `None` where there is nothing to show."""
    drawing = plan.figure.draw(plan.shown)
    if drawing is None:
        return None
    drawing.figure.suptitle(fill(plan.title, LONGEST))
    save(drawing.figure, plan.stem)
    return drawing.alt


def _known(plan: Plan) -> str | None:
    """The alternative text of a figure that is there already, of the same inputs."""
    noted = _read_record(plan).get(plan.stem.name, {})
    is_there = all(file.exists() for file in paths_of(plan.stem))
    return noted["alt"] if is_there and noted.get("inputs") == plan.digest else None


def _note(plan: Plan, alt: str) -> None:
    noted = {plan.stem.name: {"inputs": plan.digest, "alt": alt}}
    write_json(plan.stem.with_name(RECORD), _read_record(plan) | noted)


def _read_record(plan: Plan) -> dict[str, dict[str, str]]:
    file = plan.stem.with_name(RECORD)
    with suppress(InputError):  # missing or damaged: the figures are drawn again
        return read_content(file)
    return {}


def _remove_others(folder: Path, drawn: Collection[Path]) -> None:
    """Remove the figures, each a file of every format, that are not among those `drawn`."""
    for stem in [file.with_suffix("") for file in folder.glob("*.svg")]:
        files = paths_of(stem)
        if stem not in drawn and all(file.exists() for file in files):
            for file in files:
                file.unlink()
