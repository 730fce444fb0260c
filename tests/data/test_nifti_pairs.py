"""Which image belongs to which label volume: all pairs are found, and all else is named."""

import re
from pathlib import Path

import pytest

from brainseg.data.case import Problem
from brainseg.data.layouts.nifti_pairs import pair_volumes
from brainseg.errors import InputError


def pair(root: Path, *names: str, image: str = r"t1_?-?(c|gd)", label: str = "seg|label|mask"):
    """Names of paired files, patients, and the problems of a data set of empty files."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    noted: list[Problem] = []
    patterns = (re.compile(pattern, re.IGNORECASE) for pattern in (image, label))
    pairs = pair_volumes(root, *patterns, noted.append)
    found = {
        each.name: tuple(str(path.relative_to(root)) for path in (each.image, each.label))
        for each in pairs
    }
    return found, [each.patient for each in pairs], noted


def test_each_folder_has_its_pair(tmp_path: Path):
    names = ("P1/P1_t1.nii", "P1/P1_t1ce.nii", "P1/P1_SEG.NII.GZ", "P2/T1C.nii.gz", "P2/seg.nii")
    found, patients, noted = pair(tmp_path, *names)
    assert found == {"P1": (names[1], names[2]), "P2": (names[3], names[4])}
    assert (patients, noted) == (["P1", "P2"], [])


def test_pairs_of_one_folder_share_the_rest_of_their_names(tmp_path: Path):
    names = ("p_1_t1ce.nii", "p_1_seg.nii", "p_2_t1ce.nii", "p_2_segmentation.nii", "p_3_t1ce.nii")
    found, _, noted = pair(tmp_path, *names)
    assert found == {"p-1": (names[0], names[1]), "p-2": (names[2], names[3])}
    assert [problem.fatal for problem in noted] == [False]
    assert "p_3_t1ce.nii: no label volume has the rest of the name" in noted[0].message


def test_timepoints_of_one_folder_are_one_patient(tmp_path: Path):
    names = [f"PAT01/ses-{k}_{kind}.nii" for k in (1, 2) for kind in ("t1c", "seg", "flair")]
    found, patients, noted = pair(tmp_path, *names)
    assert set(found) == {"ses-1", "ses-2"}
    assert (patients, noted) == (["PAT01", "PAT01"], [])


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["P1/t1c.nii", "P1/seg_a.nii", "P1/seg_b.nii"], ["seg_a.nii", "seg_b.nii", "t1c.nii"]),
        (["P1/flair.nii", "P1/seg.nii"], ["seg.nii", "'t1_?-?(c|gd)' matches none of: flair.nii"]),
        (["P1/a_t1c.nii", "P1/b_t1c.nii", "P1/seg.nii"], ["seg.nii", "a_t1c.nii, b_t1c.nii"]),
        (
            ["imagesTr/a.nii", "labelsTr/a.nii", "labelsTr/b.nii"],
            ["labelsTr/b.nii", "images of its name: none"],
        ),
        (
            ["imagesTr/a_0000.nii", "imagesTr/a_0001.nii", "labelsTr/a.nii"],
            ["labelsTr/a.nii", "a_0000.nii, a_0001.nii; matching 't1_?-?(c|gd)': 0"],
        ),
        (
            ["imagesTr/t1c.nii", "imagesTs/t1c.nii", "labelsTr/t1c.nii"],
            ["labelsTr/t1c.nii", "t1c.nii, t1c.nii; matching 't1_?-?(c|gd)': 2"],
        ),
    ],
)
def test_labels_without_their_image_are_refused(tmp_path: Path, names: list[str], told: list[str]):
    _, _, noted = pair(tmp_path, *names)
    (problem,) = [problem for problem in noted if problem.fatal]
    for words in (*told, "--option image=…"):
        assert words in problem.message
    patterns = (re.compile(pattern, re.IGNORECASE) for pattern in ("t1_?-?(c|gd)", "seg|label"))
    with pytest.raises(InputError, match="without their image"):
        pair_volumes(tmp_path, *patterns)


def test_options_choose_among_several(tmp_path: Path):
    names = ("P1/t1c.nii", "P1/flair.nii", "P1/seg_a.nii", "P1/seg_b.nii")
    found, _, noted = pair(tmp_path, *names, image="flair", label="seg_b")
    assert (found, noted) == ({"P1": ("P1/flair.nii", "P1/seg_b.nii")}, [])


def test_the_mask_of_a_brain_is_no_label_volume(tmp_path: Path):
    names = ("P1/t1c.nii", "P1/t1c_bet_mask.nii", "P1/seg.nii", "P2/t1c.nii", "P2/brainmask.nii")
    found, _, noted = pair(tmp_path, *names)
    assert found == {"P1": ("P1/t1c.nii", "P1/seg.nii")}
    assert "P2 is left out: it holds 1 images and 0 label volumes" in noted[0].message
    assert "brainmask.nii" in noted[0].message


def test_names_with_numbers_are_no_sequence_numbers(tmp_path: Path):
    names = [f"{folder}/case_{year}.nii" for year in (2018, 2019) for folder in ("images", "masks")]
    found, _, noted = pair(tmp_path, *names)
    assert (set(found), noted) == ({"case_2018", "case_2019"}, [])


def test_equal_names_of_two_sites_stay_apart(tmp_path: Path):
    names = [f"{site}/{kind}/1.nii" for site in ("A", "B") for kind in ("images", "Labels")]
    found, _, noted = pair(tmp_path, *names)
    pairs = [("A/images/1.nii", "A/Labels/1.nii"), ("B/images/1.nii", "B/Labels/1.nii")]
    assert (list(found.values()), noted) == (pairs, [])


def test_other_formats_and_links_to_nothing_are_named(tmp_path: Path):
    (tmp_path / "gone.nii").symlink_to("nowhere")
    _, _, noted = pair(tmp_path, "P1/t1c.nii", "P1/seg.nii", "P2/t1c.hdr", "P2/t1c.img")
    assert sorted(Path(problem.path).name for problem in noted) == ["gone.nii", "t1c.hdr"]
    assert "2 volumes are left out" in noted[1].message


def test_patients_that_names_do_not_tell_are_asked_for(tmp_path: Path):
    names = [f"P1_{k}/{kind}.nii" for k in (1, 2) for kind in ("t1c", "seg")]
    _, patients, noted = pair(tmp_path, *names)
    assert patients == ["P1_1", "P1_2"]
    assert [(problem.kind, problem.fatal) for problem in noted] == [("patient", False)]
    assert "P1_1 and P1_2 may be examinations of one patient" in noted[0].message
    assert "such as patient_pattern='(.+)[-_.][0-9]+'" in noted[0].message


def test_pairs_of_two_folders_share_the_rest_of_their_names(tmp_path: Path):
    names = [
        f"images_structural/UPENN-GBM-00001_{k}/UPENN-GBM-00001_{k}_{kind}.nii.gz"
        for k in (11, 21)
        for kind in ("FLAIR", "T1", "T1GD")
    ]
    masks = [f"images_segm/UPENN-GBM-00001_{k}_segm.nii.gz" for k in (11, 21)]
    found, patients, noted = pair(tmp_path, *names, *masks)
    assert found == {
        "UPENN-GBM-00001_11": (names[2], masks[0]),
        "UPENN-GBM-00001_21": (names[5], masks[1]),
    }
    assert (patients, noted) == (["UPENN-GBM-00001"] * 2, [])


def test_derivatives_of_bids_pair_with_its_images(tmp_path: Path):
    names = [f"sub-0{k}/ses-1/anat/sub-0{k}_ses-1_ce-GD_T1w.nii.gz" for k in (1, 2)]
    masks = [
        f"derivatives/manual/sub-0{k}/ses-1/anat/sub-0{k}_ses-1_desc-tumor_mask.nii.gz"
        for k in (1, 2)
    ]
    chosen = {"image": "ce-GD_T1w", "label": "desc-tumor_mask"}
    found, patients, noted = pair(tmp_path, *names, *masks, **chosen)
    assert list(found.values()) == list(zip(names, masks, strict=True))
    assert (patients, noted) == (["sub-01", "sub-02"], [])


def test_files_of_two_patients_are_no_pair(tmp_path: Path):
    found, _, noted = pair(tmp_path, "P1/scan1_t1c.nii", "P2/scan1_seg.nii")
    assert found == {}
    assert [problem.fatal for problem in noted] == [False, True]


def test_volumes_in_folders_named_as_they_are(tmp_path: Path):
    names = [
        f"{p}/{p}_{kind}.nii/{p}_{kind}.nii"
        for p in ("BraTS20_Training_001", "BraTS20_Training_002")
        for kind in ("flair", "t1", "t1ce", "seg")
    ]
    found, patients, noted = pair(tmp_path, *names)
    assert list(found.values()) == [(names[2], names[3]), (names[6], names[7])]
    assert (patients, noted) == (["BraTS20_Training_001", "BraTS20_Training_002"], [])


def test_one_of_two_folders_of_labels_is_chosen(tmp_path: Path):
    image = "images_structural/UPENN-GBM-00001_11/UPENN-GBM-00001_11_T1GD.nii.gz"
    label = "images_segm/UPENN-GBM-00001_11_segm.nii.gz"
    other = "automated_segm/UPENN-GBM-00001_11_automated_approx_segm.nii.gz"
    found, _, noted = pair(tmp_path, image, label, other, label="images_segm")
    assert (list(found.values()), noted) == ([(image, label)], [])


def test_labels_may_be_named_after_images_without_a_word_for_the_sequence(tmp_path: Path):
    names = [f"images/P{k}.nii" for k in (1, 2)], [f"labels/P{k}_seg.nii" for k in (1, 2)]
    found, patients, noted = pair(tmp_path, *names[0], *names[1])
    assert list(found.values()) == list(zip(*names, strict=True))
    assert (patients, noted) == (["P1", "P2"], [])
