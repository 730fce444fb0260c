"""A case is one slice: its files, class and patient. Data sets on disk become lists of cases."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from brainseg.data.image import IMAGE_SUFFIXES, open_mat
from brainseg.errors import InputError
from brainseg.files import read_csv, write_csv

CLASSES = ("glioma", "meningioma", "pituitary", "notumor")
MAT_CLASSES = {1: "meningioma", 2: "glioma", 3: "pituitary"}
"""`cjdata.label` of figshare 1512427."""


@dataclass(frozen=True)
class Case:
    """One slice.

    `label` is one of `CLASSES`, `None` where the data set does not tell. `patient` is `None`
    where unknown. `mask` is `None` for a slice without tumour; a MATLAB file holds both.
    """

    id: str
    label: str | None
    patient: str | None
    image: Path
    mask: Path | None


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
            f"{_some(images[stem].name for stem in missing)}. Expected a file with the same stem "
            f"in {root / 'masks'} (all black where there is no tumour)."
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


def read_cases(
    layout: str, root: Path, negatives: Path | None = None, patient_pattern: str | None = None
) -> list[Case]:
    """Read the cases of a data set that has masks, and join the slices without tumour.

    Args:
        layout: `phantom`, `figshare`, `kaggle_mri` or `folder`.
        root: the data set's folder.
        negatives: a data set of class folders whose `notumor` images join with empty masks.
        patient_pattern: see `read_folder`.

    Raises:
        InputError: the folder is missing or empty, the data set has no masks, or an id stands
            twice.
    """
    if not root.is_dir():
        raise InputError(f"The data folder {root} does not exist. Set data.root=/path/to/data.")
    if layout == "kaggle_mri":
        raise InputError(
            f"The class-folder data set {root} has no tumour masks, so it cannot be trained on. "
            f"Use it for its slices without tumour: data=figshare data.negatives={root}"
        )
    cases = read_figshare(root) if layout == "figshare" else read_folder(root, patient_pattern)
    if negatives is not None:
        if not negatives.is_dir():
            raise InputError(f"The folder data.negatives={negatives} does not exist.")
        without = [case for case in read_kaggle_mri(negatives) if case.label == "notumor"]
        if not without:
            raise InputError(f"data.negatives={negatives} has no images in a folder `notumor`.")
        cases += without
    if not cases:
        raise InputError(f"The data folder {root} is empty: no image in {root / 'images'}.")
    twice = [id_ for id_, count in Counter(case.id for case in cases).items() if count > 1]
    if twice:
        raise InputError(f"Ids stand twice in {root} and its negatives, such as {_some(twice)}.")
    return cases


def fingerprint(cases: Sequence[Case]) -> str:
    """SHA-256 of ids, classes, patients and file contents: the same data moved keeps it."""
    digest = hashlib.sha256()
    for case in sorted(cases, key=lambda case: case.id):
        digest.update(f"{case.id}\0{case.label}\0{case.patient}\0".encode())
        for path in dict.fromkeys((case.image, case.mask)):
            digest.update(hashlib.sha256(path.read_bytes() if path else b"").digest())
    return digest.hexdigest()


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
        raise InputError(f"{path} lacks {len(missing)} images, such as {_some(missing)}.")
    unknown = {row["class"] for row in rows} - {*CLASSES, ""}
    if unknown:
        raise InputError(f"{path} has the class {_some(unknown)}; expected {', '.join(CLASSES)}.")
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


def _some(names: object) -> str:
    listed = list(names)  # type: ignore[call-overload]
    return ", ".join(map(str, listed[:3])) + (", …" if len(listed) > 3 else "")


def _number(path: Path) -> tuple[int, str]:
    return (int(path.stem), "") if path.stem.isdigit() else (10**9, path.stem)
