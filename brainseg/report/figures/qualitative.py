"""Fig. 9: what each variant predicts, before and after quantization."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from brainseg.evaluation.cases import read_cases
from brainseg.report.figures.pictures import (
    QUANTIZED,
    Case,
    Picture,
    name_of,
    read_pictures,
    score_of,
    shown_mode,
    typical_cases,
)
from brainseg.report.figures.style import (
    PREDICTION,
    TRUTH,
    draw_outline,
    make_grid,
    outline_handles,
    show_slice,
    styled,
    write_on_slice,
)
from brainseg.report.table import Runs
from brainseg.run import Run

TITLE = "Predictions of each variant"
CAPTION = (
    "One test case per class (Fig. 9 of the study), not chosen by hand: it is the case of median "
    "Dice with the first variant; without a tumour, that of the median number of wrong pixels. "
    "Each variant shows its first run, in float and beside it in one quantized mode. Continuous "
    "line: the truth; dashed line: the prediction."
)

CELL = 1.35
"""Width of a panel in inches."""

NOT_SHOWN = "not predicted"


@dataclass(frozen=True)
class Column:
    """What one run predicts in one mode."""

    variant: str
    run: Run
    mode: str


@styled
def draw_qualitative(runs: Runs) -> Figure | None:
    """Draw cases × (image, truth, predictions), or nothing where no variant can be shown."""
    columns = find_columns(runs)
    cases = choose_cases(columns)
    shown = [read_pictures(column.run, column.mode, cases) for column in columns]
    known = {name: picture for pictures in reversed(shown) for name, picture in pictures.items()}
    if not known:
        return None
    titles = ("image", "truth", *(f"{column.variant}\n{column.mode}" for column in columns))
    figure, grid = make_grid(len(known), len(titles), CELL)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title)
    for line, name in zip(grid, known, strict=True):
        line[0].set_ylabel(name_of(cases[name], width=24), fontsize="small")
        show_slice(line[0], known[name].image)
        show_slice(line[1], 255 * known[name].truth.astype(np.uint8))
        for axes, pictures in zip(line[2:], shown, strict=True):
            _draw_prediction(axes, pictures.get(name))
    handles = outline_handles()
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    return figure


def describe_qualitative(runs: Runs) -> str:
    """Alt text: the scores that the panels show."""
    columns = find_columns(runs)
    scores = [
        {case["id"]: score_of(case) for case in read_cases(column.run.cases(column.mode))}
        for column in columns
    ]
    lines = ["Slices with the outlines of truth and prediction."]
    for name, case in choose_cases(columns).items():
        told = [
            f"{column.variant} {column.mode} {found.get(name, NOT_SHOWN)}"
            for column, found in zip(columns, scores, strict=True)
        ]
        lines.append(f"{case['class']}, id {name}: {', '.join(told)}.")
    return " ".join(lines)


def find_columns(runs: Runs) -> list[Column]:
    """Each variant's first run in float and in one quantized mode, as far as they can be shown."""
    return [
        Column(variant, members[0], mode)
        for variant, members in runs.items()
        for mode in (shown_mode(members[0]), shown_mode(members[0], QUANTIZED))
        if mode
    ]


def choose_cases(columns: Sequence[Column]) -> dict[str, Case]:
    """The typical case of each class in the first column, by id."""
    return typical_cases(columns[0].run, columns[0].mode) if columns else {}


def _draw_prediction(axes: Axes, picture: Picture | None) -> None:
    if picture is None:
        axes.text(0.5, 0.5, NOT_SHOWN, transform=axes.transAxes, ha="center")
        return
    show_slice(axes, picture.image)
    draw_outline(axes, picture.truth, TRUTH)
    draw_outline(axes, picture.prediction, PREDICTION)
    write_on_slice(axes, score_of(picture.case))
