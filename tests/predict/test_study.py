"""Which series of a study is segmented, and what is said of files that are none."""

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.uid import JPEGLosslessSV1

from brainseg.errors import InputError
from brainseg.predict.dicom_frames import slice_spacing, sort_frames
from brainseg.predict.predict import predict
from brainseg.predict.settings import Settings
from tests.predict.conftest import make_slices


def run(model: Path, inputs: list[Path], out: Path, **settings: object) -> list[dict]:
    return predict(model, inputs, out, Settings(**settings), threads=1, overwrite=True)["rows"]


@pytest.fixture
def study(head, tmp_path, save_series) -> Path:
    save_series(tmp_path / "study", make_slices(head))
    return tmp_path / "study"


def in_study_of(slices: list[Dataset], folder: Path) -> list[Dataset]:
    """The slices as another series of the study in a folder."""
    first = pydicom.dcmread(sorted(folder.iterdir())[0])
    for image in slices:
        image.StudyInstanceUID = first.StudyInstanceUID
    return slices


@pytest.mark.parametrize(
    ("tags", "why"),
    [
        ({"Modality": "CT"}, "is of modality CT; expected MR"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "is a localizer"),
        ({"SeriesDescription": "3-plane localizer"}, "is a localizer"),
        ({"FrameOfReferenceUID": ""}, "has no FrameOfReferenceUID"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "is a secondary capture"),
    ],
)
def test_the_series_that_fits_is_taken_by_itself(
    model, head, study, tmp_path, save_series, tags, why
):
    other = in_study_of(make_slices(head[:3], **tags), study)
    save_series(study / "other", other)
    (row,) = run(model, [study], tmp_path / "out")
    assert row["error"] is None
    assert other[0].SeriesInstanceUID not in row["input"]
    shutil.rmtree(tmp_path / "out")
    (row,) = run(model, [study / "other"], tmp_path / "out")
    assert why in row["error"]
    (row,) = run(model, [study], tmp_path / "out", series=(other[0].SeriesInstanceUID,))
    assert f"cannot be segmented: it {why}" in row["error"]


def test_one_of_several_series_is_chosen(model, head, study, tmp_path, save_series):
    other = in_study_of(
        make_slices(head, SeriesDescription="t2 tse", ContrastBolusAgent="Gd"), study
    )
    save_series(study / "t2", other)
    (row,) = run(model, [study], tmp_path / "out")
    assert "has 2 series that fit. Choose with --series UID" in row["error"]
    assert "9 slices, contrast agent, t2 tse" in row["error"]
    uid = other[0].SeriesInstanceUID
    (row,) = run(model, [study], tmp_path / "out", series=(uid,))
    assert row["error"] is None
    assert uid in row["input"]
    rows = run(model, [study], tmp_path / "out", series=(uid, "1.2.3"))
    assert "There is no series 1.2.3. Found:" in rows[1]["error"]
    assert rows[0]["error"] is None


def test_each_study_and_patient_of_a_folder_is_done(model, head, study, tmp_path, save_series):
    save_series(study / "second", make_slices(head, PatientID="P2"))
    broken = make_slices(head, PatientID="P3")
    save_series(study / "third", broken[:4] + broken[6:])
    rows = run(model, [study], tmp_path / "out")
    assert sorted(row["error"] is None for row in rows) == [False, True, True]
    (error,) = (row["error"] for row in rows if row["error"])
    assert "lacks slices, about 2: 7 are there, 3.0 mm apart, with a gap of 9.0 mm" in error
    masks = [pydicom.dcmread(row["mask"]).PatientID for row in rows if row["mask"]]
    assert sorted(masks) == ["P1", "P2"]


def test_files_that_are_no_images_are_told(model, study, tmp_path, caplog):
    first = pydicom.dcmread(study / "000.dcm")
    for name, kind in (("report.dcm", "1.2.840.10008.5.1.4.1.1.104.1"), ("DICOMDIR", "")):
        other = Dataset()
        other.file_meta = first.file_meta
        other.SOPClassUID = kind or "1.2.840.10008.1.3.10"
        other.SOPInstanceUID = "1.2.3"
        other.save_as(study / name, enforce_file_format=True)
    (study / "readme.txt").write_text("from the archive")
    (study / "icon.png").write_bytes(b"")
    (row,) = run(model, [study], tmp_path / "out")
    assert row["error"] is None
    assert "Left out, beside DICOM files: " in caplog.text
    assert "DICOM files without an image: " in caplog.text
    assert "encapsulated PDF" in caplog.text
    (row,) = run(model, [study / "DICOMDIR"], tmp_path / "out")
    assert "an index: give the folder that it lies in" in row["error"]


def test_a_damaged_file_is_an_error_and_the_rest_is_done(model, head, study, tmp_path, save_series):
    (study / "damaged.dcm").write_bytes(b"\0" * 200)
    rows = run(model, [study], tmp_path / "out")
    assert [row["error"] is None for row in rows] == [True, False]
    assert "damaged.dcm cannot be read as a DICOM image" in rows[1]["error"]


