"""Data sets on disk to cases, in every layout, and what is said to those that cannot be used."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from brainseg.data.cache import load_slices
from brainseg.data.case import Case, Problem
from brainseg.data.cases import class_of, detect_layout, fingerprint, read_cases, read_set
from brainseg.data.layouts.figshare import write_labels
from brainseg.data.layouts.folder import read_folder, read_kaggle_mri
from brainseg.data.mask import parse_labels
from brainseg.errors import InputError
from brainseg.files import read_csv, write_csv

COLUMNS = ["id", "class", "patient"]


def read_root(layout: str, root: Path) -> list[Case]:
    return read_cases(layout, root, cache=root.parent / "cache")["root"]


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


def test_blanks_around_names_do_not_make_two_patients(folder: Path):
    lines = [f"p{n // 2}_{n},glioma,{'one ' if n % 2 else 'one'}" for n in range(6)]
    (folder / "labels.csv").write_text("\n".join(["id,class,patient", *lines]))
    (folder / "images" / "._p0_0.png").touch()  # macOS leaves such files on other disks
    assert {case.patient for case in read_folder(folder)} == {"one"}


def test_figshare_numbers_are_in_numeric_order(tmp_path: Path, save):
    for number in (1, 2, 10):
        for part in ("images", "masks"):
            save(tmp_path / part / f"{number}.png", np.zeros((4, 4), np.uint8))
    assert [case.id for case in read_root("figshare", tmp_path)] == ["1", "2", "10"]


def test_matlab_files_carry_class_and_patient(tmp_path: Path):
    write_mat(tmp_path / "part1" / "2.mat", 2, "MR040204C")
    write_mat(tmp_path / "part1" / "1.mat", 1, "100360")
    write_mat(tmp_path / "part2" / "3.mat", 3, "MR040204D")
    savemat(tmp_path / "cvind.mat", {"cvind": np.array([[1.0], [2.0], [3.0]])})
    cases = read_root("figshare", tmp_path)
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
    assert [case.patient for case in read_root("figshare", tmp_path / "png")] == ["100", "200"]


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


def test_only_slices_without_tumour_join(folder: Path, negatives: Path, tmp_path: Path):
    sets = read_cases("folder", folder, cache=tmp_path / "cache", negatives=negatives)
    assert [case.label for case in sets["root"]] == [None] * 6
    assert [case.label for case in sets["negatives"]] == ["notumor"] * 2


def test_slices_with_empty_masks_join_as_negatives(folder: Path, tmp_path: Path, save):
    other = tmp_path / "other"
    for name, value in (("p0_0", 0), ("p9_0", 255)):
        save(other / "images" / f"{name}.png", np.full((8, 8), 90, np.uint8))
        save(other / "masks" / f"{name}.png", np.full((8, 8), value, np.uint8))
    sets = read_cases("folder", folder, cache=tmp_path / "cache", negatives=other)
    assert [case.id for case in sets["negatives"]] == ["negatives-p0_0"]  # p0_0 is taken
    shutil.rmtree(other / "masks")
    (other / "masks").mkdir()
    save(other / "masks" / "p0_0.png", np.full((8, 8), 255, np.uint8))
    (other / "images" / "p9_0.png").unlink()
    with pytest.raises(InputError, match="no images without tumour"):
        read_cases("folder", folder, cache=tmp_path / "cache", negatives=other)


def test_another_data_set_is_the_test_split(folder: Path, negatives: Path, tmp_path: Path):
    sets = read_cases("folder", folder, cache=tmp_path / "cache", test=negatives)
    assert [(case.label, case.unmasked) for case in sets["test"]] == [
        ("glioma", True),
        ("notumor", False),
        ("glioma", True),
        ("notumor", False),
    ]


def test_a_layout_one_level_too_high_is_noticed(folder: Path):
    with pytest.raises(InputError, match=f"Did you mean {folder}"):
        detect_layout(folder.parent)


def test_several_data_sets_in_one_folder_are_told(folder: Path, negatives: Path):
    assert folder.parent == negatives.parent
    with pytest.raises(InputError, match=rf"several data sets\. Give one, such as {folder}"):
        detect_layout(folder.parent)


def test_layouts_are_told_from_what_lies_there(folder: Path, negatives: Path, tmp_path: Path):
    assert detect_layout(folder) == "folder"
    assert detect_layout(negatives) == "kaggle_mri"
    write_mat(tmp_path / "mat" / "1.mat", 1, "1")
    assert detect_layout(tmp_path / "mat") == "figshare"
    with pytest.raises(InputError, match="does not exist"):
        detect_layout(tmp_path / "gone")


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_figshares_own_folds_are_read(tmp_path: Path, version: str):
    for number in (1, 2, 3):
        write_mat(tmp_path / f"{number}.mat", number, f"{number}00")
    folds = np.array([[2.0], [1.0], [2.0]])
    if version == "5":
        savemat(tmp_path / "cvind.mat", {"cvind": folds})
    else:
        with h5py.File(tmp_path / "cvind.mat", "w") as file:
            file["cvind"] = folds.T
    assert [case.fold for case in read_root("figshare", tmp_path)] == [1, 0, 1]
    (tmp_path / "cvind.mat").write_bytes(b"something else")
    with pytest.raises(InputError, match=r"cvind\.mat cannot be read"):
        read_root("figshare", tmp_path)


def test_matlab_file_without_a_class_is_named(tmp_path: Path):
    write_mat(tmp_path / "1.mat", 7, "100")
    with pytest.raises(InputError, match=r"1\.mat has no valid class or patient"):
        read_root("figshare", tmp_path)


def test_reading_goes_on_where_problems_are_noted(folder: Path):
    (folder / "masks" / "p0_1.png").unlink()
    noted: list[Problem] = []
    cases = read_folder(folder, on_problem=noted.append)
    assert len(cases) == 6
    assert [case.id for case in cases if case.unmasked] == ["p0_1"]
    assert [(problem.kind, problem.path) for problem in noted] == [
        ("mask", str(folder / "images" / "p0_1.png"))
    ]


def test_the_plane_comes_from_the_labels_and_other_columns_are_ignored(folder: Path):
    rows = [{"id": f"p{n // 2}_{n}", "plane": "axial", "row_mm": 0.5} for n in range(6)]
    write_csv(folder / "labels.csv", rows, [*COLUMNS, "plane", "row_mm"])
    assert {(case.plane, case.label) for case in read_folder(folder)} == {("axial", None)}


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda root: (root / "masks" / "p0_1.png").unlink(), "1 of 6 images .* p0_1.png"),
        (lambda root: (root / "masks").rename(root / "drawn"), "has no images/ and masks/"),
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
        (
            lambda root: write_csv(
                root / "labels.csv",
                [{"id": f"p{n // 2}_{n}", "class": "glioma"} for n in (*range(6), 3)],
                COLUMNS,
            ),
            "repeats ids, such as p1_3",
        ),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(folder: Path, break_it, message: str):
    break_it(folder)
    with pytest.raises(InputError, match=message):
        read_root("folder", folder)


def test_a_root_one_level_too_high_is_noticed(folder: Path):
    with pytest.raises(InputError, match=f"Did you mean {folder}"):
        read_root("figshare", folder.parent)


def test_missing_and_empty_roots(tmp_path: Path, folder: Path):
    cache = tmp_path / "cache"
    with pytest.raises(InputError, match="does not exist"):
        read_root("figshare", tmp_path / "gone")
    for part in ("images", "masks"):
        (tmp_path / "empty" / part).mkdir(parents=True)
    with pytest.raises(InputError, match="is empty"):
        read_root("folder", tmp_path / "empty")
    for name in ("negatives", "test"):
        with pytest.raises(InputError, match=rf"data\.{name}=.* does not exist"):
            read_cases("folder", folder, cache=cache, **{name: tmp_path / "gone"})
        with pytest.raises(InputError, match=rf"data\.{name}=.* holds no images"):
            read_cases("folder", folder, cache=cache, **{name: tmp_path / "empty"})


def test_class_folders_cannot_be_trained_on(negatives: Path):
    with pytest.raises(InputError, match=r"has no tumour masks.*data\.negatives="):
        read_root("kaggle_mri", negatives)


def test_a_pattern_that_finds_no_patient_is_refused(folder: Path):
    with pytest.raises(InputError, match="finds no patient in the name"):
        read_folder(folder, patient_pattern="patient([0-9]+)")


def test_fingerprint_follows_content_and_not_place(folder: Path):
    before = fingerprint(read_folder(folder))
    moved = folder.rename(folder.parent / "moved")
    assert fingerprint(read_folder(moved)) == before
    assert fingerprint(read_folder(moved, "(.+)_[0-9]+")) != before
    first, second = sorted((moved / "masks").iterdir())[:2]
    first.write_bytes(second.read_bytes())
    assert fingerprint(read_folder(moved)) != before


def test_a_mask_without_its_image_is_fatal(folder: Path):
    (folder / "images" / "p0_1.png").unlink()
    with pytest.raises(InputError, match=r"1 of 6 masks in .* have no image, such as p0_1\.png"):
        read_folder(folder)


def test_pictures_in_folders_are_paired_and_named_by_them(folder: Path):
    for part in ("images", "masks"):
        (folder / part / "siteB").mkdir()
        (folder / part / "p0_1.png").rename(folder / part / "siteB" / "p0_0.PNG")
    noted: list[Problem] = []
    cases = read_folder(folder, "(.+)_[0-9]+", noted.append)
    assert [(case.id, case.patient) for case in cases[-1:]] == [("siteB-p0_0", "p0")]
    assert cases[-1].mask == folder / "masks" / "siteB" / "p0_0.PNG"
    assert {problem.fatal for problem in noted} == {False}
    assert "siteB-p0_0" in noted[0].message


def test_what_is_no_picture_is_named(folder: Path):
    for name in ("notes.txt", "Thumbs.db", ".DS_Store"):
        (folder / "images" / name).write_text("")
    noted: list[Problem] = []
    assert len(read_folder(folder, on_problem=noted.append)) == 6
    assert [(problem.fatal, "notes.txt" in problem.message) for problem in noted] == [(False, True)]


def test_folders_in_capitals_are_found(folder: Path):
    (folder / "images").rename(folder / "Images")
    (folder / "masks").rename(folder / "MASKS")
    assert detect_layout(folder) == "folder"
    assert len(read_folder(folder)) == 6


@pytest.mark.parametrize("part", ["images", "masks"])
def test_a_link_to_nowhere_is_named_once(folder: Path, part: str):
    (folder / part / "p0_1.png").unlink()
    (folder / part / "p0_1.png").symlink_to("../.git/annex/objects/x")
    noted: list[Problem] = []
    read_folder(folder, on_problem=noted.append)
    assert [problem.fatal for problem in noted] == [False, True]
    assert "p0_1.png" in noted[0].message


def test_class_folders_in_other_spellings(negatives: Path, save):
    (negatives / "Training" / "notumor").rename(negatives / "Training" / "No_Tumor")
    save(negatives / "Training" / "other" / "x.jpg", np.full((9, 9), 50, np.uint8))
    noted: list[Problem] = []
    cases = read_kaggle_mri(negatives, noted.append)
    assert [case.label for case in cases] == ["glioma", "notumor", "notumor", "glioma"]
    assert detect_layout(negatives) == "kaggle_mri"
    told = " ".join(problem.message for problem in noted)
    assert "No_Tumor is taken for the class notumor" in told
    assert "1 pictures in" in told
    assert not any(problem.fatal for problem in noted)


def test_labels_reach_every_reader_of_the_mask(folder: Path, tmp_path: Path, save):
    mask = np.zeros((40, 32), np.uint8)
    mask[10:14, 8:12], mask[14:18, 8:12] = 2, 4
    save(folder / "masks" / "p0_0.png", mask)
    cases = read_set("folder", folder, tmp_path / "cache", {"labels": "4,255"})
    assert {case.labels for case in cases} == {(4.0, 255.0)}
    assert fingerprint(cases) != fingerprint(read_folder(folder))
    assert class_of(cases[0]) == "tumor"
    slices = load_slices(cases, 32, tmp_path / "cache")
    other = read_set("folder", folder, tmp_path / "cache", {"labels": [2, 4, 255]})
    assert 0 < slices.masks[0].sum() < load_slices(other, 32, tmp_path / "cache").masks[0].sum()
    with pytest.raises(InputError, match=r"data\.labels=\[2,4\]"):
        class_of(read_folder(folder)[0])


@pytest.mark.parametrize("given", ["", "a", 0, -1, 1.5, "1,,2", [], True, float("nan"), {}])
def test_labels_that_are_none_are_refused(given: object):
    with pytest.raises(InputError, match="labels"):
        parse_labels(given)


def test_labels_in_any_form():
    assert [parse_labels(given) for given in (None, 2, "1,4", [1, 4])] == [
        None,
        (2.0,),
        (1.0, 4.0),
        (1.0, 4.0),
    ]


@pytest.mark.parametrize("layout", ["figshare", "kaggle_mri", "lgg"])
def test_links_to_nowhere_are_named_in_every_layout(tmp_path: Path, save, layout: str):
    root = tmp_path / "set"
    write_mat(root / "1.mat", 1, "100")
    save(root / "glioma" / "a.jpg", np.full((9, 9), 50, np.uint8))
    for name in ("TCGA_1.tif", "TCGA_1_mask.tif"):
        save(root / "TCGA" / name, np.eye(9, dtype=np.uint8) * 255)
    for name in ("2.mat", "glioma/b.jpg", "TCGA/TCGA_2_mask.tif"):
        (root / name).symlink_to("nowhere")
    noted: list[Problem] = []
    read_set(layout, root, tmp_path / "cache", on_problem=noted.append)
    assert any("3 × link that leads nowhere" in problem.message for problem in noted)


@pytest.mark.parametrize("ending", ["_mask", "_Segmentation", "-seg", " label"])
def test_masks_may_be_named_as_masks(folder: Path, ending: str):
    for path in sorted((folder / "masks").iterdir())[1:]:
        path.rename(path.with_stem(path.stem + ending))
    assert {case.id: case.mask is not None for case in read_folder(folder)} == {
        path.stem: True for path in (folder / "images").iterdir()
    }


def test_two_masks_of_one_image_are_not_taken_for_one(folder: Path, save):
    path = min((folder / "masks").iterdir())
    save(path.with_stem(path.stem + "_mask"), np.zeros((9, 9), np.uint8))
    with pytest.raises(InputError, match=r"1 of 7 masks in .* have no image, such as .*_mask.png"):
        read_folder(folder)


def test_masks_in_class_folders_are_no_images(negatives: Path, save):
    save(negatives / "Training" / "notumor" / "x_0001_mask.png", np.zeros((9, 9), np.uint8))
    noted: list[Problem] = []
    assert len(read_kaggle_mri(negatives, noted.append)) == 4
    assert [problem.fatal for problem in noted] == [False]
    assert "1 masks in" in noted[0].message


@pytest.mark.parametrize(("images", "masks"), [("images", "labels"), ("Image", "Mask")])
def test_folders_by_their_usual_names(folder: Path, images: str, masks: str):
    (folder / "images").rename(folder / images)
    (folder / "masks").rename(folder / masks)
    assert detect_layout(folder) == "folder"
    assert len(read_folder(folder)) == 6
