"""What the attention modules multiply the skips with."""

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from brainseg.report.figures.style import (
    GRID,
    LOOKS,
    SPARE,
    TRUTH,
    Drawing,
    draw_outline,
    hide_frame,
    show_slice,
    styled,
    write_on_slice,
)
from brainseg.report.pictures import by_class, name_of
from brainseg.report.table import Runs
from brainseg.run import Run

TITLE = "Attention coefficients"
CAPTION = (
    "What the attention module of each decoder step multiplies its skip with, in the first run of "
    "each variant; step 1 is the deepest. One test case per class: of those whose coefficients the "
    "first variant with attention kept, the one with the largest tumour. Maps lie over the image, "
    "with their lowest and highest coefficient; line: the truth. Of cbam they are the factors of "
    "places; its factors of channels and the modules at the end of blocks are not shown. se weighs "
    "whole channels: its coefficients are sorted. A coefficient is a multiplier of the skip, not "
    "an explanation of the prediction."
)

NOTE = "coefficient: a multiplier of the skip, not an explanation"

SKIP = re.compile(r"decoder\.(\d+)\.attention")
"""Names of the arrays of the skips; those of blocks and of CBAM's channels have others."""

COLOURS = "viridis"
"""Perceptually uniform, and the same for readers who are colour-blind."""

COVER = 0.8
"""Opacity of a map over its image."""

CELL, LOW = 1.25, 2.2
"""Width of a map, and height of a line of sorted coefficients, in inches."""


Cases = Mapping[str, Mapping[str, Any]]
"""By id: `id`, `class`, and `image` and `truth`, both H×W."""

Steps = Mapping[int, Mapping[str, NDArray[np.float64]]]
"""By step and id: the coefficients in [0, 1] of pixels (h×w) or of channels (C)."""


@styled
def draw_attention(runs: Runs) -> Drawing | None:
    """Draw cases × (image, each step of each variant), and below it what belongs to channels.

    Nothing where no variant has attention.
    """
    cases, found = read_attention(runs)
    return Drawing(_make_figure(cases, found), _describe(cases, found)) if found else None


def read_attention(runs: Runs) -> tuple[Cases, dict[str, Steps]]:
    """The cases that are shown, and what each variant's first run kept of one or more of them.

    The cases are those of the first variant that has any. Of another variant only what has the
    same image and truth counts: another data set may have the same ids.
    """
    firsts = {variant: members[0] for variant, members in runs.items()}
    found = {variant: steps for variant, run in firsts.items() if (steps := _read_steps(run))}
    for variant, steps in found.items():
        if cases := _choose_cases(_read_cases(firsts[variant], _kept(steps))):
            same = {other: _keep_same(found[other], firsts[other], cases) for other in found}
            return cases, {other: steps for other, steps in same.items() if _kept(steps)}
    return {}, {}


