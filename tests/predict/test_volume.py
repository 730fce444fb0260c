"""NIfTI volumes in, masks that lie on the same voxels out."""

from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

from brainseg.predict.predict import predict
from brainseg.predict.settings import Settings
from brainseg.predict.volume import from_view, to_file, to_view

AFFINE = np.array([[0.9, 0, 0, -20.0], [0, 0.8, 0, -30.0], [0, 0, 3.0, 10.0], [0, 0, 0, 1]])
ORIENTATIONS = [
    "".join(codes) for order in permutations(("RL", "AP", "SI")) for codes in product(*order)
]


def volume_of(head: np.ndarray) -> nib.Nifti1Image:
    """The phantom with axes to the right, front and top."""
    return nib.Nifti1Image(head.T.astype(np.int16) * 5, AFFINE)


def turn(image: nib.Nifti1Image, codes: str) -> nib.Nifti1Image:
    return image.as_reoriented(ornt_transform(io_orientation(image.affine), axcodes2ornt(codes)))


def run(model: Path, image: nib.Nifti1Image, folder: Path, **settings: object) -> dict:
    folder.mkdir(exist_ok=True)
    nib.save(image, folder / "head.nii.gz")
    told = predict(
        model,
        [folder / "head.nii.gz"],
        folder / "out",
        Settings(**settings),
        threads=1,
        overwrite=True,
    )
    (row,) = told["rows"]
    return row


def values(path: str) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_the_mask_lies_on_its_voxels_in_every_orientation(model, head, tmp_path, codes):
    image = turn(volume_of(head), codes)
    row = run(model, image, tmp_path)
    mask, probability = (nib.load(row[key]) for key in ("mask", "probability_map"))
    for result, kind in ((mask, np.uint8), (probability, np.float32)):
        assert result.shape == image.shape
        assert result.get_data_dtype() == kind
        np.testing.assert_allclose(result.affine, image.affine, atol=1e-5)
        assert nib.aff2axcodes(result.affine) == tuple(codes)
    bright = np.asarray(image.dataobj) >= 750
    found = values(row["mask"]) == 1
    overlap = (found & bright).sum() / (found | bright).sum()
    assert overlap > 0.5  # the network sees 32×32 pixels of 24×20
    np.testing.assert_array_equal(found, values(row["probability_map"]) >= 0.5)


def test_all_orientations_give_the_same_mask(model, head, tmp_path):
    expected = values(run(model, volume_of(head), tmp_path)["mask"])
    for codes in ("LPI", "SAR", "PIL"):
        row = run(model, turn(volume_of(head), codes), tmp_path)
        back = turn(nib.load(row["mask"]), "RAS")
        np.testing.assert_array_equal(np.asarray(back.dataobj), expected)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("codes", ["RAS", "LPS", "SRA", "IPL"])
def test_slices_find_their_way_back(axis, codes):
    volume = np.random.default_rng(0).random((4, 5, 6))
    axes = axcodes2ornt(codes)
    placed = apply_orientation(volume, ornt_transform(axcodes2ornt("RAS"), axes))
    pictures = to_view(np.moveaxis(volume, axis, 0))
    np.testing.assert_array_equal(from_view(pictures), np.moveaxis(volume, axis, 0))
    np.testing.assert_array_equal(to_file(pictures, axis, axes), placed)


def test_slices_are_seen_as_radiologists_do():
    """The patient's right is on the left, and the front is up."""
    volume = np.zeros((1, 4, 6))
    volume[0, 3, 5] = 1  # right and front
    assert to_view(volume)[0, 0, 0] == 1


@pytest.mark.parametrize(
    ("plane", "size", "slices"),
    [
        ("axial", (20, 24), 9),
        ("coronal", (20, 9), 24),
        ("sagittal", (24, 9), 20),
    ],
)
def test_the_plane_is_chosen(model, head, tmp_path, plane, size, slices):
    row = run(model, volume_of(head), tmp_path, plane=plane)
    assert (row["width"], row["height"], row["slices"]) == (*size, slices)
    assert values(row["mask"]).any()


def test_the_volume_of_the_tumour_in_ml(model, head, tmp_path):
    row = run(model, volume_of(head), tmp_path)
    voxels = int(values(row["mask"]).sum())
    assert row["area_px"] == voxels
    assert row["volume_ml"] == pytest.approx(voxels * 0.9 * 0.8 * 3 / 1000, abs=1e-4)
    meters = volume_of(head)
    meters.header.set_xyzt_units("meter")
    large = run(model, meters, tmp_path)["volume_ml"]
    assert large == pytest.approx(row["volume_ml"] * 1e9, rel=1e-3)
    assert row["tumor_slices"] == int(values(row["mask"]).any(axis=(0, 1)).sum())


