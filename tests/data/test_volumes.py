"""NIfTI and LGG data sets become slices with patient, plane and mask."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from brainseg.data.case import Case, Problem
from brainseg.data.cases import detect_layout, read_cases, read_set
from brainseg.data.image import decode_case
from brainseg.data.layouts.slices import write_slices
from brainseg.errors import InputError
from brainseg.files import read_csv

SHAPE = (20, 24, 16)  # right, front, top


def head(seed: int = 0) -> np.ndarray:
    """A bright block with noise whose brightness grows to the right, the front and the top."""
    x, y, z = np.indices(SHAPE)
    values = np.zeros(SHAPE, np.float32)
    inner = (slice(2, 18), slice(2, 22), slice(2, 14))
    values[inner] = (100 + 20 * x + 5 * y + z)[inner]
    return values + np.random.default_rng(seed).uniform(0, 1, SHAPE).astype(np.float32)


def tumor() -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[4:8, 15:20, 6:9] = 1
    return mask


def write_nifti(path: Path, values: np.ndarray, *, flipped: bool = False) -> None:
    """Write with voxels of 1×2×3 mm; `flipped` stores it with the first axis to the left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([-1.0 if flipped else 1.0, 2.0, 3.0, 1.0])
    nib.save(nib.Nifti1Image(values[::-1] if flipped else values, affine), path)


@pytest.fixture
def brats(tmp_path: Path) -> Path:
    """Two patients with a folder each, several sequences, and labels; one stored mirrored."""
    root = tmp_path / "brats"
    for number, patient in enumerate(("P1", "P2")):
        folder = root / patient
        for name in ("t1", "t1ce", "flair"):
            values = head(number) if name == "t1ce" else head(9) * 0
            write_nifti(folder / f"{patient}_{name}.nii.gz", values, flipped=number == 1)
        write_nifti(folder / f"{patient}_seg.nii.gz", tumor(), flipped=number == 1)
    return root


def decode(case: Case) -> tuple[np.ndarray, np.ndarray]:
    decoded, mask = decode_case(case.image, case.mask)
    return decoded.pixels, mask


def test_nifti_slices_look_as_radiologists_look_at_them(brats: Path, tmp_path: Path):
    cases = read_set("nifti", brats, tmp_path / "cache", {"tumor": "glioma"})
    assert detect_layout(brats) == "nifti"
    by_id = {case.id: case for case in cases}
    assert sorted({case.patient for case in cases}) == ["P1", "P2"]
    case = by_id["P1-axial-007"]
    assert (case.label, case.plane) == ("glioma", "axial")
    assert case.source == f"{brats}/P1/P1_t1ce.nii.gz axial 7"
    pixels, mask = decode(case)
    # columns run to the patient's left, rows to the back
    expected = tumor()[::-1, ::-1, 7].T > 0
    np.testing.assert_array_equal(mask, expected)
    assert pixels[10, 4] > pixels[10, 14]  # brighter to the right, which stands at the left
    assert pixels[4, 10] > pixels[18, 10]  # brighter to the front, which stands at the top
    # however the file is stored
    np.testing.assert_array_equal(decode(by_id["P2-axial-007"])[1], expected)


def test_slices_without_tumour_belong_to_the_same_patients(brats: Path, tmp_path: Path):
    cases = read_set("nifti", brats, tmp_path / "cache", {"tumor": "glioma"})
    axial = [case for case in cases if case.patient == "P1"]
    assert [case.label for case in axial] == [
        "glioma" if 6 <= index < 9 else "notumor" for index in range(2, 14)
    ]  # slices without a head are left out
    assert all(not decode(case)[1].any() for case in axial if case.label == "notumor")


def test_planes_and_steps_are_options(brats: Path, tmp_path: Path):
    options = {"planes": "coronal,sagittal", "every": 2}
    cases = read_set("nifti", brats, tmp_path / "cache", options)
    assert {(case.plane, decode(case)[0].shape) for case in cases} == {
        ("coronal", (16, 20)),
        ("sagittal", (16, 24)),
    }
    numbers = {int(case.id[-3:]) for case in cases if case.plane == "coronal"}
    assert numbers == set(range(3, 22, 2))
    with pytest.raises(InputError, match=r"Unknown plane axiall.*Did you mean axial"):
        read_set("nifti", brats, tmp_path / "cache", {"planes": "axiall"})


def test_decathlon_layout_with_four_dimensions(tmp_path: Path):
    root = tmp_path / "Task01"
    both = np.stack([head() * 0, head()], axis=-1)
    write_nifti(root / "imagesTr" / "B_1.nii.gz", both)
    write_nifti(root / "labelsTr" / "B_1.nii.gz", tumor())
    with pytest.raises(InputError, match=r"holds 2 sequences.*channel=0 to 1; found None"):
        read_set("nifti", root, tmp_path / "cache")
    cases = read_set("nifti", root, tmp_path / "cache", {"channel": 1})
    assert {case.patient for case in cases} == {"B_1"}
    assert len(cases) == 12


