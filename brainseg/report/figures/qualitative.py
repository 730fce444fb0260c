"""Fig. 9: what each variant predicts, before and after quantization."""

from collections.abc import Mapping, Sequence
from textwrap import fill

from matplotlib.figure import Figure

from brainseg.outline import SIMPLIFIED
from brainseg.report import pictures
from brainseg.report.figures import style
from brainseg.report.table import Runs
from brainseg.run import Run
from brainseg.vocabulary import FLOAT_MODES

TITLE = "Predictions of each variant"
CAPTION = (
    "One test case per class (Fig. 9 of the study), chosen by rule: the case of median Dice with "
    "the first variant; without a tumour, of the median number of wrong pixels. First run of each "
    "variant, in float and in one quantized mode. Continuous line: truth; dashed line: prediction. "
    + SIMPLIFIED
)
INPUTS = pictures.SHOWN

CELL = 1.35
"""Width of a panel in inches."""

NOT_SHOWN = "not predicted"

Columns = Sequence[tuple[str, str]]
"""Variant and mode."""

Lines = Mapping[str, Sequence[pictures.Picture | None]]
"""By the id of a case: what each column shows of it."""


@style.styled
def draw(runs: Runs) -> style.Drawing | None:
    """Draw cases × (image, truth, predictions), or nothing where no variant can be shown."""
    sources = _find_predictions(runs)
    cases = pictures.typical_cases(*sources[0][1:]) if sources else {}
    read = [pictures.read_pictures(run, mode, cases) for _, run, mode in sources]
    lines = {
        name: pictures.of_same_case([found.get(name) for found in read])
        for name in cases
        if any(name in found for found in read)
    }
    columns = [(variant, mode) for variant, _, mode in sources]
    return style.Drawing(_make_figure(columns, lines), _describe(columns, lines)) if lines else None


def _find_predictions(runs: Runs) -> list[tuple[str, Run, str]]:
    """Each variant's first run in float and in one quantized mode, as far as they can be shown."""
    return [
        (variant, members[0], mode)
        for variant, members in runs.items()
        for modes in (FLOAT_MODES, pictures.showcase_modes())
        if (mode := pictures.shown_mode(members[0], modes))
    ]


def _make_figure(columns: Columns, lines: Lines) -> Figure:
    titles = ("image", "truth", *(f"{fill(variant, 12)}\n{mode}" for variant, mode in columns))
    figure, grid = style.make_grid(len(lines), len(titles), CELL)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title)
    for line, shown in zip(grid, lines.values(), strict=True):
        picture = next(filter(None, shown))
        line[0].set_ylabel(pictures.name_of(picture.case, width=24), fontsize="small")
        style.show_slice(line[0], picture.image)
        style.show_slice(line[1], 255 * picture.truth)
        for axes, prediction in zip(line[2:], shown, strict=True):
            if prediction:
                style.show_outlines(axes, prediction)
            else:
                axes.text(0.5, 0.5, NOT_SHOWN, transform=axes.transAxes, ha="center")
    style.add_legend(figure, style.outline_handles(), 2)
    return figure


def _describe(columns: Columns, lines: Lines) -> str:
    sentences = ["Slices with the outlines of truth and prediction."]
    for name, shown in lines.items():
        told = [
            f"{variant} {mode} {pictures.score_of(picture.case) if picture else NOT_SHOWN}"
            for (variant, mode), picture in zip(columns, shown, strict=True)
        ]
        class_ = next(filter(None, shown)).case["class"]
        sentences.append(f"{class_}, id {name}: {', '.join(told)}.")
    return " ".join(sentences)
