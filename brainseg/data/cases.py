"""The cases of a data set, and what makes two data sets the same."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from brainseg.data.case import Case
from brainseg.data.layouts import name_some, read_figshare, read_folder, read_kaggle_mri
from brainseg.errors import InputError


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
    if not cases:
        raise InputError(f"The data folder {root} is empty: no image in {root / 'images'}.")
    if negatives is not None:
        if not negatives.is_dir():
            raise InputError(f"The folder data.negatives={negatives} does not exist.")
        without = [case for case in read_kaggle_mri(negatives) if case.label == "notumor"]
        if not without:
            raise InputError(f"data.negatives={negatives} has no images in a folder `notumor`.")
        cases += without
    twice = [id_ for id_, count in Counter(case.id for case in cases).items() if count > 1]
    if twice:
        raise InputError(
            f"Ids stand twice in {root} and its negatives, such as {name_some(twice)}."
        )
    return cases


def fingerprint(cases: Sequence[Case]) -> str:
    """SHA-256 of ids, classes, patients and file contents: the same data moved keeps it."""
    digest = hashlib.sha256()
    for case in cases:
        digest.update(f"{case.id}\0{case.label}\0{case.patient}\0".encode())
        for path in dict.fromkeys((case.image, case.mask)):
            digest.update(hashlib.sha256(path.read_bytes() if path else b"").digest())
    return digest.hexdigest()
