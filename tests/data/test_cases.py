"""Data sets on disk to cases, in every layout, and what is said to those that cannot be used."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from brainseg.data.cases import fingerprint, read_cases
from brainseg.data.layouts import read_folder, read_kaggle_mri, write_labels
from brainseg.errors import InputError
from brainseg.files import read_csv, write_csv

COLUMNS = ["id", "class", "patient"]


def write_mat(path: Path, label: int, patient: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["cjdata/label"] = np.array([[float(label)]])
        file["cjdata/PID"] = np.array([[ord(letter)] for letter in patient], np.uint16)
        file["cjdata/image"] = np.full((6, 5), label, np.int16)
        file["cjdata/tumorMask"] = np.ones((6, 5), np.uint8)


@pytest.fixture
def negatives(tmp_path: Path, save) -> Path:
    root = tmp_path / "kaggle"
    for part in ("Training", "Testing"):
        for label in ("notumor", "glioma"):
            save(root / part / label / "x_0001.jpg", np.full((9, 9), 50, np.uint8))
    return root


def test_folder_with_patients_from_the_file_names(folder: Path):
    cases = read_folder(folder, patient_pattern="(.+)_[0-9]+")
    assert [case.id for case in cases] == [f"p{n // 2}_{n}" for n in range(6)]
    assert [case.patient for case in cases] == ["p0", "p0", "p1", "p1", "p2", "p2"]
    assert {case.label for case in cases} == {None}
    assert all(case.image.name == case.mask.name for case in cases)


def test_labels_win_over_the_pattern(folder: Path):
    rows = [{"id": f"p{n // 2}_{n}", "class": "glioma", "patient": "one"} for n in range(6)]
    write_csv(folder / "labels.csv", rows, COLUMNS)
    cases = read_folder(folder, patient_pattern="(.+)_[0-9]+")
    assert {(case.label, case.patient) for case in cases} == {("glioma", "one")}


def test_figshare_numbers_are_in_numeric_order(tmp_path: Path, save):
    for number in (1, 2, 10):
        for part in ("images", "masks"):
            save(tmp_path / part / f"{number}.png", np.zeros((4, 4), np.uint8))
    assert [case.id for case in read_cases("figshare", tmp_path)] == ["1", "2", "10"]


def test_matlab_files_carry_class_and_patient(tmp_path: Path):
    write_mat(tmp_path / "part1" / "2.mat", 2, "MR040204C")
    write_mat(tmp_path / "part1" / "1.mat", 1, "100360")
    write_mat(tmp_path / "part2" / "3.mat", 3, "MR040204D")
    (tmp_path / "cvind.mat").touch()
    cases = read_cases("figshare", tmp_path)
    assert [(case.id, case.label, case.patient) for case in cases] == [
        ("1", "meningioma", "100360"),
        ("2", "glioma", "MR040204"),
        ("3", "pituitary", "MR040204"),
    ]


def test_labels_from_matlab_files_join_the_png_copy(tmp_path: Path, save):
    for number in (1, 2):
        write_mat(tmp_path / "mat" / f"{number}.mat", number, f"{number}00")
        for part in ("images", "masks"):
            save(tmp_path / "png" / part / f"{number}.png", np.zeros((4, 4), np.uint8))
    assert write_labels(tmp_path / "png", tmp_path / "mat") == 2
    assert read_csv(tmp_path / "png" / "labels.csv")[1] == {
        "id": "2",
        "class": "glioma",
        "patient": "200",
    }
    assert [case.patient for case in read_cases("figshare", tmp_path / "png")] == ["100", "200"]


def test_labels_need_matlab_files(tmp_path: Path):
    with pytest.raises(InputError, match=r"No N\.mat below"):
        write_labels(tmp_path, tmp_path)


def test_class_folders_rely_on_folders_and_tell_equal_names_apart(negatives: Path):
    cases = read_kaggle_mri(negatives)
    assert [case.id for case in cases] == [
        "Testing-glioma-x_0001",
        "Testing-notumor-x_0001",
        "Training-glioma-x_0001",
        "Training-notumor-x_0001",
    ]
    assert {case.mask for case in cases} == {None}


def test_only_slices_without_tumour_join(folder: Path, negatives: Path):
    cases = read_cases("folder", folder, negatives)
    assert [case.label for case in cases] == [None] * 6 + ["notumor"] * 2


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda root: (root / "masks" / "p0_1.png").unlink(), "1 of 6 images .* p0_1.png"),
        (lambda root: (root / "masks").rename(root / "labels"), "has no images/ and masks/"),
        (
            lambda root: (root / "images" / "p0_0.jpg").write_bytes(
                (root / "images" / "p0_0.png").read_bytes()
            ),
            "same stem",
        ),
        (
            lambda root: write_csv(
                root / "labels.csv", [{"id": "p0_0", "class": "glioma", "patient": "1"}], COLUMNS
            ),
            "lacks 5 images, such as p0_1",
        ),
        (
            lambda root: (root / "labels.csv").write_text("name,class\np0_0,glioma\n"),
            "expected id,class,patient",
        ),
        (
            lambda root: write_csv(
                root / "labels.csv",
                [{"id": f"p{n // 2}_{n}", "class": "gliom", "patient": "1"} for n in range(6)],
                COLUMNS,
            ),
            "the class gliom; expected glioma",
        ),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(folder: Path, break_it, message: str):
    break_it(folder)
    with pytest.raises(InputError, match=message):
        read_cases("folder", folder)


def test_a_root_one_level_too_high_is_noticed(folder: Path):
    with pytest.raises(InputError, match=f"Did you mean {folder}"):
        read_cases("figshare", folder.parent)


def test_missing_and_empty_roots(tmp_path: Path, folder: Path):
    with pytest.raises(InputError, match="does not exist"):
        read_cases("figshare", tmp_path / "gone")
    for part in ("images", "masks"):
        (tmp_path / "empty" / part).mkdir(parents=True)
    with pytest.raises(InputError, match="is empty"):
        read_cases("folder", tmp_path / "empty", folder)
    with pytest.raises(InputError, match=r"data\.negatives=.* does not exist"):
        read_cases("folder", folder, tmp_path / "gone")
    with pytest.raises(InputError, match="No images in class folders"):
        read_cases("folder", folder, tmp_path / "empty")


def test_class_folders_cannot_be_trained_on(negatives: Path):
    with pytest.raises(InputError, match=r"has no tumour masks.*data\.negatives="):
        read_cases("kaggle_mri", negatives)


def test_a_pattern_that_finds_no_patient_is_refused(folder: Path):
    with pytest.raises(InputError, match="finds no patient in the file name"):
        read_folder(folder, patient_pattern="patient([0-9]+)")


def test_fingerprint_follows_content_and_not_place(folder: Path):
    before = fingerprint(read_folder(folder))
    moved = folder.rename(folder.parent / "moved")
    assert fingerprint(read_folder(moved)) == before
    assert fingerprint(read_folder(moved, "(.+)_[0-9]+")) != before
    first, second = sorted((moved / "masks").iterdir())[:2]
    first.write_bytes(second.read_bytes())
    assert fingerprint(read_folder(moved)) != before
