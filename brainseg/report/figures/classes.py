"""Fig. A2: one case of each class, from the image to the outlines."""

from collections.abc import Collection

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from brainseg.outline import SIMPLIFIED
from brainseg.report import pictures
from brainseg.report.figures import style
from brainseg.report.figures.curves import CHOICE, read_history
from brainseg.report.table import Runs
from brainseg.run import Run

TITLE = "Each tumour class"
CAPTION = (
    "One test case per class (Fig. A2 of the study), chosen by rule: the case of median Dice; "
    "without a tumour, of the median number of wrong pixels. Predictions are of the first run of "
    "the variant with the best validation mean IoU. Overlay: tumour found, missed, or wrongly "
    "seen. Contours: continuous for the truth, dashed for the prediction. " + SIMPLIFIED
)
INPUTS = (*pictures.SHOWN, "history")

COLUMNS = ("original", "mask", "overlay", "contours")
CELL = 1.9
"""Width of a panel in inches."""

FOUND, MISSED, WRONG = "#56B4E9", "#F0E442", "#D55E00"
"""Colours of an overlay."""

HATCH = "/////"
"""Lines over `WRONG`, which in grey is of the same tone as `FOUND`."""

COVER = 0.75
"""Opacity of an overlay."""


@style.styled
def draw(runs: Runs) -> style.Drawing | None:
    """Draw classes × `COLUMNS`, or nothing where no variant can be shown."""
    chosen = choose_variant(runs)
    if chosen is None:
        return None
    variant, run, mode = chosen
    shown = pictures.read_pictures(run, mode, pictures.typical_cases(run, mode)).values()
    if not shown:
        return None
    told = "; ".join(pictures.tell_case(picture.case) for picture in shown)
    alt = f"A slice of each class with mask and prediction of {variant} in {mode}. {told}."
    return style.Drawing(_make_figure(shown, f"{variant} {mode}"), alt)


def choose_variant(runs: Runs) -> tuple[str, Run, str] | None:
    """The variant with the best validation score whose first run can be shown, and in what mode.

    Without any history it is the first one.
    """
    shown = [
        (variant, members[0], mode)
        for variant, members in runs.items()
        if (mode := pictures.shown_mode(members[0]))
    ]

    def score(found: tuple[str, Run, str]) -> float:
        return float(np.nan_to_num(read_history(found[1]).get(CHOICE, 0.0)).max())

    return max(shown, key=score, default=None)


def _make_figure(shown: Collection[pictures.Picture], source: str) -> Figure:
    figure, grid = style.make_grid(len(shown), len(COLUMNS), CELL)
    for axes, column in zip(grid[0], COLUMNS, strict=True):
        axes.set_title(f"{column}\n{source}" if column in COLUMNS[2:] else column)
    for (original, mask, overlay, contours), picture in zip(grid, shown, strict=True):
        original.set_ylabel(pictures.name_of(picture.case, width=24), fontsize="small")
        style.show_slice(original, picture.image)
        style.show_slice(mask, 255 * picture.truth)
        style.show_slice(overlay, picture.image)
        _draw_areas(overlay, picture.truth, picture.prediction)
        style.show_outlines(contours, picture)
    areas = [
        Patch(facecolor=FOUND, label="found"),
        Patch(facecolor=MISSED, label="missed"),
        Patch(facecolor=WRONG, hatch=HATCH, label="wrongly seen"),
    ]
    style.add_legend(figure, [*areas, *style.outline_handles()], 5)
    return figure


def _draw_areas(axes: Axes, truth: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> None:
    """Draw what a prediction gets right and wrong, both H×W."""
    wrong = prediction & ~truth
    areas = np.zeros((*truth.shape, 4))  # RGBA
    kinds = {FOUND: truth & prediction, MISSED: truth & ~prediction, WRONG: wrong}
    for colour, area in kinds.items():
        areas[area] = (*to_rgb(colour), COVER)
    # matplotlib's own hatch would be clipped by every single island
    period = max(4, truth.shape[1] // 28)
    stripes = np.add(*np.indices(truth.shape)) % period < period // 4
    hatch = np.zeros_like(areas)
    hatch[wrong & stripes, 3] = 1
    for layer in (areas, hatch):
        axes.imshow(layer, interpolation="none")
