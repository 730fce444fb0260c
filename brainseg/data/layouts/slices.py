"""Volumes as slices: written once in the layout of `read_folder`, and read from there."""

import hashlib
import json
import re
from collections.abc import Container, Mapping
from dataclasses import asdict, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from brainseg.data.case import Case, OnProblem, Problem, refuse
from brainseg.data.layouts.options import READERS, check_options
from brainseg.data.layouts.pattern import match_patient
from brainseg.data.layouts.volume import VolumeSlice
from brainseg.data.layouts.walk import find_files
from brainseg.errors import InputError
from brainseg.files import building, read_csv, write_csv, write_json
from brainseg.terminal import bar

COLUMNS = ["id", "class", "patient", "plane", "source"]

NOTES = "problems.json"
"""What was left out of a folder of slices, and why; missing where nothing was."""

LONGEST = 120
"""Bytes of a slice's name; the rest becomes a hash."""

FORMAT = 3
"""Part of the folder's name: raise it when the slices change."""


def write_slices(
    layout: str,
    root: Path,
    target: Path,
    options: Mapping[str, Any] | None = None,
    on_problem: OnProblem = refuse,
) -> int:
    """Cut the volumes below `root`, with a progress bar; returns the number of slices.

    The new folder `target` gets `images/`, `masks/` and `labels.csv`, and `problems.json` where
    something was left out; it appears once everything is written.

    Args:
        layout: of `READERS`.
        root: the data set's folder.
        target: a new folder.
        options: of the layout's reader, and `patient_pattern`: a regular expression whose first
            group is the patient in the reader's name for it (`BraTS-GLI-00001-000` is an
            examination, `(BraTS-GLI-[0-9]+)` the patient).
        on_problem: receives each file that cannot be used.

    Raises:
        InputError: there are no volumes, an option is unknown, `target` exists, or (by default) a
            file cannot be used.
    """
    given = check_options(layout, options or {})
    if target.exists():
        raise InputError(f"{target} exists already. Choose a new folder.")
    pattern = given.pop("patient_pattern", None)
    noted: list[Problem] = []

    def note(problem: Problem) -> None:
        if not (pattern and problem.kind == "patient"):  # the pattern answers it
            noted.append(problem)
            on_problem(problem)

    cuts = READERS[layout](root, note, **given)
    rows: dict[str, dict[str, Any]] = {}
    marked = False
    with building(target) as made:
        for part in ("images", "masks"):
            (made / part).mkdir()
        for cut in bar(cuts, "Cutting volumes into slices"):
            for piece in cut():
                name = _free_name(piece.id, rows)
                found = match_patient(piece.examination, pattern, note, piece.place)
                patient = found or piece.patient
                rows[name] = _write(made, replace(piece, id=name, patient=patient))
                marked |= piece.mask is not None and bool(piece.mask.any())
        if rows and given.get("labels") and not marked:
            chosen = ",".join(f"{label:g}" for label in given["labels"])
            raise InputError(
                f"No mask of {root} holds a value of labels={chosen}. Expected those that are "
                "tumour; without the option, a message lists the values that there are."
            )
        write_csv(made / "labels.csv", list(rows.values()), COLUMNS)
        if noted:
            write_json(made / NOTES, [asdict(problem) for problem in noted])
    return len(rows)


def read_slices(
    layout: str, root: Path, cache: Path, options: Mapping[str, Any], on_problem: OnProblem
) -> list[Case]:
    """Read volumes as cases; their slices stay in `cache` until the files change.

    Raises:
        InputError: as `write_slices`.
    """
    place = root.resolve()
    found = [(path, path.stat()) for path in find_files(place)]
    stamps = [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in found]
    whole = on_problem is refuse  # otherwise volumes may be missing
    recipe = json.dumps([FORMAT, layout, dict(options), stamps, whole])
    folder = cache / f"{layout}-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"
    if not folder.is_dir():
        write_slices(layout, root, folder, options, on_problem)
    elif (folder / NOTES).is_file():  # what was left out is told each time
        for problem in json.loads((folder / NOTES).read_text()):
            on_problem(Problem(**problem))
    return [_read(folder, root, row) for row in read_csv(folder / "labels.csv")]


def _free_name(wanted: str, taken: Container[str]) -> str:
    """A name for a file that is not taken, from one that may hold anything."""
    name = re.sub(r"[^\w.]+", "-", wanted).lstrip(".-") or "slice"
    if len(name.encode()) > LONGEST:
        start = name.encode()[:LONGEST].decode(errors="ignore")
        name = f"{start}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    numbered = (f"{name}-{number}" for number in count(2))
    return next(each for each in chain([name], numbered) if each not in taken)


def _write(folder: Path, piece: VolumeSlice) -> dict[str, Any]:
    Image.fromarray(np.ascontiguousarray(piece.pixels)).save(folder / "images" / f"{piece.id}.png")
    if piece.mask is not None:
        mask = np.uint8(255) * np.ascontiguousarray(piece.mask)
        Image.fromarray(mask).save(folder / "masks" / f"{piece.id}.png")
    values = (piece.id, piece.label, piece.patient, piece.plane, piece.source)
    return dict(zip(COLUMNS, values, strict=True))


def _read(folder: Path, root: Path, row: Mapping[str, str]) -> Case:
    mask = folder / "masks" / f"{row['id']}.png"
    return Case(
        row["id"],
        row["class"] or None,
        row["patient"] or None,
        folder / "images" / f"{row['id']}.png",
        mask if mask.exists() else None,
        row["plane"] or None,
        source=str(root / row["source"]),
    )
