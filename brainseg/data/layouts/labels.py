"""`labels.csv`: class, patient and plane of pictures, as spreadsheets write it."""

import codecs
import csv
import io
import unicodedata
from collections.abc import Collection, Mapping
from pathlib import Path

from brainseg.data.case import OnProblem, Problem, name_some
from brainseg.data.layouts.class_names import find_class
from brainseg.errors import InputError
from brainseg.files import check_file, without_apostrophe
from brainseg.vocabulary import CLASSES

NAME = "labels.csv"

COLUMNS = {"id", "class", "patient"}

SEPARATORS = (",", ";", "\t")

ENCODINGS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""What a file begins with → its encoding; without such a mark it is UTF-8, else Latin-1."""

Labels = Mapping[str, Mapping[str, str]]
"""Rows by id; without a value an entry is empty."""


def read_labels(root: Path, ids: Collection[str], on_problem: OnProblem) -> Labels:
    """Read the rows of `root/labels.csv` for the cases `ids`; without a file there are none.

    Classes are those of `vocabulary.CLASSES`. What is wrong with the table is a problem; rows
    without an image are only named.
    """
    path = _find(root)
    if path is None:
        return {}

    def report(message: str, fatal: bool = True) -> None:
        on_problem(Problem("label", str(path), message, fatal))

    try:
        rows = _read_rows(path)
    except InputError as error:
        report(str(error))
        return {}
    labels = {row["id"]: row for row in rows}
    if len(labels) < len(rows):
        twice = {row["id"] for row in rows if labels[row["id"]] is not row}
        report(f"{path} repeats ids, such as {name_some(sorted(twice))}. Keep one row of each.")
    if missing := [name for name in ids if name not in labels]:
        report(f"{path} lacks {len(missing)} images, such as {name_some(missing)}. Add rows.")
    if surplus := [name for name in labels if name not in ids]:
        report(
            f"{path} has {len(surplus)} rows without an image, such as {name_some(surplus)}. Add "
            "the images, or remove the rows.",
            fatal=False,
        )
    if unknown := sorted({row["class"] for row in rows if row["class"] and not _class(row)}):
        report(f"{path} has the class {name_some(unknown)}; expected {', '.join(CLASSES)}.")
    return {name: {**row, "class": _class(row)} for name, row in labels.items()}


def _class(row: Mapping[str, str]) -> str:
    return find_class(row["class"]) or ""


def _find(root: Path) -> Path | None:
    found = [path for path in sorted(root.iterdir()) if path.name.lower() == NAME]
    return max(found, key=lambda path: path.name == NAME, default=None)


def _read_rows(path: Path) -> list[dict[str, str]]:
    check_file(path)
    text = unicodedata.normalize("NFC", _decode(path))
    if "\0" in text:
        raise InputError(f"{path} holds NUL characters. Save it as CSV in UTF-8.")
    found = ""
    for separator in SEPARATORS:
        file = io.StringIO(text, newline="")
        try:
            lines = list(csv.reader(file, delimiter=separator, strict=True))
        except csv.Error as error:
            found = found or f"is no table ({error})"
            continue
        header = [name.strip().lower() for name in lines[0]] if lines else []
        if set(header) >= COLUMNS:
            return [_to_row(path, header, line) for line in lines[1:] if any(map(str.strip, line))]
        found = found or f"has columns {', '.join(header)}"
    raise InputError(f"{path} {found}; expected id,class,patient in a CSV file.")


def _to_row(path: Path, header: list[str], line: list[str]) -> dict[str, str]:
    fields = [without_apostrophe(field.strip()) for field in line]
    if any(fields[len(header) :]):
        raise InputError(
            f"{path} has {len(fields)} fields in the row of {fields[0]}; expected {len(header)}. "
            "Put names that hold a separator into quotes."
        )
    fields += [""] * (len(header) - len(fields))
    return dict(zip(header, fields, strict=False))


def _decode(path: Path) -> str:
    data = path.read_bytes()
    marked = next((name for mark, name in ENCODINGS.items() if data.startswith(mark)), None)
    try:
        return data.decode(marked or "utf-8")
    except UnicodeError as error:
        if marked:
            raise InputError(f"{path} is no {marked} ({error}). Save it in UTF-8.") from error
        return data.decode("latin-1")