def test_nnunet_names_end_with_the_sequence(tmp_path: Path):
    for number in (0, 1):
        values = head() if number else head() * 0
        write_nifti(tmp_path / "imagesTr" / f"case7_000{number}.nii.gz", values)
    write_nifti(tmp_path / "labelsTr" / "case7.nii.gz", tumor())
    cases = read_set("nifti", tmp_path, tmp_path / "cache", {"image": "_0001"})
    assert {case.patient for case in cases} == {"case7"}
    assert len(cases) == 12


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda root: (root / "P1" / "P1_t1ce.nii.gz").write_bytes(b"x"), "cannot be read as"),
        (
            lambda root: write_nifti(root / "P1" / "P1_seg.nii.gz", tumor()[:-1]),
            "Expected two volumes of the same three dimensions",
        ),
        (
            lambda root: write_nifti(root / "P1" / "P1_t1ce.nii.gz", head() - 150),
            "is negative in .* Was it normalised",
        ),
        (
            lambda root: nib.save(
                nib.Nifti1Image(tumor(), np.eye(4)), root / "P1" / "P1_seg.nii.gz"
            ),
            "differ in position",
        ),
        (
            lambda root: nib.save(
                nib.Nifti1Image(head()[0], np.eye(4)), root / "P1" / "P1_t1ce.nii.gz"
            ),
            "P1_t1ce",
        ),
    ],
)
def test_a_volume_that_cannot_be_used_is_named_or_noted(
    brats: Path, tmp_path: Path, break_it: Callable[[Path], None], message: str
):
    break_it(brats)
    with pytest.raises(InputError, match=message):
        read_set("nifti", brats, tmp_path / "cache")
    noted: list[Problem] = []
    cases = read_set("nifti", brats, tmp_path / "cache", on_problem=noted.append)
    assert {case.patient for case in cases} == {"P2"}
    assert [problem.kind for problem in noted] == ["image"]
    assert "P1" in noted[0].message
    with pytest.raises(InputError, match=message):  # what was noted is not forgotten
        read_set("nifti", brats, tmp_path / "cache")


def test_volumes_without_labels_are_refused(tmp_path: Path):
    write_nifti(tmp_path / "P1" / "t1c.nii.gz", head())
    with pytest.raises(InputError, match="No pair of an image and a label volume"):
        read_set("nifti", tmp_path, tmp_path / "cache")


def test_slices_are_cut_once_and_again_when_a_file_changes(brats: Path, tmp_path: Path):
    cache = tmp_path / "cache"
    first = read_set("nifti", brats, cache)
    (made,) = cache.iterdir()
    stamp = made.stat().st_mtime_ns
    assert read_set("nifti", brats, cache) == first
    assert made.stat().st_mtime_ns == stamp
    write_nifti(brats / "P1" / "P1_seg.nii.gz", tumor() * 0)
    again = read_set("nifti", brats, cache)
    assert sum(case.label == "notumor" for case in again) > sum(
        case.label == "notumor" for case in first
    )


def test_converted_slices_are_a_folder_data_set(brats: Path, tmp_path: Path):
    out = tmp_path / "out"
    count = write_slices("nifti", brats, out, {"tumor": "glioma"})
    assert count == len(read_csv(out / "labels.csv")) == 24
    assert detect_layout(out) == "folder"
    cases = read_set("folder", out, tmp_path)
    assert {case.plane for case in cases} == {"axial"}
    with pytest.raises(InputError, match="exists already"):
        write_slices("nifti", brats, out)


@pytest.mark.parametrize(
    ("layout", "options", "message"),
    [
        ("nifti", {"plane": "axial"}, "Unknown nifti option plane. Choose from: image, label"),
        ("lgg", {"every": 2}, "Unknown lgg option every. Choose from: channel, tumor, labels"),
        (
            "folder",
            {"every": 2},
            "Unknown folder option every. Choose from: labels, patient",
        ),
        (
            "nifti",
            {"tumor": "gliom"},
            "Unknown tumor gliom. Choose from: glioma, meningioma",
        ),
        ("nifti", {"image": "("}, "is not a regular expression"),
        ("nifti", {"every": 0}, "every=1 or more"),
        ("nifti", {"channel": 1}, "holds one sequence. Remove channel=1"),
        ("nifti", {"patient_pattern": "("}, "is not a regular expression"),
    ],
)
def test_options_that_cannot_be_used_are_named(
    brats: Path, tmp_path: Path, layout: str, options: dict, message: str
):
    with pytest.raises(InputError, match=re.escape(message)):
        read_set(layout, brats, tmp_path / "cache", options)


