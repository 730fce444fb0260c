"""Volumes as slices: written once, in the layout of `read_folder`, and read from there."""

import hashlib
import inspect
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from brainseg.data.case import CLASSES, Case, OnProblem, refuse
from brainseg.data.layouts.dicom import read_dicom
from brainseg.data.layouts.folder import read_spacing
from brainseg.data.layouts.lgg import read_lgg
from brainseg.data.layouts.nifti import read_nifti
from brainseg.data.layouts.pattern import match_patient
from brainseg.data.layouts.volume import Cut, VolumeSlice
from brainseg.data.layouts.walk import find_files
from brainseg.errors import InputError
from brainseg.files import building, read_csv, write_csv
from brainseg.terminal import bar

READERS: dict[str, Callable[..., list[Cut]]] = {
    "nifti": read_nifti,
    "lgg": read_lgg,
    "dicom": read_dicom,
}
"""Layouts whose files are not pictures of one slice."""

COLUMNS = ["id", "class", "patient", "plane", "row_mm", "column_mm", "source"]

FORMAT = 1
"""Part of the folder's name: raise it when the slices change."""


def check_options(layout: str, options: Mapping[str, Any]) -> None:
    """Check that a layout knows its options.

    Raises:
        InputError: one is unknown, or `tumor` is no class of tumours.
    """
    known = option_names(layout)
    unknown = options.keys() - set(known)
    if unknown:
        raise InputError(
            f"{', '.join(sorted(unknown))} is no option of {layout}. Expected {', '.join(known)}."
        )
    tumors = [label for label in CLASSES if label != "notumor"]
    if options.get("tumor") not in (None, *tumors):
        raise InputError(f"tumor={options['tumor']}: expected one of {', '.join(tumors)}.")


def option_names(layout: str) -> list[str]:
    """The options of a layout, `patient_pattern` among them."""
    taken = inspect.signature(READERS[layout]).parameters.values() if layout in READERS else ()
    own = [each.name for each in taken if each.kind is inspect.Parameter.KEYWORD_ONLY]
    return [*own, "patient_pattern"]


def parse_options(typed: Sequence[str]) -> dict[str, Any]:
    """Options as typed: `planes=axial`, `every=2`.

    Raises:
        InputError: one is not of the form `name=value`.
    """
    options: dict[str, Any] = {}
    for text in typed:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(
                f"Expected an option as name=value, such as planes=axial; found {text}."
            )
        options[name] = int(value) if value.isdecimal() else value
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
        options: of the layout's reader, and `patient_pattern`: a regular expression whose first
            group is the patient in the name that the reader gives (`BraTS-GLI-00001-000` is an
            examination; `(BraTS-GLI-[0-9]+)` a patient).
        on_problem: is told of each file that cannot be used.

    Returns:
        The number of slices.

    Raises:
        InputError: there are no volumes, an option is unknown, `target` exists, or (by default) a
            file cannot be used.
    """
    given = dict(options or {})
    check_options(layout, given)
    if target.exists():
        raise InputError(f"{target} exists already. Give a new folder.")
    pattern = given.pop("patient_pattern", None)
    cuts = READERS[layout](root, on_problem, **given)
    taken: Counter[str] = Counter()
    rows: list[dict[str, Any]] = []
    with building(target) as made:
        for part in ("images", "masks"):
            (made / part).mkdir()
        for cut in bar(cuts, "Cutting volumes into slices"):
            for piece in cut():
                taken[piece.id] += 1
                name = piece.id if taken[piece.id] == 1 else f"{piece.id}-{taken[piece.id]}"
                patient = match_patient(piece.patient, pattern, on_problem) or piece.patient
                rows.append(_write(made, replace(piece, id=name, patient=patient)))
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
    place = root.resolve()
    found = [(path, path.stat()) for path in find_files(place)]
    stamps = [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in found]
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
        read_spacing(row),
        source=str(root / row["source"]),
    )
