"""Every figure of the report, drawn into a folder."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

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
from brainseg.report.figures.style import FORMATS, save, styled
from brainseg.report.points import Point
from brainseg.report.provenance import read_config
from brainseg.report.table import Runs
from brainseg.run import Run
from brainseg.terminal import bar

FIGURES: tuple[ModuleType, ...] = (
    *(curves, accuracy_latency, accuracy_size, comparisons, boxplots, qualitative, classes),
    *(worst_cases, attention, calibration, appropriateness, architecture),
)
"""In the order of a report. A module has `TITLE`, `CAPTION`, and after its own name `draw_<name>`
and `describe_<name>`, which take the same argument."""


@dataclass(frozen=True)
class Drawn:
    """A figure that was written as `<name>.svg` and `<name>.png`.

    Attributes:
        name: of its files.
        title: as it stands above the figure.
        caption: how its cases were chosen, and what its marks mean.
        alt: what it shows, for who cannot see it.
    """

    name: str
    title: str
    caption: str
    alt: str


@dataclass(frozen=True)
class _Plan:
    """A figure that may be drawn of an argument; name and title may say of which variant."""

    module: ModuleType
    argument: Any
    suffix: str = ""
    of: str = ""

    @property
    def name(self) -> str:
        return _name(self.module) + self.suffix

    def call(self, what: str) -> Any:
        """Call `draw_<name>` or `describe_<name>`."""
        return getattr(self.module, f"{what}_{_name(self.module)}")(self.argument)


def draw_all(
    runs: Runs, points: Sequence[Point], rows: Sequence[Comparison], folder: Path
) -> list[Drawn]:
    """Draw every figure for which the runs hold what it shows.

    Figures of an earlier call that are no longer drawn are removed; other files stay.

    Args:
        runs: variants in the order of the table, each with its runs, one per seed.
        points: from `collect_points`.
        rows: from `compare_all`.
        folder: where the files are written.

    Returns:
        The figures that were drawn, in the order of a report.
    """
    plans = [plan for module in FIGURES for plan in _plan(module, runs, points, rows)]
    found = [_draw(plan, runs, folder) for plan in bar(plans, "drawing figures")]
    drawn = [each for each in found if each is not None]
    _remove_stale(folder, {each.name for each in drawn})
    return drawn


def draw_own(run: Run) -> None:
    """Draw a run's own figure, its worst cases, into its folder; it stands beside its card."""
    _draw(_Plan(worst_cases, run), {run.name: [run]}, run.figures)


def _plan(
    module: ModuleType, runs: Runs, points: Sequence[Point], rows: Sequence[Comparison]
) -> list[_Plan]:
    """The figures of one module: one, or one per variant or data set."""
    if module is worst_cases:
        return [
            _Plan(module, members[0], f"-{_to_name(variant)}", f" of {variant}")
            for variant, members in runs.items()
        ]
    if module is appropriateness:
        others = by_data_set(runs).items()
        return [
            _Plan(module, collect_sources(runs)),
            *(
                _Plan(module, collect_sources(found), f"-{_to_name(name)}", f" on {name}")
                for name, found in others
            ),
        ]
    arguments = {accuracy_latency: points, accuracy_size: points, comparisons: rows}
    return [_Plan(module, arguments.get(module, runs))]


@styled
def _draw(plan: _Plan, runs: Runs, folder: Path) -> Drawn | None:
    figure = plan.call("draw")
    if figure is None:
        return None
    title = plan.module.TITLE + plan.of + (": synthetic data" if _are_synthetic(runs) else "")
    figure.suptitle(title)
    save(figure, folder / plan.name)
    return Drawn(plan.name, title, plan.module.CAPTION, plan.call("describe"))


def _are_synthetic(runs: Runs) -> bool:
    configs = map(read_config, chain.from_iterable(runs.values()))
    return any(config.get("data", {}).get("name") == "phantom" for config in configs)


def _remove_stale(folder: Path, drawn: Collection[str]) -> None:
    """Remove files that have a figure's name and were not drawn now."""
    names = {_name(module) for module in FIGURES}
    several = tuple(f"{_name(module)}-" for module in (worst_cases, appropriateness))
    for file in folder.glob("*"):
        ours = file.stem in names or file.stem.startswith(several)
        if ours and file.suffix in FORMATS and file.stem not in drawn:
            file.unlink()


def _name(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def _to_name(variant: str) -> str:
    """A variant as part of a file's name."""
    return re.sub(r"[^\w.]+", "-", variant).strip("-")
