"""Fig. 9: what each variant predicts, before and after quantization."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from brainseg.report.figures.style import (
    PREDICTION,
    TRUTH,
    Drawing,
    draw_outline,
    make_grid,
    outline_handles,
    show_slice,
    styled,
    write_on_slice,
)
from brainseg.report.pictures import (
    QUANTIZED,
    Picture,
    name_of,
    of_same_case,
    read_pictures,
    score_of,
    shown_mode,
    typical_cases,
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


Lines = Mapping[str, Sequence[Picture | None]]
"""By the id of a case: what each column shows of it."""


@styled
def draw_qualitative(runs: Runs) -> Drawing | None:
    """Draw cases × (image, truth, predictions), or nothing where no variant can be shown."""
    found = _find_predictions(runs)
    if not found:
        return None
    _, first, float_mode = found[0]
    cases = typical_cases(first, float_mode)
    read = [read_pictures(run, mode, cases) for _, run, mode in found]
    lines = {
        name: of_same_case([pictures.get(name) for pictures in read])
        for name in cases
        if any(name in pictures for pictures in read)
    }
    if not lines:
        return None
    columns = [(variant, mode) for variant, _, mode in found]
    return Drawing(_make_figure(columns, lines), _describe(columns, lines))


def _find_predictions(runs: Runs) -> list[tuple[str, Run, str]]:
    """Each variant's first run in float and in one quantized mode, as far as they can be shown."""
    return [
        (variant, members[0], mode)
        for variant, members in runs.items()
        for mode in (shown_mode(members[0]), shown_mode(members[0], QUANTIZED))
        if mode
    ]


def _make_figure(columns: Sequence[tuple[str, str]], lines: Lines) -> Figure:
    titles = ("image", "truth", *(f"{variant}\n{mode}" for variant, mode in columns))
    figure, grid = make_grid(len(lines), len(titles), CELL)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title)
    for line, shown in zip(grid, lines.values(), strict=True):
        picture = next(filter(None, shown))
        line[0].set_ylabel(name_of(picture.case, width=24), fontsize="small")
        show_slice(line[0], picture.image)
        show_slice(line[1], 255 * picture.truth.astype(np.uint8))
        for axes, prediction in zip(line[2:], shown, strict=True):
            _draw_prediction(axes, prediction)
    handles = outline_handles()
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _describe(columns: Sequence[tuple[str, str]], lines: Lines) -> str:
    """The scores that the panels show."""
    sentences = ["Slices with the outlines of truth and prediction."]
    for name, shown in lines.items():
        told = [
            f"{variant} {mode} {score_of(picture.case) if picture else NOT_SHOWN}"
            for (variant, mode), picture in zip(columns, shown, strict=True)
        ]
        class_ = next(filter(None, shown)).case["class"]
        sentences.append(f"{class_}, id {name}: {', '.join(told)}.")
    return " ".join(sentences)


def _draw_prediction(axes: Axes, picture: Picture | None) -> None:
    if picture is None:
        axes.text(0.5, 0.5, NOT_SHOWN, transform=axes.transAxes, ha="center")
        return
    show_slice(axes, picture.image)
    draw_outline(axes, picture.truth, TRUTH)
    draw_outline(axes, picture.prediction, PREDICTION)
    write_on_slice(axes, score_of(picture.case))
