"""Pictures of slices: `images/` with `masks/`, and class folders."""

from pathlib import Path

from brainseg.data.case import Case, OnProblem, Problem, name_some, refuse
from brainseg.data.image import IMAGE_SUFFIXES
from brainseg.data.layouts.figshare import read_folds
from brainseg.data.layouts.pattern import match_patient
from brainseg.data.layouts.walk import find_files
from brainseg.files import read_csv
from brainseg.vocabulary import CLASSES


def read_folder(
    root: Path, patient_pattern: str | None = None, on_problem: OnProblem = refuse
) -> list[Case]:
    """Read `images/` + `masks/` with the same file stems, and `labels.csv` where there is one.

    `labels.csv` has the columns `id,class,patient` and optionally `plane`; others are ignored.

    Args:
        root: folder with `images/` and `masks/`.
        patient_pattern: regular expression whose first group is the patient in a file's stem,
            such as `(.+)_[0-9]+`; a patient in `labels.csv` takes precedence.
        on_problem: receives what is wrong: the layout, a missing mask, a stem used twice, a
            pattern that does not match, or an incomplete `labels.csv`.

    Raises:
        InputError: by default, at the first problem.
    """
    if not (root / "images").is_dir() or not (root / "masks").is_dir():
        deeper = sorted(path.parent for path in root.glob("*/images"))
        found = f" Did you mean {deeper[0]}?" if deeper else ""
        message = (
            f"{root} has no images/ and masks/.{found} Expected images/N.png and masks/N.png (or "
            "figshare's N.mat)."
        )
        on_problem(Problem("layout", str(root), message))
        return []
    images = _by_stem(root / "images", on_problem)
    masks = _by_stem(root / "masks", on_problem)
    missing = [stem for stem in images if stem not in masks]
    for stem in missing:
        message = (
            f"{len(missing)} of {len(images)} images in {root / 'images'} have no mask, such as "
            f"{images[stem].name}. Expected a file with the same stem in {root / 'masks'} (all "
            "black where there is no tumour)."
        )
        on_problem(Problem("mask", str(images[stem]), message))
    labels = _read_labels(root, images, on_problem)
    folds = read_folds(root)
    cases = []
    for stem in images:
        row = labels.get(stem, {})
        label, plane = row.get("class") or None, row.get("plane") or None
        patient = row.get("patient") or match_patient(stem, patient_pattern, on_problem)
        fold = folds.get(int(stem)) if stem.isdecimal() else None
        cases.append(Case(stem, label, patient, images[stem], masks.get(stem), plane, fold))
    return cases


def read_kaggle_mri(root: Path, on_problem: OnProblem = refuse) -> list[Case]:
    """Read class folders, `Training/CLASS/*.jpg` and `Testing/CLASS/*.jpg`.

    There are no masks and no patients. File names differ between versions of the data set, so
    only the folders' names are used.

    Raises:
        InputError: by default, where there are no class folders, or they are empty.
    """
    cases = [
        Case("-".join((*path.relative_to(root).parts[:-1], path.stem)), folder, None, path, None)
        for path, folder in ((path, path.parent.name) for path in find_files(root))
        if folder in CLASSES and is_picture(path)
    ]
    if not cases:
        message = (
            f"No images in class folders below {root}. Expected Training/CLASS/*.jpg and "
            f"Testing/CLASS/*.jpg with the classes {', '.join(CLASSES)}."
        )
        on_problem(Problem("layout", str(root), message))
    return cases


def is_picture(path: Path) -> bool:
    """Whether a file name is that of a picture, and not hidden."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def _by_stem(folder: Path, on_problem: OnProblem) -> dict[str, Path]:
    files = [path for path in folder.iterdir() if is_picture(path)]
    stems: dict[str, Path] = {}
    for path in sorted(files, key=_number):
        if path.stem in stems:
            message = (
                f"{folder} has files with the same stem and different suffixes, such as "
                f"{stems[path.stem].name} and {path.name}. Remove one of them."
            )
            on_problem(Problem("id", str(path), message))
            continue
        stems[path.stem] = path
    return stems


def _read_labels(
    root: Path, images: dict[str, Path], on_problem: OnProblem
) -> dict[str, dict[str, str]]:
    path = root / "labels.csv"
    if not path.exists():
        return {}

    def report(message: str) -> None:
        on_problem(Problem("label", str(path), message))

    rows = [{key: (row[key] or "").strip() for key in row if key} for row in read_csv(path)]
    if rows and not {"id", "class", "patient"} <= rows[0].keys():
        report(f"{path} has columns {', '.join(rows[0])}; expected id,class,patient.")
        return {}
    labels = {row["id"]: row for row in rows}
    if len(labels) < len(rows):
        twice = {row["id"] for row in rows if labels[row["id"]] is not row}
        report(f"{path} repeats ids, such as {name_some(sorted(twice))}. Keep one row of each.")
    if missing := [stem for stem in images if stem not in labels]:
        report(f"{path} lacks {len(missing)} images, such as {name_some(missing)}. Add rows.")
    if unknown := {row["class"] for row in rows} - {*CLASSES, ""}:
        report(f"{path} has the class {name_some(unknown)}; expected {', '.join(CLASSES)}.")
    return labels


def _number(path: Path) -> tuple[int, str]:
    return (int(path.stem), "") if path.stem.isdecimal() else (10**9, path.stem)
