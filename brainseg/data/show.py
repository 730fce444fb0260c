"""A contact sheet of cases: what a data set looks like, with the outlines of its masks."""

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from brainseg.data.case import Case
from brainseg.data.cases import class_of, read_set
from brainseg.data.image import read_resized
from brainseg.data.parts import read_test, read_val
from brainseg.data.split import split_cases
from brainseg.errors import InputError
from brainseg.files import replacing
from brainseg.run import Run
from brainseg.vocabulary import PARTS, rank

CELL = 1.5
"""Width of a case on the sheet, in inches."""

SIZE = 224
"""Pixels of a case."""

OUTLINE = "#ffb000"
"""Orange, which stands out from grey also for the colour-blind."""


@dataclass(frozen=True)
class Cell:
    """One case on the sheet: its name, image and mask (H×W); `None` without a mask."""

    name: str
    image: NDArray[np.uint8]
    mask: NDArray[np.bool_] | None


def show_cases(
    root: Path,
    out: Path,
    *,
    layout: str | None = None,
    options: Mapping[str, Any] | None = None,
    columns: int = 6,
    seed: int = 0,
) -> int:
    """Draw cases of each class and split into one PNG.

    A data set is split by patient where its patients are known, ignoring duplicate images. Of a
    run, the validation and test slices are shown.

    Args:
        root: a data set's folder, or a run.
        out: the PNG file, which may exist.
        layout: of the data set, see `brainseg.data.cases.read_set`.
        options: likewise.
        columns: cases per class and split.
        seed: of the selection and of the split.

    Returns:
        The number of cases on the sheet.

    Raises:
        InputError: there are no cases, one cannot be read, or `out` is not a PNG file.
    """
    if out.is_dir() or out.suffix.lower() != ".png":
        raise InputError(f"{out} was expected to be a file ending in .png.")
    rng = np.random.default_rng(seed)
    if Run(root).test.is_file():
        rows = _rows_of_run(Run(root), columns, rng)
    elif Run(root).state.is_file():
        raise InputError(f"The run {root} has no slices yet: its data were not split.")
    else:
        with tempfile.TemporaryDirectory() as cache:
            cases = read_set(layout, root, Path(cache), options)
            rows = _rows_of_set(cases, columns, seed, rng) if cases else {}
    if not rows:
        raise InputError(f"{root} holds no cases to show.")
    figure = draw_sheet(rows, columns)
    with replacing(out) as target:
        figure.savefig(target, format="png", dpi=110)
    return sum(map(len, rows.values()))


def draw_sheet(rows: dict[str, list[Cell]], columns: int) -> Figure:
    """Draw one row of cells for each title; titles are on the left."""
    figure = Figure(figsize=(columns * CELL + 1.2, len(rows) * (CELL + 0.17)), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for (title, cells), line in zip(rows.items(), axes, strict=True):
        for axis in line:
            axis.axis("off")
        for axis, cell in zip(line, cells, strict=False):
            axis.imshow(cell.image, cmap="gray", vmin=0, vmax=255)
            if cell.mask is not None and cell.mask.any():
                axis.contour(cell.mask, [0.5], colors=OUTLINE, linewidths=1.0)
            axis.set_title(cell.name, fontsize=6, pad=2)
        line[0].text(
            -0.08, 0.5, title, transform=line[0].transAxes, ha="right", va="center", fontsize=9
        )
    return figure


def _rows_of_set(
    cases: Sequence[Case], columns: int, seed: int, rng: np.random.Generator
) -> dict[str, list[Cell]]:
    table = pd.DataFrame(
        {
            "id": [case.id for case in cases],
            "class": [class_of(case) for case in cases],
            "patient": [case.patient for case in cases],
            "cluster": range(len(cases)),
        }
    )
    parts = pd.Series("", table.index)
    if table["patient"].notna().all():
        with suppress(InputError):  # too few patients to split
            parts = split_cases(table, {"name": "patient", "seed": seed})
    drawn = _draw(table["class"], parts, columns, rng)
    return {title: [_read(cases[row]) for row in rows] for title, rows in drawn.items()}


def _rows_of_run(run: Run, columns: int, rng: np.random.Generator) -> dict[str, list[Cell]]:
    cells: dict[str, list[Cell]] = {}
    for part, arrays in (("val", read_val(run)), ("test", read_test(run))):
        classes = pd.Series(arrays["classes"], dtype=str)
        for title, rows in _draw(classes, pd.Series(part, classes.index), columns, rng).items():
            found = zip(*(arrays[name][rows] for name in ("ids", "images", "masks")), strict=True)
            cells[title] = [Cell(str(name), image, mask > 0) for name, image, mask in found]
    return cells


def _draw(
    classes: pd.Series, parts: pd.Series, columns: int, rng: np.random.Generator
) -> dict[str, list[int]]:
    """Draw rows of each class and part; titles by class, then in the order of the parts."""
    kinds = sorted({*zip(classes, parts, strict=True)}, key=lambda k: (k[0], rank(k[1], PARTS)))
    return {
        "\n".join(filter(None, (label, part))): np.sort(
            rng.permutation(np.flatnonzero((classes == label) & (parts == part)))[:columns]
        ).tolist()
        for label, part in kinds
    }


def _read(case: Case) -> Cell:
    image, mask = read_resized(case.image, case.mask, SIZE, case.labels)
    return Cell(case.id, image, mask if case.mask else None)