def _make_figure(cases: Cases, found: Mapping[str, Steps]) -> Figure:
    maps = {variant: steps for variant, steps in found.items() if _dimensions(steps) == 2}
    channels = {variant: steps for variant, steps in found.items() if variant not in maps}
    columns = 1 + sum(map(len, maps.values()))
    heights = [CELL * len(cases) + 0.5 if maps else 0, LOW * len(channels)]
    size = (max(CELL * columns + 1, 9), sum(heights) + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    figure.supxlabel(NOTE, fontsize="medium")
    shown = [height for height in heights if height]
    parts = figure.subfigures(len(shown), 1, height_ratios=shown, squeeze=False)[:, 0]
    if maps:
        _draw_maps(parts[0], cases, maps)
    if channels:
        _draw_channels(parts[-1], cases, channels)
    return figure


def _describe(cases: Cases, found: Mapping[str, Steps]) -> str:
    """The range of the coefficients in each step."""
    told = []
    for variant, steps in found.items():
        ranges = [
            f"step {step} {_range([kept[name] for name in cases if name in kept])}"
            for step, kept in steps.items()
        ]
        told.append(f"{variant}: {', '.join(ranges)}")
    return (
        "Maps over slices, or sorted lines, of the coefficients of each attention module. Lowest "
        f"to highest coefficient: {'; '.join(told)}."
    )


def _read_steps(run: Run) -> Steps:
    if not run.attention.exists():
        return {}
    with np.load(run.attention) as file:
        ids = file["ids"].tolist()
        steps = {int(match[1]): name for name in file if (match := SKIP.fullmatch(name))}
        return {
            step: dict(zip(ids, file[steps[step]] / 255, strict=True)) for step in sorted(steps)
        }


def _read_cases(run: Run, ids: Collection[str]) -> Cases:
    if not run.test.exists():
        return {}
    with np.load(run.test) as test:
        arrays = [test[key] for key in ("ids", "classes", "images", "masks")]
    return {
        str(name): {"id": str(name), "class": str(label), "image": image, "truth": mask > 0}
        for name, label, image, mask in zip(*arrays, strict=True)
        if name in ids
    }


def _choose_cases(cases: Cases) -> Cases:
    """Of each class the one with the largest tumour."""
    members = by_class(cases.values()).values()
    largest = (max(each, key=lambda case: case["truth"].sum()) for each in members)
    return {case["id"]: case for case in largest}


def _keep_same(steps: Steps, run: Run, cases: Cases) -> Steps:
    """The coefficients of those of the cases that the run was tested on."""
    own = _read_cases(run, cases)
    same = {
        name
        for name, case in own.items()
        if all(np.array_equal(case[key], cases[name][key]) for key in ("image", "truth"))
    }
    return {
        step: {name: values for name, values in kept.items() if name in same}
        for step, kept in steps.items()
    }


def _draw_maps(part: SubFigure, cases: Cases, maps: Mapping[str, Steps]) -> None:
    columns = [(variant, step) for variant, steps in maps.items() for step in steps]
    grid = part.subplots(len(cases), len(columns) + 1, squeeze=False)
    titles = ["image", *(f"{variant}\nstep {step}" for variant, step in columns)]
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize="medium")
    for line, (name, case) in zip(grid, cases.items(), strict=True):
        for axes in line:
            hide_frame(axes)
        line[0].set_ylabel(name_of(case, width=24), fontsize="small")
        show_slice(line[0], case["image"])
        draw_outline(line[0], case["truth"], TRUTH)
        for axes, (variant, step) in zip(line[1:], columns, strict=True):
            if name in maps[variant][step]:
                _draw_map(axes, case, maps[variant][step][name])
    shown = grid[:, 1:].ravel().tolist()
    part.colorbar(ScalarMappable(cmap=COLOURS), ax=shown, label="coefficient", aspect=30, pad=0.01)


def _draw_map(axes: Axes, case: Mapping[str, Any], values: NDArray[np.float64]) -> None:
    show_slice(axes, case["image"])
    height, width = case["image"].shape
    place = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(
        values,
        extent=place,
        cmap=COLOURS,
        vmin=0,
        vmax=1,
        alpha=COVER,
        interpolation="none",
    )
    draw_outline(axes, case["truth"], TRUTH)
    write_on_slice(axes, _range([values]))


def _draw_channels(part: SubFigure, cases: Cases, channels: Mapping[str, Steps]) -> None:
    """Sorted coefficients, a line per case."""
    longest = max(map(len, channels.values()))
    grid = part.subplots(len(channels), longest, sharey=True, squeeze=False)
    looks = dict(zip(cases, cycle([*LOOKS.values(), *SPARE]), strict=False))
    for line, (variant, steps) in zip(grid, channels.items(), strict=True):
        line[0].set_ylabel(f"{variant}: coefficient")
        for axes, (step, kept) in zip(line, steps.items(), strict=False):
            axes.set_title(f"{variant}, step {step}", fontsize="medium")
            for name, look in looks.items():
                values = np.sort(kept.get(name, []))[::-1]
                label = name_of(cases[name], width=24)
                axes.plot(values, color=look.colour, linestyle=look.line, label=label)
            axes.set(ylim=(0, 1), xlabel="channels, sorted")
            axes.grid(**GRID)
        for axes in line[len(steps) :]:
            axes.set_visible(False)
    part.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside right center", frameon=False)


def _kept(steps: Steps) -> Mapping[str, NDArray[np.float64]]:
    """Of a step, which all kept the same cases."""
    return next(iter(steps.values()))


def _dimensions(steps: Steps) -> int:
    """2 for coefficients of pixels, 1 for those of channels."""
    return next(iter(_kept(steps).values())).ndim


def _range(arrays: Sequence[NDArray[np.float64]]) -> str:
    return f"{min(map(np.min, arrays)):.2f}–{max(map(np.max, arrays)):.2f}"
