"""A contact sheet of cases: what a data set looks like, with the outlines of its masks."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from brainseg.data.case import Case
from brainseg.data.cases import is_negative, read_set
from brainseg.data.image import decode_case, resize_image, resize_mask
from brainseg.data.split import PARTS, split_cases
from brainseg.errors import InputError
from brainseg.files import replacing
from brainseg.terminal import bar

CELL = 1.5
"""Width of a case on the sheet, in inches."""

SIZE = 224
"""Pixels of a case."""

OUTLINE = "#ffb000"
"""Orange, which stands out from grey also for the colour-blind."""


@dataclass(frozen=True)
class Cell:
    """One case on the sheet: its name, and image and mask (H×W); no mask where nobody drew one."""

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

    A data set is split by patient where its patients are known, without a look for images that
    stand twice; a run shows the validation and test slices that it carries with it.

    Args:
        root: a data set's folder, or a run.
        out: the picture; a picture that is there is replaced.
        layout: of the data set, see `brainseg.data.cases.LAYOUTS`; by default it is detected.
        options: of the layout, see `brainseg.data.cases.read_set`.
        columns: cases of each class and split.
        seed: draws the cases, and makes the split.

    Returns:
        The number of cases on the sheet.

    Raises:
        InputError: the folder holds no cases, one that was drawn cannot be read, or `out` is no
            PNG file.
    """
    if out.is_dir() or out.suffix.lower() != ".png":
        raise InputError(f"{out} was expected to be a file ending in .png.")
    rng = np.random.default_rng(seed)
    if (root / "state.json").is_file() and not (root / "test.npz").is_file():
        raise InputError(f"The run {root} has no slices yet: its data were not split.")
    if (root / "test.npz").is_file():
        rows = _rows_of_run(root, columns, rng)
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
    """Draw one row of cells for each title; titles stand at the left."""
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
            "class": [case.label or _class_of_mask(case) for case in cases],
            "patient": [case.patient for case in cases],
            "cluster": range(len(cases)),
        }
    )
    split = {"name": "patient", "seed": seed}
    try:
        parts = split_cases(table, split) if table["patient"].notna().all() else None
    except InputError:  # too few patients to split
        parts = None
    drawn = _draw(table["class"], parts, columns, rng)
    chosen = [(title, cases[row]) for title, rows in drawn.items() for row in rows]
    cells: dict[str, list[Cell]] = {}
    for title, case in bar(chosen, "Decoding cases"):
        cells.setdefault(title, []).append(_read(case))
    return cells


def _rows_of_run(run: Path, columns: int, rng: np.random.Generator) -> dict[str, list[Cell]]:
    cells: dict[str, list[Cell]] = {}
    for part in ("val", "test"):
        with np.load(run / f"{part}.npz") as arrays:
            names = ("ids", "classes", "images", "masks")
            ids, classes, images, masks = (arrays[name] for name in names)
        drawn = _draw(pd.Series(classes, dtype=str), pd.Series([part] * len(ids)), columns, rng)
        for title, rows in drawn.items():
            cells[title] = [Cell(str(ids[row]), images[row], masks[row] > 0) for row in rows]
    return cells


def _draw(
    classes: pd.Series, parts: pd.Series | None, columns: int, rng: np.random.Generator
) -> dict[str, list[int]]:
    """Draw rows for each class and part; titles by class, then in the order of the parts."""
    given = pd.Series("", classes.index) if parts is None else parts
    order = ["", *PARTS]
    kinds = sorted({*zip(classes, given, strict=True)}, key=lambda k: (k[0], order.index(k[1])))
    return {
        "\n".join(filter(None, (label, part))): np.sort(
            rng.permutation(np.flatnonzero((classes == label) & (given == part)))[:columns]
        ).tolist()
        for label, part in kinds
    }


def _class_of_mask(case: Case) -> str:
    if case.mask is None:
        return "unknown"
    return "notumor" if is_negative(case) else "tumor"


def _read(case: Case) -> Cell:
    decoded, mask = decode_case(case.image, case.mask)
    drawn = None if case.mask is None else resize_mask(mask, SIZE)
    return Cell(case.id, resize_image(decoded.pixels, SIZE), drawn)
