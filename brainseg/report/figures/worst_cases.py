"""Where one run is most wrong."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from brainseg.evaluation.cases import read_cases
from brainseg.report.figures.pictures import (
    Case,
    Picture,
    name_of,
    read_pictures,
    score_of,
    shown_mode,
    worst_first,
)
from brainseg.report.figures.style import (
    PREDICTION,
    TRUTH,
    draw_outline,
    make_grid,
    outline_handles,
    show_slice,
    styled,
)
from brainseg.run import Run

TITLE = "Worst cases"
CAPTION = (
    "The test cases of lowest Dice, the worst first (of equal ones that with most wrong pixels), "
    "and in the last line the cases without a tumour in which most pixels are wrongly taken for "
    "one. First run of the variant. Continuous line: the truth; dashed line: the prediction."
)

COLUMNS = 4
LOWEST, FALSE = 2 * COLUMNS, COLUMNS
"""How many cases are shown of low Dice, and of false positives."""

CELL = 2.1
"""Width of a panel in inches."""


@styled
def draw_worst_cases(run: Run) -> Figure | None:
    """Draw the worst cases of a run, or nothing where it cannot be shown."""
    lines = choose_worst(run)
    pictures = read_pictures(run, shown_mode(run), [case["id"] for line in lines for case in line])
    if not pictures:
        return None
    figure, grid = make_grid(len(lines), COLUMNS, CELL)
    for axes, line in zip(grid, lines, strict=True):
        for panel, case in zip(axes, line, strict=False):
            _draw_case(panel, pictures[case["id"]])
        for panel in axes[len(line) :]:
            panel.set_visible(False)
    handles = outline_handles()
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    return figure


def describe_worst_cases(run: Run) -> str:
    """Alt text: the cases and their scores."""
    told = [_describe(case) for line in choose_worst(run) for case in line]
    return f"Slices with the outlines of truth and prediction. {'; '.join(told)}."


def choose_worst(run: Run) -> list[list[Case]]:
    """The cases of each line of the figure."""
    mode = shown_mode(run)
    cases: list[Case] = sorted(read_cases(run.cases(mode)) if mode else [], key=worst_first)
    tumor = [case for case in cases if case["dice"] is not None][:LOWEST]
    false = [case for case in cases if case["dice"] is None and case["fp"]][:FALSE]
    return [line for line in (tumor[:COLUMNS], tumor[COLUMNS:], false) if line]


def _draw_case(axes: Axes, picture: Picture) -> None:
    show_slice(axes, picture.image)
    draw_outline(axes, picture.truth, TRUTH)
    draw_outline(axes, picture.prediction, PREDICTION)
    title = f"{name_of(picture.case, width=34)}\n{score_of(picture.case)}"
    axes.set_title(title, fontsize="small")


def _describe(case: Case) -> str:
    return f"{case['class']}, id {case['id']}: {score_of(case)}"
