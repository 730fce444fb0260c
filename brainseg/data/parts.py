"""The parts of a split as files of a run, so that nothing after training needs the raw data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from brainseg.errors import InputError
from brainseg.files import write_csv, write_npz

if TYPE_CHECKING:  # arrays are read without pandas and image decoders
    from pathlib import Path

    import pandas as pd

    from brainseg.data.cache import Slices
    from brainseg.run import Run


def read_test(run: Run) -> dict[str, NDArray]:
    """`ids`, `classes`, `patients` (N), `images` and `masks` (N×H×W, uint8) of the test split.

    `unmasked` (N) marks tumours without outline; runs of older versions may lack it.

    Raises:
        InputError: the run has no such file, or a damaged one.
    """
    return _read(run, run.test)


def read_val(run: Run) -> dict[str, NDArray]:
    """As `read_test`, for the validation split, on which modes are calibrated and chosen."""
    return _read(run, run.val)


def write_part(file: Path, table: pd.DataFrame, slices: Slices, rows: NDArray[np.intp]) -> None:
    """Write some slices into a run, with the keys of `read_test`.

    Args:
        file: `val.npz` or `test.npz` of the run.
        table: one row per case, from `brainseg.data.load.tabulate`; unknown patients are empty.
        slices: in the same order.
        rows: of the cases.
    """
    write_npz(
        file,
        ids=table["id"].to_numpy(str)[rows],
        classes=table["class"].to_numpy(str)[rows],
        patients=table["patient"].to_numpy(str)[rows],
        images=slices.images[rows],
        masks=slices.masks[rows],
        unmasked=table["unmasked"].to_numpy(bool)[rows],
    )


def write_split(file: Path, table: pd.DataFrame, parts: pd.Series) -> None:
    """Write `split.csv`: `id,class,patient,split` of every case."""
    columns = ["id", "class", "patient", "split"]
    rows = table.assign(split=parts)[columns].astype(str)
    write_csv(file, [dict(zip(columns, row, strict=True)) for row in rows.to_numpy()], columns)


def spread(count: int, number: int) -> NDArray[np.intp]:
    """Up to `number` indices below `count`, evenly from the first to the last."""
    return np.unique(np.linspace(0, count - 1, number).astype(np.intp))


def to_input(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the network takes: N×H×W in 0..255 becomes N×1×H×W in [0, 1]."""
    return images[:, None].astype(np.float32) / np.float32(255)


def _read(run: Run, file: Path) -> dict[str, NDArray]:
    if not file.exists():
        raise InputError(f"{run.path} has no {file.name}, which training writes. Train it again.")
    return run.read(file)
