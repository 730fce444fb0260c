"""Fig. 8: how the variants learn."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from brainseg.report.figures import style
from brainseg.report.table import Runs
from brainseg.run import Run

TITLE = "Training and validation"
CAPTION = (
    "Loss and IoU per epoch (Fig. 8 of the study). Thick line: mean over the seeds, as far as all "
    "of them ran; thin lines: each seed. Marker: the epoch with the best validation mean IoU, "
    "whose weights are kept."
)
INPUTS = ("history",)

PANELS = {
    "train_loss": "training loss",
    "val_loss": "validation loss",
    "val_mean_iou": "validation mean IoU",
    "val_tumor_iou": "validation tumour IoU",
}
"""Columns of `history.csv`, and their labels."""

CHOICE = "val_mean_iou"
"""The best epoch has the highest."""

History = dict[str, NDArray[np.float64]]
"""Columns of `history.csv`, a value per epoch."""


@style.styled
def draw(runs: Runs) -> style.Drawing | None:
    """Draw each column of `PANELS` against the epoch, or nothing where there is no history."""
    found = {
        variant: [history for run in members if (history := read_history(run))]
        for variant, members in runs.items()
    }
    histories = {variant: each for variant, each in found.items() if each}
    if not histories:
        return None
    best = [f"{name} {', '.join(map(_tell_best, found))}" for name, found in histories.items()]
    alt = f"Loss and IoU over the epochs. Best validation mean IoU per run: {'; '.join(best)}."
    looks = style.looks_of(runs)
    figure = Figure(figsize=(9, 6.2), layout="constrained")
    grid = figure.subplots(2, 2, sharex=True)
    for axes, (column, label) in zip(grid.flat, PANELS.items(), strict=True):
        axes.set_ylabel(label)
        style.add_grid(axes)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        for variant, members in histories.items():
            _draw_variant(axes, members, column, looks[variant])
    grid[0, 0].sharey(grid[0, 1])
    for axes in grid[1]:
        axes.set_xlabel("epoch, from 0")
    handles = [_entry(variant, len(each), looks[variant]) for variant, each in histories.items()]
    style.add_legend(figure, handles, 4, handlelength=4)
    return style.Drawing(figure, alt)


def best_epoch(history: History) -> int | None:
    """Index of the epoch whose weights are kept, `None` where no score is a number."""
    scores = history[CHOICE]
    return None if np.isnan(scores).all() else int(np.nanargmax(scores))


def read_history(run: Run) -> History:
    """The history of a run, empty where there is none."""
    rows = run.read(run.history) if run.history.exists() else []
    columns = ("epoch", *PANELS) if rows else ()
    return {name: np.array([row.get(name) for row in rows], float) for name in columns}


def _draw_variant(axes: Axes, histories: Sequence[History], column: str, look: style.Look) -> None:
    epochs = min((history["epoch"] for history in histories), key=len)
    mean = np.mean([history[column][: len(epochs)] for history in histories], axis=0)
    axes.plot(epochs, mean, linewidth=1.8, **look.style)
    for history in histories:
        if len(histories) > 1:
            thin: style.Style = {"color": look.colour, "linewidth": 0.6, "alpha": 0.5}
            axes.plot(history["epoch"], history[column], **thin)
        if (best := best_epoch(history)) is not None:
            axes.plot(history["epoch"][best], history[column][best], ls="none", **_marker(look))


def _marker(look: style.Look) -> style.Style:
    edge = {"markeredgecolor": "white", "markeredgewidth": 0.8}
    return {"marker": look.marker, "markersize": 6, "markerfacecolor": look.colour, **edge}


def _entry(variant: str, seeds: int, look: style.Look) -> Line2D:
    label = f"{variant} ({seeds} seeds)" if seeds > 1 else variant
    return Line2D([], [], label=label, linewidth=1.8, **look.style, **_marker(look))


def _tell_best(history: History) -> str:
    best = best_epoch(history)
    if best is None:
        return "none"
    return f"{history[CHOICE][best]:.3f} in epoch {history['epoch'][best]:g}"
