"""Where one run is most wrong."""

from collections.abc import Iterable

from brainseg.evaluation.cases import read_cases
from brainseg.outline import SIMPLIFIED
from brainseg.report.figures import style
from brainseg.report.pictures import (
    SHOWN,
    Case,
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
    "The test cases of lowest Dice, worst first: of each class in turn, and one of each patient. "
    "Last line: images without a tumour in which most pixels are taken for one. Continuous line: "
    "truth; dashed line: prediction. " + SIMPLIFIED
)
INPUTS = SHOWN

COLUMNS = 4
CELL = 2.1
"""Width of a panel in inches."""


@style.styled
def draw_worst_cases(run: Run) -> style.Drawing | None:
    """Draw the worst cases of a run, or nothing where it cannot be shown."""
    mode = shown_mode(run)
    lines = choose_worst(read_cases(run.cases(mode)) if mode else [])
    pictures = read_pictures(run, mode, [case["id"] for line in lines for case in line])
    found = [[pictures[case["id"]] for case in line if case["id"] in pictures] for line in lines]
    shown = [line for line in found if line]
    if not shown:
        return None
    figure, grid = style.make_grid(len(shown), COLUMNS, CELL)
    for axes, line in zip(grid, shown, strict=True):
        for panel, picture in zip(axes, line, strict=False):
            style.show_outlines(panel, picture, score=False)
            panel.set_title(_name(picture.case), fontsize="small")
        for panel in axes[len(line) :]:
            panel.set_visible(False)
    style.add_legend(figure, style.outline_handles(), 2)
    told = "; ".join(tell_case(picture.case) for line in shown for picture in line)
    return style.Drawing(figure, f"Slices with the outlines of truth and prediction. {told}.")


def choose_worst(cases: Iterable[Case]) -> list[list[Case]]:
    """The cases of each line of the figure."""
    return [
        found[start : start + COLUMNS]
        for found in worst(cases)
        for start in range(0, len(found), COLUMNS)
    ]


def _name(case: Case) -> str:
    patient = [f"patient {case['patient']}"] if case["patient"] else []
    return "\n".join([name_of(case, width=26), *patient, score_of(case)])
