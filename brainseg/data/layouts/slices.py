"""Volumes as slices: written once, in the layout of `read_folder`, and read from there."""

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from brainseg.data.case import Case, OnProblem, Problem, refuse
from brainseg.data.layouts.dicom import read_dicom
from brainseg.data.layouts.lgg import read_lgg
from brainseg.data.layouts.nifti import read_nifti
from brainseg.data.layouts.volume import Cut, VolumeSlice
from brainseg.errors import InputError
from brainseg.files import building, read_csv, write_csv
from brainseg.progress import bar

READERS: dict[str, Callable[..., list[Cut]]] = {
    "nifti": read_nifti,
    "lgg": read_lgg,
    "dicom": read_dicom,
}
"""Layouts whose files are not pictures of one slice."""

COLUMNS = ["id", "class", "patient", "plane", "row_mm", "column_mm", "source"]

FORMAT = 1
"""Part of the folder's name: raise it when the slices change."""


def parse_options(layout: str, typed: Sequence[str]) -> dict[str, Any]:
    """Options of a layout's reader, as typed: `planes=axial`, `every=2`.

    Raises:
        InputError: one is not of the form `name=value`, or the reader has no such option.
    """
    known = [name for name in inspect.signature(READERS[layout]).parameters if name != "root"]
    options: dict[str, Any] = {}
    for text in typed:
        name, equals, value = text.partition("=")
        if not equals or name not in known:
            raise InputError(
                f"'{text}' is no option of {layout}. Expected name=value with one of "
                f"{', '.join(known)}."
            )
        options[name] = int(value) if value.isdigit() else value
    return options


def write_slices(
    layout: str,
    root: Path,
    target: Path,
    options: Mapping[str, Any] | None = None,
    on_problem: OnProblem = refuse,
) -> int:
    """Cut the volumes below `root` and write `images/`, `masks/` and `labels.csv` to `target`.

    The folder appears at once when all is written, beside a progress bar.

    Args:
        layout: of `READERS`.
        root: the data set's folder.
        target: a new folder.
        options: of the layout's reader.
        on_problem: is told of each volume that cannot be used.

    Returns:
        The number of slices.

    Raises:
        InputError: there are no volumes, `target` exists, or (by default) a volume cannot be used.
    """
    if target.exists():
        raise InputError(f"{target} exists already. Give a new folder.")
    cuts = READERS[layout](root, **(options or {}))
    with building(target) as made:
        for part in ("images", "masks"):
            (made / part).mkdir()
        rows: list[dict[str, Any]] = []
        for cut in bar(cuts, "Cutting volumes into slices"):
            try:
                slices = list(cut())
            except InputError as error:
                on_problem(Problem("image", str(root), str(error)))
                continue
            rows += [_write(made, piece) for piece in slices]
        write_csv(made / "labels.csv", rows, COLUMNS)
    return len(rows)


def read_slices(
    layout: str,
    root: Path,
    cache: Path,
    options: Mapping[str, Any] | None = None,
    on_problem: OnProblem = refuse,
) -> list[Case]:
    """Read volumes as cases; their slices are kept in `cache` until the files change.

    Raises:
        InputError: as `write_slices`.
    """
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    stamps = [(str(p.relative_to(root)), p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    whole = on_problem is refuse  # else volumes may be missing
    recipe = json.dumps([FORMAT, layout, dict(options or {}), stamps, whole])
    folder = cache / f"{layout}-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"
    if not folder.is_dir():
        write_slices(layout, root, folder, options, on_problem)
    return [_read(folder, root, row) for row in read_csv(folder / "labels.csv")]


def _write(folder: Path, piece: VolumeSlice) -> dict[str, Any]:
    Image.fromarray(np.ascontiguousarray(piece.pixels)).save(folder / "images" / f"{piece.id}.png")
    if piece.mask is not None:
        mask = np.uint8(255) * np.ascontiguousarray(piece.mask)
        Image.fromarray(mask).save(folder / "masks" / f"{piece.id}.png")
    row_mm, column_mm = piece.spacing or (None, None)
    return {
        "id": piece.id,
        "class": piece.label,
        "patient": piece.patient,
        "plane": piece.plane,
        "row_mm": row_mm,
        "column_mm": column_mm,
        "source": piece.source,
    }


def _read(folder: Path, root: Path, row: Mapping[str, str]) -> Case:
    mask = folder / "masks" / f"{row['id']}.png"
    return Case(
        row["id"],
        row["class"] or None,
        row["patient"] or None,
        folder / "images" / f"{row['id']}.png",
        mask if mask.exists() else None,
        row["plane"] or None,
        (float(row["row_mm"]), float(row["column_mm"])) if row["row_mm"] else None,
        source=str(root / row["source"]),
    )
