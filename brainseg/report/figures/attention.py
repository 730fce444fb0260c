"""What the attention modules multiply the skips with."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from brainseg.report.figures import style
from brainseg.report.pictures import Slice, by_class, load_arrays, name_of, read_slices
from brainseg.report.table import Runs
from brainseg.run import Run

TITLE = "Attention coefficients"
CAPTION = (
    "What the attention of each decoder step multiplies its skip with, in the first run of each "
    "variant; step 1 is the deepest. One test case per class: of those kept by the first variant "
    "with attention, the one with the largest tumour. Maps lie over the image, with their lowest "
    "and highest coefficient; line: truth. Coefficients of whole channels are sorted. Factors of "
    "channels beside a map, and modules at the end of blocks, are not shown."
)
INPUTS = ("attention", "test")

NOTE = "coefficient: a multiplier of the skip, not an explanation"

SKIP = re.compile(r"decoder\.(\d+)\.attention")
"""Names of the arrays of the skips; those of blocks and of CBAM's channels have others."""

COLOURS = "viridis"
"""Perceptually uniform, and the same for readers who are colour-blind."""

COVER = 0.8
"""Opacity of a map over its image."""

CELL, LOW = 1.25, 2.2
"""Width of a map, and height of a line of sorted coefficients, in inches."""

Cases = Mapping[str, Slice]
"""By id."""

Coefficients = NDArray[np.float64]
"""In [0, 1], of pixels (h×w) or of channels (C)."""

Steps = Mapping[int, Mapping[str, Coefficients]]
"""By step and id; all steps have the same ids."""


@style.styled
def draw(runs: Runs) -> style.Drawing | None:
    """Draw maps of cases × steps and lines of channels, or nothing without any attention."""
    cases, found = read_attention(runs)
    if not found:
        return None
    told = []
    for variant, steps in found.items():
        ranges = [f"step {step} {_range(list(kept.values()))}" for step, kept in steps.items()]
        told.append(f"{variant}: {', '.join(ranges)}")
    alt = f"Maps or sorted lines of coefficients. Lowest to highest: {'; '.join(told)}."
    return style.Drawing(_make_figure(cases, found), alt)


def read_attention(runs: Runs) -> tuple[Cases, dict[str, Steps]]:
    """The cases that are shown, and what each variant's first run kept of one or more of them.

    The cases are those of the first variant that has any; others may not have the same.
    """
    read = {variant: _read(members[0]) for variant, members in runs.items()}
    shown = next((_choose_cases(cases) for cases, _ in read.values() if cases), {})
    found: dict[str, Steps] = {}
    for variant, (own, steps) in read.items():
        same = [name for name, case in shown.items() if name in own and own[name].key == case.key]
        if same:
            found[variant] = {step: {name: kept[name] for name in same} for step, kept in steps}
    return shown, found


def _read(run: Run) -> tuple[Cases, list[tuple[int, dict[str, Coefficients]]]]:
    """The test cases whose coefficients a run kept, and these for each step."""
    if not (run.attention.exists() and run.test.exists()):
        return {}, []
    kept = load_arrays(run, run.attention)
    numbers = sorted((int(match[1]), name) for name in kept if (match := SKIP.fullmatch(name)))
    ids = kept["ids"].tolist() if numbers else []
    steps = [(step, dict(zip(ids, kept[name] / 255, strict=True))) for step, name in numbers]
    return {name: case for name, case in read_slices(run).items() if name in ids}, steps


def _choose_cases(cases: Cases) -> Cases:
    """Of each class the one with the largest tumour."""
    members = by_class(case.case for case in cases.values()).values()
    names = [max(each, key=lambda case: cases[case["id"]].truth.sum())["id"] for each in members]
    return {name: cases[name] for name in names}


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


def _dimensions(steps: Steps) -> int:
    """2 for coefficients of pixels, 1 for those of channels."""
    return next(values.ndim for kept in steps.values() for values in kept.values())


def _draw_maps(part: SubFigure, cases: Cases, maps: Mapping[str, Steps]) -> None:
    columns = [(variant, step) for variant, steps in maps.items() for step in steps]
    grid = part.subplots(len(cases), len(columns) + 1, squeeze=False)
    titles = ["image", *(f"{variant}\nstep {step}" for variant, step in columns)]
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize="medium")
    for line, (name, case) in zip(grid, cases.items(), strict=True):
        for axes in line:
            style.hide_frame(axes)
        line[0].set_ylabel(name_of(case.case, width=24), fontsize="small")
        style.show_slice(line[0], case.image)
        style.draw_outline(line[0], case.truth, style.TRUTH)
        for axes, (variant, step) in zip(line[1:], columns, strict=True):
            if name in maps[variant][step]:
                _draw_map(axes, case, maps[variant][step][name])
    shown = grid[:, 1:].ravel().tolist()
    part.colorbar(ScalarMappable(cmap=COLOURS), ax=shown, label="coefficient", aspect=30, pad=0.01)


def _draw_map(axes: Axes, case: Slice, values: Coefficients) -> None:
    style.show_slice(axes, case.image)
    height, width = case.image.shape
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    scale: style.Style = {"cmap": COLOURS, "vmin": 0, "vmax": 1, "interpolation": "none"}
    axes.imshow(values, extent=extent, alpha=COVER, **scale)
    style.draw_outline(axes, case.truth, style.TRUTH)
    style.write_on_slice(axes, _range([values]))


def _draw_channels(part: SubFigure, cases: Cases, channels: Mapping[str, Steps]) -> None:
    """Sorted coefficients, a line per case."""
    longest = max(map(len, channels.values()))
    grid = part.subplots(len(channels), longest, sharey=True, squeeze=False)
    for line, (variant, steps) in zip(grid, channels.items(), strict=True):
        line[0].set_ylabel(f"{variant}: coefficient")
        for axes, (step, kept) in zip(style.use(line, len(steps)), steps.items(), strict=True):
            axes.set_title(f"{variant}, step {step}", fontsize="medium")
            for place, (name, case) in enumerate(cases.items()):
                look = style.LOOKS[place % len(style.LOOKS)].style
                label = name_of(case.case, width=24)
                axes.plot(np.sort(kept.get(name, []))[::-1], label=label, **look)
            axes.set(ylim=(0, 1), xlabel="channels, sorted")
            style.add_grid(axes)
    part.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside right center", frameon=False)


def _range(arrays: Sequence[Coefficients]) -> str:
    return f"{min(map(np.min, arrays)):.2f}–{max(map(np.max, arrays)):.2f}"
