"""The cases of one data set or several, and what makes two data sets the same."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from brainseg.data.case import Case, OnProblem, name_some, refuse
from brainseg.data.image import read_mask
from brainseg.data.layouts.class_names import find_class
from brainseg.data.layouts.dicom_file import looks_like_dicom
from brainseg.data.layouts.figshare import find_mats, read_mats
from brainseg.data.layouts.folder import is_picture, read_folder, read_kaggle_mri
from brainseg.data.layouts.lgg import is_lgg_mask
from brainseg.data.layouts.mask_names import IMAGES, MASKS
from brainseg.data.layouts.options import READERS, check_options
from brainseg.data.layouts.slices import read_slices
from brainseg.data.layouts.walk import find_files, find_folder
from brainseg.data.matlab import is_mat
from brainseg.errors import InputError, check_known
from brainseg.files import check_file
from brainseg.terminal import bar
from brainseg.vocabulary import NEGATIVE

LAYOUTS = ("figshare", "folder", "kaggle_mri", *READERS)
"""How a data set can be laid out on disk; phantoms are a `folder`."""


def read_set(
    layout: str | None,
    root: Path,
    cache: Path,
    options: Mapping[str, Any] | None = None,
    on_problem: OnProblem = refuse,
) -> list[Case]:
    """Read the cases of one data set.

    Args:
        layout: of `LAYOUTS`; `None` detects it.
        root: the data set's folder.
        cache: folder for the slices of volumes.
        options: of the layout: `patient_pattern`, and those of its reader in `READERS`.
        on_problem: receives each problem; by default the first one raises.

    Raises:
        InputError: the layout or an option is unknown, or there is nothing to read.
    """
    layout = layout or detect_layout(root)
    check_known("layout", [layout], LAYOUTS)
    given = check_options(layout, options or {})
    if layout in READERS:
        return read_slices(layout, root, cache, given, on_problem)
    if layout == "kaggle_mri":
        return read_kaggle_mri(root, on_problem)
    labels = given.get("labels")
    if layout == "figshare" and find_mats(root):
        return read_mats(root, on_problem, labels)
    return read_folder(root, given.get("patient_pattern"), on_problem, labels)


def detect_layout(root: Path) -> str:
    """Detect the layout of a data set.

    Raises:
        InputError: the folder is missing, or matches none of `LAYOUTS`.
    """
    if not root.is_dir():
        raise InputError(f"The data folder {root} does not exist.")
    files = find_files(root)
    pictures = [path for path in files if is_picture(path)]
    if any(path.name.lower().endswith((".nii", ".nii.gz")) for path in files):
        return "nifti"
    if any(is_lgg_mask(path) for path in files):
        return "lgg"
    if any(is_mat(path) and path.stem.isdecimal() for path in files):
        return "figshare"
    images, masks = (find_folder(root, names) for names in (IMAGES, MASKS))
    both = masks.is_dir() and images.is_dir()
    if both and any(images in path.parents for path in pictures):
        return "folder"
    inside = sorted(path.parent for path in root.glob("*/images") if path.is_dir())
    if any(find_class(path.parent.name) for path in pictures):
        if inside:
            raise InputError(f"{root} holds several data sets. Give one, such as {inside[0]}.")
        return "kaggle_mri"
    if any(looks_like_dicom(path) for path in files[:100]):
        return "dicom"
    if both and not pictures:  # an empty one
        return "folder"
    raise InputError(
        f"{root} is none of the layouts {', '.join(LAYOUTS)}."
        + (f" Did you mean {inside[0]}?" if inside else "")
        + " Expected images/ and masks/, class folders, figshare's N.mat, NIfTI pairs, kaggle_3m, "
        "or DICOM files."
    )


def read_cases(
    layout: str,
    root: Path,
    *,
    cache: Path,
    negatives: Path | None = None,
    test: Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> dict[str, list[Case]]:
    """Read the data set to train on, and those that join it.

    Args:
        layout: of `root`: `phantom`, or one of `LAYOUTS`.
        root: the data set's folder.
        cache: folder for the slices of volumes.
        negatives: a data set of any layout whose slices without tumour are added.
        test: a data set of any layout to use as the test split.
        options: of the layout of `root`, see `read_set`.

    Returns:
        The cases of `root`, `negatives` and `test`. An id already in use is prefixed with the
        name of its set.

    Raises:
        InputError: a folder is missing or empty, or `root` has no masks.
    """
    if not root.is_dir():
        raise InputError(f"The data folder {root} does not exist. Set data.root=/path/to/data.")
    if layout == "kaggle_mri":
        raise InputError(
            f"The class-folder data set {root} has no tumour masks, so it cannot be trained on. "
            f"Use only its slices without tumour: data=figshare data.negatives={root}"
        )
    cases = read_set("folder" if layout == "phantom" else layout, root, cache, options)
    if not cases:
        raise InputError(f"The data folder {root} is empty: no image in {root / 'images'}.")
    sets = {"root": cases}
    if negatives is not None:
        joined = _join("negatives", negatives, cache)
        without = [case for case in joined if class_of(case) == NEGATIVE]
        if not without:
            raise InputError(
                f"data.negatives={negatives} has no images without tumour: none in a folder "
                f"`{NEGATIVE}`, and none with an empty mask."
            )
        sets["negatives"] = without
    if test is not None:
        sets["test"] = _join("test", test, cache)
    return _make_ids_unique(sets)


def class_of(case: Case) -> str:
    """The class of a case; where its data set gives none, `tumor` or the negative by its mask."""
    if case.label or case.mask is None:
        return case.label or "unknown"
    return "tumor" if read_mask(case.mask, case.labels).any() else NEGATIVE


def _join(name: str, root: Path, cache: Path) -> list[Case]:
    if not root.is_dir():
        raise InputError(f"The folder data.{name}={root} does not exist.")
    try:
        cases = read_set(None, root, cache)
    except InputError as error:
        raise InputError(
            f"data.{name}={root} cannot be read: {error}\nThe options in `data` are for data.root. "
            "A set of volumes that needs some of its own joins after `brainseg data convert "
            f"{root} --out DIR --option …`, as DIR."
        ) from error
    if not cases:
        raise InputError(f"The folder data.{name}={root} holds no images.")
    return cases


def _make_ids_unique(sets: dict[str, list[Case]]) -> dict[str, list[Case]]:
    taken: set[str] = set()
    for name, cases in sets.items():
        sets[name] = [
            replace(case, id=f"{name}-{case.id}") if case.id in taken else case for case in cases
        ]
        taken |= {case.id for case in sets[name]}
    check_ids([case for cases in sets.values() for case in cases])
    return sets


def check_ids(cases: Sequence[Case]) -> None:
    """Check that ids are unique.

    Raises:
        InputError: two cases share an id.
    """
    if twice := repeated_ids(cases):
        raise InputError(
            f"Duplicate ids in the data, such as {name_some(twice)}. Rename the files, so that "
            "each has a unique name."
        )


def repeated_ids(cases: Sequence[Case]) -> dict[str, int]:
    """The ids that several cases share, with their number."""
    counts = Counter(case.id for case in cases)
    return {name: count for name, count in counts.items() if count > 1}


def fingerprint(cases: Sequence[Case]) -> str:
    """SHA-256 of ids, classes, patients, folds, labels and file contents; moving data keeps it."""
    digest = hashlib.sha256()
    for case in bar(cases, "Reading files"):
        digest.update(f"{case.id}\0{case.label}\0{case.patient}\0{case.fold}\0".encode())
        digest.update(f"{case.labels}\0".encode() if case.labels is not None else b"")
        for path in dict.fromkeys((case.image, case.mask)):
            digest.update(hashlib.sha256(_read_bytes(path) if path else b"").digest())
    return digest.hexdigest()


def _read_bytes(path: Path) -> bytes:
    """A file's content; none of a file that cannot be read, which the decoder names."""
    try:
        check_file(path)
        return path.read_bytes()
    except (InputError, OSError):
        return b""