def test_compressed_pixels_without_a_decoder(model, study, tmp_path, monkeypatch):
    for file in study.iterdir():
        image = pydicom.dcmread(file)
        image.file_meta.TransferSyntaxUID = JPEGLosslessSV1
        image.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
        image["PixelData"].is_undefined_length = True
        image.save_as(file, enforce_file_format=True)
    decoder = pydicom.pixels.get_decoder(JPEGLosslessSV1)
    monkeypatch.setattr(type(decoder), "is_available", property(lambda self: False))
    (row,) = run(model, [study], tmp_path / "out")
    assert "is compressed (JPEG Lossless, Non-Hierarchical, First-Order" in row["error"]
    assert "brainseg-bench[dicom]" in row["error"]


def test_a_file_twice_counts_once(model, study, tmp_path):
    shutil.copytree(study, tmp_path / "both" / "a")
    shutil.copytree(study, tmp_path / "both" / "b")
    (row,) = run(model, [tmp_path / "both"], tmp_path / "out")
    assert (row["error"], row["slices"]) == (None, 9)


def sizes(index: int) -> int:
    return 24 if index < 5 else 25


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"ImagePositionPatient": None}, "does not say where it lies"),
        ({"PixelSpacing": [0, 1]}, "does not say where it lies"),
        ({"ImagePositionPatient": [1, 2, 3]}, "9 slices at places that others have too"),
        (
            {"ImageOrientationPatient": lambda n: [1, 0, 0, 0, n % 2, 1 - n % 2]},
            "slices in several directions",
        ),
        ({"Rows": sizes}, "slices of several sizes: 5 of 20 × 24, 4 of 20 × 25"),
        ({"PixelSpacing": lambda n: [1 + n, 1]}, "several pixel spacings"),
    ],
)
def test_slices_that_are_no_volume_are_refused(head, tags, message):
    with pytest.raises(InputError, match=message):
        sort_frames(make_slices(head, **tags), "The series")


def test_slices_are_sorted_by_their_place(head):
    slices = make_slices(head, directions=(0.0, 0.0, 1.0, 1.0, 0.0, 0.0))
    shuffled = [slices[index] for index in np.random.default_rng(3).permutation(9)]
    frames = sort_frames(shuffled, "The series")
    assert [frame.dataset.SOPInstanceUID for frame in frames] == [
        image.SOPInstanceUID for image in slices
    ]
    assert slice_spacing(frames) == pytest.approx(3)
    assert slice_spacing(frames[:1]) == 3


@pytest.mark.parametrize("uid", ["../../../evil/x", "/tmp/evil", "..", "."])
def test_a_uid_never_leads_out_of_the_folder(model, head, tmp_path, save_series, uid):
    """A UID is a stranger's text."""
    with pydicom.config.disable_value_validation():
        save_series(tmp_path / "in" / "study", make_slices(head, SeriesInstanceUID=uid))
    out = tmp_path / "a" / "b" / "out"
    (row,) = run(model, [tmp_path / "in"], out)
    written = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert all(path.is_relative_to(out) for path in written - set((tmp_path / "in").rglob("*")))
    assert row["mask"] is None or Path(row["mask"]).parent == out


@pytest.mark.parametrize(
    "name", ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"]
)
def test_images_that_cannot_be_referred_to_are_refused(model, head, study, tmp_path, name):
    for file in study.iterdir():
        image = pydicom.dcmread(file)
        del image[name]
        image.save_as(file)
    (row,) = run(model, [study], tmp_path / "out")
    assert f"has no {name}" in row["error"]


def test_images_that_share_a_uid_are_refused(model, head, tmp_path, save_series):
    save_series(tmp_path / "study", make_slices(head, SOPInstanceUID="1.2.3.4"))
    (row,) = run(model, [tmp_path / "study"], tmp_path / "out")
    assert "has images with the same SOPInstanceUID" in row["error"]


@pytest.mark.parametrize("tags", [{"PatientBirthDate": "19.2.1970"}, {"SliceThickness": None}])
def test_what_is_odd_but_needless_does_no_harm(model, head, tmp_path, save_series, tags):
    with pydicom.config.disable_value_validation():
        slices = make_slices(head, **tags)
        if "SliceThickness" in tags:
            for image in slices:
                del image.SliceThickness
        save_series(tmp_path / "study", slices)
    (row,) = run(model, [tmp_path / "study"], tmp_path / "out")
    assert row["error"] is None
    found = pydicom.dcmread(row["mask"])
    measures = found.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert measures.SliceThickness == 3
    assert found.PatientBirthDate in ("", None)


def test_text_in_place_of_numbers_is_told(model, study, tmp_path):
    file = study / "003.dcm"
    content = file.read_bytes().replace(b"-80.0\\-90.0", b"-80,0\\-90.0")
    file.write_bytes(content)
    (row,) = run(model, [study], tmp_path / "out")
    assert "a slice does not say where it lies" in row["error"]


def test_frames_without_places_are_refused(model, head, tmp_path, save_series):
    (image,) = make_slices(head[:1])
    image.NumberOfFrames = 9
    image.PixelData = (head.astype(np.uint16) * 10).tobytes()
    save_series(tmp_path / "study", [image])
    (row,) = run(model, [tmp_path / "study"], tmp_path / "out")
    assert "has 9 frames in a file that says of 0 where they lie" in row["error"]


def test_a_folder_of_dicom_files_among_others(model, head, study, tmp_path):
    (tmp_path / "png").mkdir()
    Image.fromarray(head[3]).save(tmp_path / "png" / "a.png")
    rows = run(model, [tmp_path], tmp_path / "out")
    assert sorted(row["kind"] for row in rows) == ["image", "series"]
    assert [row["error"] for row in rows] == [None, None]
