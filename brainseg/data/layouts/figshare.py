"""The original MATLAB v7.3 files of figshare 1512427, with class, patient, mask and folds."""

import re
from pathlib import Path

import h5py
import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from brainseg.data.case import Case, OnProblem, Problem, refuse
from brainseg.data.layouts.walk import find_files
from brainseg.data.matlab import is_mat, read_field
from brainseg.errors import InputError
from brainseg.files import check_file, write_csv

MAT_CLASSES = {1: "meningioma", 2: "glioma", 3: "pituitary"}
"""`cjdata.label` of figshare 1512427."""

BROKEN = (OSError, KeyError, ValueError, TypeError, IndexError, OverflowError, MatReadError)
"""What SciPy raises for damaged files."""


def find_mats(root: Path, on_problem: OnProblem | None = None) -> list[Path]:
    """Figshare's numbered files below `root`, in numerical order; see `find_files`."""
    mats = (path for path in find_files(root, on_problem) if is_mat(path))
    return sorted((p for p in mats if p.stem.isdecimal()), key=lambda path: int(path.stem))


def read_mats(
    root: Path, on_problem: OnProblem = refuse, labels: tuple[float, ...] | None = None
) -> list[Case]:
    """Read the cases from figshare's MATLAB files, anywhere below `root`.

    `labels` are the values of `cjdata.tumorMask` that are tumour, if it has several.
    """
    folds = read_folds(root, on_problem)
    mats = find_mats(root, on_problem)
    others = [p for p in find_files(root) if is_mat(p) and p not in mats and not _has_folds(p)]
    if others:
        message = (
            f"{len(others)} MATLAB files in {root} are not read, such as {others[0].name}. "
            "Expected figshare's N.mat, named by a number."
        )
        on_problem(Problem("layout", str(root), message, fatal=False))
    cases = []
    for path in mats:
        try:
            label, patient = read_mat_labels(path)
        except InputError as error:
            on_problem(Problem("image", str(path), str(error)))
            continue
        fold = folds.get(int(path.stem))
        cases.append(Case(path.stem, label, patient, path, path, fold=fold, labels=labels))
    return cases


def read_mat_labels(path: Path) -> tuple[str, str]:
    """Class and patient of one of figshare's MATLAB files.

    A trailing letter is not part of the patient: `MR040204C` and `MR040204D` are one.

    Raises:
        InputError: the file is unreadable, or lacks a class or patient.
    """
    kind, codes = read_field(path, "cjdata", "label"), read_field(path, "cjdata", "PID")
    try:
        label = MAT_CLASSES[kind.item()]
        published = "".join(map(_letter, codes.ravel().tolist())).strip()
        if not published.isprintable() or not published:
            raise ValueError(f"PID {published!r}")
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise InputError(
            f"{path} has no valid class or patient ({error}). Expected figshare 1512427's "
            "N.mat with cjdata.label 1 to 3 and cjdata.PID; download it again."
        ) from error
    return label, re.sub(r"(?<=\d)[A-Za-z]+$", "", published)


def read_folds(root: Path, on_problem: OnProblem = refuse) -> dict[int, int]:
    """The authors' folds (from 0) by slice number, from `cvind.mat` below `root`, if it exists.

    A file that holds something else is a problem.
    """
    found = [path for path in find_files(root) if _has_folds(path)]
    if not found:
        return {}
    try:
        check_file(found[0])
        if h5py.is_hdf5(found[0]):
            numbers = read_field(found[0], "cvind")
        else:
            numbers = loadmat(found[0], variable_names=["cvind"])["cvind"]
        folds = np.asarray(numbers, dtype=np.float64).ravel()
        if not (np.isfinite(folds) & (folds >= 1) & (folds == np.rint(folds))).all():
            raise ValueError("folds are whole numbers from 1")
    except (*BROKEN, InputError) as error:
        message = (
            f"{found[0]} cannot be read ({error}). Expected figshare's list `cvind`, a fold per "
            "slice; download it again, or remove it."
        )
        on_problem(Problem("layout", str(found[0]), message))
        return {}
    return dict(enumerate((folds.astype(int) - 1).tolist(), start=1))


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


def _has_folds(path: Path) -> bool:
    return path.name.lower() == "cvind.mat"


def _letter(code: float | str) -> str:
    return code if isinstance(code, str) else chr(int(code))