def test_planes_may_be_a_list(brats: Path, tmp_path: Path):
    cases = read_set("nifti", brats, tmp_path / "cache", {"planes": ["axial", "coronal"]})
    assert {case.plane for case in cases} == {"axial", "coronal"}


def test_examinations_of_one_patient_are_told_by_a_pattern(tmp_path: Path):
    for visit in ("BraTS-GLI-00001-000", "BraTS-GLI-00001-001", "BraTS-GLI-00002-000"):
        write_nifti(tmp_path / "b" / visit / f"{visit}-t1c.nii.gz", head())
        write_nifti(tmp_path / "b" / visit / f"{visit}-seg.nii.gz", tumor())
    options = {"patient_pattern": r"(BraTS-GLI-\d+)"}
    cases = read_set("nifti", tmp_path / "b", tmp_path / "cache", options)
    assert {case.patient for case in cases} == {"BraTS-GLI-00001", "BraTS-GLI-00002"}
    assert len({case.id for case in cases}) == len(cases) == 36


def test_bids_folders_of_the_same_name_are_told_apart(tmp_path: Path):
    for subject in ("sub-01", "sub-02"):
        for session in ("ses-1", "ses-2"):
            folder = tmp_path / "bids" / subject / session / "anat"
            write_nifti(folder / "t1c.nii.gz", head())
            write_nifti(folder / "seg.nii.gz", tumor())
    cases = read_set("nifti", tmp_path / "bids", tmp_path / "cache")
    assert len({case.id for case in cases}) == len(cases) == 4 * 12
    assert {case.patient for case in cases} == {"sub-01", "sub-02"}


def test_what_has_no_counterpart_is_left_out_and_told(brats: Path, tmp_path: Path, caplog):
    (brats / "P2" / "P2_seg.nii.gz").unlink()
    cases = read_set("nifti", brats, tmp_path / "cache")  # training goes on without it
    assert {case.patient for case in cases} == {"P1"}
    assert "P2 is left out: it holds 1 images and 0 label volumes" in caplog.text
    noted: list[Problem] = []
    read_set("nifti", brats, tmp_path / "cache", on_problem=noted.append)
    assert [problem.kind for problem in noted] == ["layout"]


def test_what_was_left_out_is_told_each_time(brats: Path, tmp_path: Path, caplog):
    (brats / "P2" / "P2_seg.nii.gz").unlink()
    for _ in range(2):
        caplog.clear()
        read_set("nifti", brats, tmp_path / "cache")
        assert "P2 is left out" in caplog.text


def test_a_pattern_answers_what_names_do_not_tell(tmp_path: Path, caplog):
    for visit in ("P1_1", "P1_2"):
        write_nifti(tmp_path / "b" / visit / "t1c.nii.gz", head())
        write_nifti(tmp_path / "b" / visit / "seg.nii.gz", tumor())
    cases = read_set("nifti", tmp_path / "b", tmp_path / "cache")
    assert {case.patient for case in cases} == {"P1_1", "P1_2"}
    assert "may be examinations of one patient" in caplog.text
    caplog.clear()
    cases = read_set("nifti", tmp_path / "b", tmp_path / "cache", {"patient_pattern": "(P1)_"})
    assert {case.patient for case in cases} == {"P1"}
    assert "may be" not in caplog.text


def test_labels_that_no_volume_holds_are_refused(brats: Path, tmp_path: Path):
    with pytest.raises(InputError, match=r"No mask of .* holds a value of labels=3,12\."):
        read_set("nifti", brats, tmp_path / "cache", {"labels": [3, 12]})
    assert not [path for path in (tmp_path / "cache").glob("*") if path.is_dir()]


def test_a_joined_set_that_needs_options_is_told_how(brats: Path, tmp_path: Path):
    labels = tumor() * 2
    labels[5] *= 2
    write_nifti(brats / "P1" / "P1_seg.nii.gz", labels)
    own = tmp_path / "own"
    write_slices("nifti", brats, own, {"labels": "2,4"})
    with pytest.raises(
        InputError, match=r"data.test=.*beside 0 it has 2,4[^$]*joins after `brainseg"
    ):
        read_cases("folder", own, cache=tmp_path / "cache", test=brats)


def test_a_pattern_may_find_the_patient_in_the_path(tmp_path: Path, caplog):
    for visit in ("P1/a", "P1/b"):
        write_nifti(tmp_path / "b" / visit / "t1c.nii.gz", head())
        write_nifti(tmp_path / "b" / visit / "seg.nii.gz", tumor())
    read_set("nifti", tmp_path / "b", tmp_path / "cache")
    assert "patient_pattern='([^/]+)/.*'" in caplog.text
    cases = read_set("nifti", tmp_path / "b", tmp_path / "cache", {"patient_pattern": "([^/]+)/.*"})
    assert {case.patient for case in cases} == {"P1"}
    with pytest.raises(InputError, match=r"no patient in the name 'a' or the path 'P1/a'"):
        read_set("nifti", tmp_path / "b", tmp_path / "cache", {"patient_pattern": "(X.*)"})


