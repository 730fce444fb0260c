"""Where one run is most wrong."""

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from brainseg.evaluation.cases import read_cases
from brainseg.report.figures.style import (
    PREDICTION,
    TRUTH,
    Drawing,
    draw_outline,
    make_grid,
    outline_handles,
    show_slice,
    styled,
)
from brainseg.report.pictures import (
    Case,
    Picture,
    name_of,
    read_pictures,
    score_of,
    shown_mode,
    tell_case,
    worst,
)
from brainseg.run import Run

TITLE = "Worst cases"
CAPTION = (
    "The test cases of lowest Dice, the worst first (of equal ones that with most wrong pixels): "
    "of each class in turn, and one of each patient. In the last line cases without a tumour in "
    "which most pixels are wrongly taken for one. First run of the variant. Continuous line: the "
    "truth; dashed line: the prediction."
)

COLUMNS = 4
CELL = 2.1
"""Width of a panel in inches."""


@styled
def draw_worst_cases(run: Run) -> Drawing | None:
    """Draw the worst cases of a run, or nothing where it cannot be shown."""
    mode = shown_mode(run)
    lines = choose_worst(read_cases(run.cases(mode)) if mode else [])
    pictures = read_pictures(run, mode, [case["id"] for line in lines for case in line])
    shown = [[pictures[case["id"]] for case in line if case["id"] in pictures] for line in lines]
    shown = [line for line in shown if line]
    return Drawing(_make_figure(shown), _describe(shown)) if shown else None


def choose_worst(cases: Iterable[Case]) -> list[list[Case]]:
    """The cases of each line of the figure."""
    return [
        found[start : start + COLUMNS]
        for found in worst(cases)
        for start in range(0, len(found), COLUMNS)
    ]


def _make_figure(lines: Sequence[Sequence[Picture]]) -> Figure:
    figure, grid = make_grid(len(lines), COLUMNS, CELL)
    for axes, line in zip(grid, lines, strict=True):
        for panel, picture in zip(axes, line, strict=False):
            _draw_case(panel, picture)
        for panel in axes[len(line) :]:
            panel.set_visible(False)
    handles = outline_handles()
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _describe(lines: Sequence[Sequence[Picture]]) -> str:
    """The cases and their scores."""
    told = [tell_case(picture.case) for line in lines for picture in line]
    return f"Slices with the outlines of truth and prediction. {'; '.join(told)}."


def _draw_case(axes: Axes, picture: Picture) -> None:
    show_slice(axes, picture.image)
    draw_outline(axes, picture.truth, TRUTH)
    draw_outline(axes, picture.prediction, PREDICTION)
    patient = picture.case["patient"]
    of = f"\npatient {patient}" if patient else ""
    title = f"{name_of(picture.case, width=26)}{of}\n{score_of(picture.case)}"
    axes.set_title(title, fontsize="small")
