"""Where one run is most wrong."""

from collections.abc import Iterable
from itertools import chain

from brainseg.outline import SIMPLIFIED
from brainseg.report import pictures
from brainseg.report.figures import style
from brainseg.report.table import Runs

TITLE = "Worst cases"
CAPTION = (
    "The test cases of lowest Dice, worst first: of each class in turn, and one of each patient. "
    "Last line: images without a tumour in which most pixels are taken for one. Continuous line: "
    "truth; dashed line: prediction. " + SIMPLIFIED
)
INPUTS = pictures.SHOWN

COLUMNS = 4
CELL = 2.1
"""Width of a panel in inches."""


@style.styled
def draw(runs: Runs) -> style.Drawing | None:
    """Draw the worst cases of the only run, or nothing where it cannot be shown."""
    ((run,),) = runs.values()
    mode = pictures.shown_mode(run)
    lines = choose_worst(run.read(run.cases(mode)) if mode else [])
    read = pictures.read_pictures(run, mode, [case["id"] for case in chain(*lines)])
    found = [[read[case["id"]] for case in line if case["id"] in read] for line in lines]
    shown = [line for line in found if line]
    if not shown:
        return None
    figure, grid = style.make_grid(len(shown), COLUMNS, CELL)
    for line, panels in zip(shown, grid, strict=True):
        for picture, axes in zip(line, style.use(panels, len(line)), strict=True):
            style.show_outlines(axes, picture, score=False)
            axes.set_title(_name(picture.case), fontsize="small")
    style.add_legend(figure, style.outline_handles(), 2)
    told = "; ".join(pictures.tell_case(picture.case) for picture in chain(*shown))
    return style.Drawing(figure, f"Slices with the outlines of truth and prediction. {told}.")


def choose_worst(cases: Iterable[pictures.Case]) -> list[list[pictures.Case]]:
    """The cases of each line of the figure."""
    return [
        found[start : start + COLUMNS]
        for found in pictures.worst(cases)
        for start in range(0, len(found), COLUMNS)
    ]


def _name(case: pictures.Case) -> str:
    patient = [f"patient {case['patient']}"] if case["patient"] else []
    return "\n".join([pictures.name_of(case, width=26), *patient, pictures.score_of(case)])