@pytest.mark.parametrize("name", ["P" * 200, "患" * 80, "[/bold]", "a b\nc", "=1+1"])
def test_names_of_any_kind_become_names_of_files(tmp_path: Path, name: str):
    write_nifti(tmp_path / "b" / name / "t1c.nii.gz", head())
    write_nifti(tmp_path / "b" / name / "seg.nii.gz", tumor())
    cases = read_set("nifti", tmp_path / "b", tmp_path / "cache")
    assert len({case.id for case in cases}) == 12
    assert all(case.image.is_file() and case.mask for case in cases)


@pytest.mark.parametrize("planes", ["coronal", "sagittal"])
def test_planes_across_few_layers_are_refused(tmp_path: Path, planes: str):
    write_nifti(tmp_path / "b" / "P" / "t1c.nii", head()[..., 5:9])
    write_nifti(tmp_path / "b" / "P" / "seg.nii", tumor()[..., 5:9])
    with pytest.raises(InputError, match=f"a {planes} slice would be .* choose other planes"):
        read_set("nifti", tmp_path / "b", tmp_path / "cache", {"planes": planes})


def test_equal_stamps_in_another_folder_are_another_data_set(tmp_path: Path):
    roots = [tmp_path / name / "set" for name in ("a", "b")]
    for number, root in enumerate(roots):
        write_nifti(root / "P" / "t1c.nii", head(number))
        write_nifti(root / "P" / "seg.nii", tumor())
        for path in root.rglob("*.nii"):
            os.utime(path, (0, 0))
    first, second = (read_set("nifti", root, tmp_path / "cache") for root in roots)
    assert (decode(first[5])[0] != decode(second[5])[0]).any()


def test_links_to_folders_are_followed_and_loops_are_not(brats: Path, tmp_path: Path):
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "set").symlink_to(brats)
    (brats / "P1" / "loop").symlink_to(linked)
    (brats / ".hidden.nii.gz").touch()
    assert detect_layout(linked) == "nifti"
    assert len(read_set("nifti", linked, tmp_path / "cache")) == 24


@pytest.fixture
def lgg(tmp_path: Path) -> Path:
    """Two slices of one patient, the second with a tumour; channels differ by far."""
    folder = tmp_path / "kaggle_3m" / "TCGA_CS_4941_19960909"
    folder.mkdir(parents=True)
    for number in (9, 10):
        image = np.stack([np.full((12, 10), value, np.uint8) for value in (30, 90, 200)], axis=-1)
        mask = np.zeros((12, 10), np.uint8)
        mask[2:5, 3:6] = 255 * (number == 10)
        Image.fromarray(image).save(folder / f"{folder.name}_{number}.tif")
        Image.fromarray(mask).save(folder / f"{folder.name}_{number}_mask.tif")
    return folder.parent


@pytest.mark.parametrize(
    ("channel", "value"), [("pre_contrast", 30), ("flair", 90), ("post_contrast", 200)]
)
def test_lgg_channel_is_one_of_three_sequences(lgg: Path, tmp_path: Path, channel: str, value: int):
    assert detect_layout(lgg) == "lgg"
    cases = read_set("lgg", lgg, tmp_path / "cache", {"channel": channel})
    assert [case.id[-2:] for case in cases] == ["_9", "10"]
    assert [case.label for case in cases] == ["notumor", "glioma"]
    assert {case.patient for case in cases} == {"TCGA_CS_4941"}
    pixels, mask = decode(cases[1])
    assert (pixels == value).all()
    assert mask.sum() == 9


def test_lgg_problems_are_named(lgg: Path, tmp_path: Path):
    with pytest.raises(InputError, match="pre_contrast, flair, post_contrast"):
        read_set("lgg", lgg, tmp_path / "cache", {"channel": "t2"})
    image = next(lgg.rglob("*_10.tif"))
    image.write_bytes(b"broken")
    noted: list[Problem] = []
    assert len(read_set("lgg", lgg, tmp_path / "cache", on_problem=noted.append)) == 1
    assert [(problem.kind, problem.path) for problem in noted] == [("image", str(image))]
    with pytest.raises(InputError, match=r"_10\.tif cannot be read as an image"):
        read_set("lgg", lgg, tmp_path / "cache")
    with pytest.raises(InputError, match="kaggle_3m"):
        read_set("lgg", tmp_path / "none", tmp_path / "cache")