def test_results_say_what_they_are_not_for(model, head, tmp_path):
    row = run(model, volume_of(head), tmp_path)
    assert b"research use only" in nib.load(row["mask"]).header["descrip"].item()
    assert "research use only" in row["notice"]
    first = Path(row["mask"]).read_bytes()
    assert first == Path(run(model, volume_of(head), tmp_path)["mask"]).read_bytes()


def test_a_volume_of_four_dimensions_needs_a_choice(model, head, tmp_path):
    wide = head.T.astype(np.int16) * 5
    both = np.stack([wide * 0 + np.arange(9), wide], axis=-1).astype(np.int16)
    image = nib.Nifti1Image(both, AFFINE)
    assert "holds 2 sequences. Choose one" in run(model, image, tmp_path)["error"]
    assert "--channel" in run(model, image, tmp_path, channel=2)["error"]
    row = run(model, image, tmp_path, channel=1)
    assert values(row["mask"]).shape == both.shape[:3]
    np.testing.assert_array_equal(
        values(row["mask"]), values(run(model, volume_of(head), tmp_path)["mask"])
    )


def test_volumes_that_cannot_be_used_are_named(model, head, tmp_path):
    placeless = nib.Nifti1Image(head.T.astype(np.int16), None)
    assert "has no orientation" in run(model, placeless, tmp_path)["error"]
    labels = nib.Nifti1Image((head.T > 150).astype(np.uint8), AFFINE)
    assert "2 different values, as labels or a mask do" in run(model, labels, tmp_path)["error"]
    thin = nib.Nifti1Image(np.arange(900, dtype=np.int16).reshape(3, 30, 10), AFFINE)
    assert "a axial slice would be 3 × 30" in run(model, thin, tmp_path)["error"]


def test_nifti_2_and_big_endian_files(model, head, tmp_path):
    expected = values(run(model, volume_of(head), tmp_path)["mask"])
    second = nib.Nifti2Image(head.T.astype(np.float32) * 5, AFFINE)
    row = run(model, second, tmp_path)
    np.testing.assert_array_equal(values(row["mask"]), expected)
    assert isinstance(nib.load(row["mask"]), nib.Nifti2Image)
    header = nib.Nifti1Header(endianness=">")
    big = nib.Nifti1Image(head.T.astype(">i2") * 5, AFFINE, header)
    np.testing.assert_array_equal(values(run(model, big, tmp_path)["mask"]), expected)


def test_label_volumes_beside_images_are_left_out(model, head, tmp_path, caplog):
    (tmp_path / "in").mkdir()
    nib.save(volume_of(head), tmp_path / "in" / "case-t1c.nii.gz")
    nib.save(volume_of(head), tmp_path / "in" / "case-seg.nii.gz")
    told = predict(model, [tmp_path / "in"], tmp_path / "out", threads=1)
    assert [Path(row["input"]).name for row in told["rows"]] == ["case-t1c.nii.gz"]
    assert "Masks beside their images are left out" in caplog.text


@pytest.mark.parametrize(("ending", "wrong"), [(".nii", ".nii.gz"), (".nii.gz", ".nii")])
def test_an_ending_that_is_wrong_is_told(model, head, tmp_path, ending, wrong):
    nib.save(volume_of(head), tmp_path / f"head{ending}")
    (tmp_path / f"head{ending}").rename(tmp_path / f"other{wrong}")
    told = predict(model, [tmp_path / f"other{wrong}"], tmp_path / "out", threads=1)
    assert f"Rename it, so that its name ends with {ending}." in told["rows"][0]["error"]


def test_a_volume_of_one_value_is_refused(model, tmp_path):
    flat = nib.Nifti1Image(np.full((20, 24, 9), 5, np.int16), AFFINE)
    assert "one value everywhere" in run(model, flat, tmp_path)["error"]


def test_maps_are_no_labels_though_their_source_says_so(model, head, tmp_path):
    image = volume_of(head)
    image.header.set_intent("label")
    row = run(model, image, tmp_path)
    assert nib.load(row["probability_map"]).header.get_intent()[0] == "none"
