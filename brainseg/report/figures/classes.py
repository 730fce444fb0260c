"""Fig. A2: one case of each class, from the image to the outlines."""

from collections.abc import Collection, Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from brainseg.report.figures.curves import CHOICE, History, best_epoch, read_histories
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
    Picture,
    name_of,
    read_pictures,
    score_of,
    shown_mode,
    tell_case,
    typical_cases,
)
from brainseg.report.table import Runs
from brainseg.run import Run

TITLE = "Each tumour class"
CAPTION = (
    "One test case per class (Fig. A2 of the study), not chosen by hand: the case of median Dice; "
    "without a tumour, that of the median number of wrong pixels. The predictions are those of the "
    "first run of the variant with the best validation mean IoU; the test split has no say in it. "
    "Overlay: tumour that was found, missed, or wrongly seen. Contours: continuous for the truth, "
    "dashed for the prediction."
)

COLUMNS = ("original", "mask", "overlay", "contours")
CELL = 1.9
"""Width of a panel in inches."""

FOUND, MISSED, WRONG = "#56B4E9", "#F0E442", "#D55E00"
"""Colours of an overlay."""

HATCH = "/////"
"""Lines over `WRONG`, which in grey is of the same tone as `FOUND`."""

COVER = 0.75
"""Opacity of an overlay."""


@styled
def draw_classes(runs: Runs) -> Drawing | None:
    """Draw classes × `COLUMNS`, or nothing where no variant can be shown."""
    chosen = choose_variant(runs)
    if chosen is None:
        return None
    variant, run, mode = chosen
    pictures = read_pictures(run, mode, typical_cases(run, mode)).values()
    if not pictures:
        return None
    figure = _make_figure(pictures, f"{variant} {mode}")
    return Drawing(figure, _describe(pictures, variant, mode))


def choose_variant(runs: Runs) -> tuple[str, Run, str] | None:
    """The variant with the best validation score whose first run can be shown, and in what mode.

    Without any history it is the first one.
    """
    firsts = {variant: members[:1] for variant, members in runs.items()}
    scores = {variant: _score(found) for variant, found in read_histories(firsts).items()}
    shown = [
        (variant, run, mode) for variant, (run,) in firsts.items() if (mode := shown_mode(run))
    ]
    return max(shown, key=lambda found: scores.get(found[0], 0.0), default=None)


def _make_figure(pictures: Collection[Picture], source: str) -> Figure:
    figure, grid = make_grid(len(pictures), len(COLUMNS), CELL)
    for axes, column in zip(grid[0], COLUMNS, strict=True):
        axes.set_title(f"{column}\n{source}" if column in COLUMNS[2:] else column)
    for line, picture in zip(grid, pictures, strict=True):
        line[0].set_ylabel(name_of(picture.case, width=24), fontsize="small")
        _draw_line(line, picture)
    handles = [
        Patch(facecolor=FOUND, label="found"),
        Patch(facecolor=MISSED, label="missed"),
        Patch(facecolor=WRONG, hatch=HATCH, label="wrongly seen"),
        *outline_handles(),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False)
    return figure


def _describe(pictures: Iterable[Picture], variant: str, mode: str) -> str:
    """The case of each class and its score."""
    told = "; ".join(tell_case(picture.case) for picture in pictures)
    return (
        "A slice of each class: the image, its mask, the prediction above the mask, and the "
        f"outlines of both. Predictions of {variant} in {mode}. {told}."
    )


def _score(histories: Sequence[History]) -> float:
    best = best_epoch(histories[0])
    return 0.0 if best is None else float(histories[0][CHOICE][best])


def _draw_line(line: Sequence[Axes], picture: Picture) -> None:
    original, mask, overlay, contours = line
    for axes in (original, overlay, contours):
        show_slice(axes, picture.image)
    show_slice(mask, 255 * picture.truth.astype(np.uint8))
    _draw_areas(overlay, picture.truth, picture.prediction)
    draw_outline(contours, picture.truth, TRUTH)
    draw_outline(contours, picture.prediction, PREDICTION)
    write_on_slice(contours, score_of(picture.case))


def _draw_areas(axes: Axes, truth: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> None:
    """Draw what a prediction gets right and wrong, both H×W."""
    wrong = prediction & ~truth
    areas = np.zeros((*truth.shape, 4))  # RGBA
    kinds = {FOUND: truth & prediction, MISSED: truth & ~prediction, WRONG: wrong}
    for colour, area in kinds.items():
        areas[area] = (*to_rgb(colour), COVER)
    axes.imshow(areas, interpolation="none")
    if wrong.any():
        axes.contourf(wrong, levels=[0.5, 1.5], colors="none", hatches=[HATCH])
