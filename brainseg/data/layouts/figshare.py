"""The original MATLAB v7.3 files of figshare 1512427, with class, patient, mask and folds."""

import re
from pathlib import Path

import h5py
import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from brainseg.data.case import Case, OnProblem, Problem, refuse
from brainseg.data.image import open_mat
from brainseg.data.layouts.walk import find_files
from brainseg.errors import InputError
from brainseg.files import write_csv

MAT_CLASSES = {1: "meningioma", 2: "glioma", 3: "pituitary"}
"""`cjdata.label` of figshare 1512427."""


def find_mats(root: Path) -> list[Path]:
    """Figshare's numbered files below `root`, in numerical order."""
    mats = (path for path in find_files(root) if path.suffix == ".mat")
    return sorted((p for p in mats if p.stem.isdecimal()), key=lambda path: int(path.stem))


def read_mats(root: Path, on_problem: OnProblem = refuse) -> list[Case]:
    """Read the cases from figshare's MATLAB files, anywhere below `root`."""
    folds = read_folds(root)
    cases = []
    for path in find_mats(root):
        try:
            label, patient = read_mat_labels(path)
        except InputError as error:
            on_problem(Problem("image", str(path), str(error)))
            continue
        fold = folds.get(int(path.stem))
        cases.append(Case(path.stem, label, patient, image=path, mask=path, fold=fold))
    return cases


def read_mat_labels(path: Path) -> tuple[str, str]:
    """Class and patient of one of figshare's MATLAB files.

    A trailing letter is not part of the patient: `MR040204C` and `MR040204D` are one.

    Raises:
        InputError: the file is unreadable, or lacks a class or patient.
    """
    with open_mat(path) as file:
        try:
            label = MAT_CLASSES[int(file["cjdata/label"][()].item())]
            codes = file["cjdata/PID"][()].ravel()
        except (KeyError, ValueError) as error:
            raise InputError(
                f"{path} has no valid class or patient ({error}). Expected figshare 1512427's "
                "N.mat with cjdata.label 1 to 3 and cjdata.PID; download it again."
            ) from error
    published = "".join(chr(int(code)) for code in codes)
    return label, re.sub(r"(?<=\d)[A-Za-z]+$", "", published)


def read_folds(root: Path) -> dict[int, int]:
    """The authors' folds (from 0) by slice number, from `cvind.mat` below `root`, if it exists.

    Raises:
        InputError: the file holds something else.
    """
    found = [path for path in find_files(root) if path.name == "cvind.mat"]
    if not found:
        return {}
    try:
        if h5py.is_hdf5(found[0]):
            with h5py.File(found[0]) as file:
                numbers = file["cvind"][()]
        else:
            numbers = loadmat(found[0])["cvind"]
    except (OSError, KeyError, ValueError, MatReadError) as error:
        raise InputError(
            f"{found[0]} cannot be read ({error}). Expected figshare's list `cvind`, a fold per "
            "slice; download it again, or remove it."
        ) from error
    folds = np.asarray(numbers).ravel().astype(int) - 1
    return dict(enumerate(folds.tolist(), start=1))


def write_labels(root: Path, mats: Path) -> int:
    """Write `root/labels.csv` from the MATLAB files below `mats`; returns the number of cases.

    Raises:
        InputError: there are no MATLAB files.
    """
    cases = read_mats(mats)
    if not cases:
        raise InputError(
            f"No N.mat below {mats}. Expected figshare 1512427's files; unpack its archives there."
        )
    rows = [{"id": case.id, "class": case.label, "patient": case.patient} for case in cases]
    write_csv(root / "labels.csv", rows, ["id", "class", "patient"])
    return len(rows)
