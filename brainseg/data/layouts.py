"""How data sets lie on disk, and their files as cases."""

import re
from collections.abc import Iterable
from pathlib import Path

from brainseg.data.case import CLASSES, Case
from brainseg.data.image import IMAGE_SUFFIXES, open_mat
from brainseg.errors import InputError
from brainseg.files import read_csv, write_csv

MAT_CLASSES = {1: "meningioma", 2: "glioma", 3: "pituitary"}
"""`cjdata.label` of figshare 1512427."""


def read_figshare(root: Path) -> list[Case]:
    """Read the figshare set: MATLAB files `N.mat`, or `images/N.png` with `masks/N.png`."""
    mats = _mats(root)
    if not mats:
        return read_folder(root)
    return [Case(mat.stem, *read_mat_labels(mat), image=mat, mask=mat) for mat in mats]


def read_mat_labels(path: Path) -> tuple[str, str]:
    """Class and patient of one of figshare's MATLAB files.

    Patient numbers that differ only by a suffix of letters (`MR040204C`, `MR040204D`) are one.
    """
    with open_mat(path) as file:
        label = MAT_CLASSES[int(file["cjdata/label"][()].item())]
        codes = file["cjdata/PID"][()].ravel()
    published = "".join(chr(int(code)) for code in codes)
    return label, re.sub(r"(?<=\d)[A-Za-z]+$", "", published)


def write_labels(root: Path, mats: Path) -> int:
    """Write `root/labels.csv` from the original MATLAB files in `mats`, which may lie deeper.

    Returns the number of cases.

    Raises:
        InputError: there are no MATLAB files.
    """
    files = _mats(mats)
    if not files:
        raise InputError(
            f"No N.mat below {mats}. Expected figshare 1512427's files; unpack its archives there."
        )
    rows = []
    for path in files:
        label, patient = read_mat_labels(path)
        rows.append({"id": path.stem, "class": label, "patient": patient})
    write_csv(root / "labels.csv", rows, ["id", "class", "patient"])
    return len(rows)


def read_folder(root: Path, patient_pattern: str | None = None) -> list[Case]:
    """Read `images/` + `masks/` with the same file stems, and `labels.csv` where there is one.

    Args:
        root: folder with `images/` and `masks/`.
        patient_pattern: regular expression whose first group is the patient in a file's stem,
            such as `(.+)_[0-9]+`; `labels.csv` wins where it names a patient.

    Raises:
        InputError: the layout is another, a mask is missing, a stem stands twice, the pattern
            does not match, or `labels.csv` lacks a case.
    """
    if not (root / "images").is_dir() or not (root / "masks").is_dir():
        raise InputError(
            f"{root} has no images/ and masks/.{_suggest(root, 'images')} Expected "
            "images/N.png and masks/N.png (or figshare's N.mat)."
        )
    images = _by_stem(root / "images")
    masks = _by_stem(root / "masks")
    missing = [stem for stem in images if stem not in masks]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(images)} images in {root / 'images'} have no mask, such as "
            f"{name_some(images[stem].name for stem in missing)}. Expected a file with the same "
            f"stem in {root / 'masks'} (all black where there is no tumour)."
        )
    labels = _read_labels(root, images)
    return [
        Case(
            stem,
            labels.get(stem, {}).get("class") or None,
            labels.get(stem, {}).get("patient") or _patient(stem, patient_pattern),
            images[stem],
            masks[stem],
        )
        for stem in images
    ]


def read_kaggle_mri(root: Path) -> list[Case]:
    """Read class folders, `{Training,Testing}/{glioma,meningioma,notumor,pituitary}/`.

    There are no masks and no patients. File names differ between versions of the data set, so
    only the folders are relied on.

    Raises:
        InputError: there are no class folders, or they are empty.
    """
    folders = [f for f in sorted(root.rglob("*")) if f.is_dir() and f.name in CLASSES]
    cases = [
        Case("-".join((*folder.relative_to(root).parts, path.stem)), folder.name, None, path, None)
        for folder in folders
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in IMAGE_SUFFIXES
    ]
    if not cases:
        raise InputError(
            f"No images in class folders below {root}. Expected "
            "Training|Testing/{glioma,meningioma,notumor,pituitary}/*.jpg."
        )
    return cases


def name_some(names: Iterable[str]) -> str:
    """The first three names, for a message."""
    listed = list(names)
    return ", ".join(listed[:3]) + (", …" if len(listed) > 3 else "")


def _mats(root: Path) -> list[Path]:
    """Figshare's numbered files; `cvind.mat`, its list of folds, is none of them."""
    return sorted((path for path in root.rglob("*.mat") if path.stem.isdigit()), key=_number)


def _by_stem(folder: Path) -> dict[str, Path]:
    files = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    stems = {path.stem: path for path in sorted(files, key=_number)}
    if len(stems) < len(files):
        raise InputError(f"{folder} has files with the same stem and different suffixes.")
    return stems


def _read_labels(root: Path, images: dict[str, Path]) -> dict[str, dict[str, str]]:
    path = root / "labels.csv"
    if not path.exists():
        return {}
    rows = read_csv(path)
    if rows and not {"id", "class", "patient"} <= rows[0].keys():
        raise InputError(f"{path} has columns {', '.join(rows[0])}; expected id,class,patient.")
    labels = {row["id"]: row for row in rows}
    missing = [stem for stem in images if stem not in labels]
    if missing:
        raise InputError(f"{path} lacks {len(missing)} images, such as {name_some(missing)}.")
    unknown = {row["class"] for row in rows} - {*CLASSES, ""}
    if unknown:
        raise InputError(
            f"{path} has the class {name_some(unknown)}; expected {', '.join(CLASSES)}."
        )
    return labels


def _patient(stem: str, pattern: str | None) -> str | None:
    if pattern is None:
        return None
    match = re.match(pattern, stem)
    if match is None or not match.groups():
        raise InputError(
            f"data.patient_pattern={pattern!r} finds no patient in the file name {stem!r}. "
            "Expected a regular expression with one group, such as '(.+)_[0-9]+'."
        )
    return match.group(1)


def _suggest(root: Path, name: str) -> str:
    deeper = sorted(path.parent for path in root.glob(f"*/{name}"))
    return f" Did you mean {deeper[0]}?" if deeper else ""


def _number(path: Path) -> tuple[int, str]:
    return (int(path.stem), "") if path.stem.isdigit() else (10**9, path.stem)
