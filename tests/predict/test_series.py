"""DICOM series in, DICOM-SEG on the same images out, as other readers see it."""

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from highdicom.legacy import LegacyConvertedEnhancedMRImage
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from brainseg.predict.predict import predict
from brainseg.predict.settings import Settings
from tests.predict.conftest import AXIAL, make_slices

CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
MIRRORED = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
OBLIQUE = tuple(np.round([np.cos(0.3), np.sin(0.3), 0, 0, 0, -1], 9).tolist())


def run(model: Path, folder: Path, **settings: object) -> list[dict]:
    out = folder.parent / "out"
    return predict(model, [folder], out, Settings(**settings), threads=1, overwrite=True)["rows"]


def segmented(row: dict) -> dict[str, np.ndarray]:
    """By UID of the image that a frame refers to, its mask; read with pydicom alone."""
    found = pydicom.dcmread(row["mask"])
    frames = found.pixel_array.reshape(-1, found.Rows, found.Columns)
    masks = {}
    for frame, groups in zip(frames, found.PerFrameFunctionalGroupsSequence, strict=True):
        source = groups.DerivationImageSequence[0].SourceImageSequence[0]
        masks[source.ReferencedSOPInstanceUID] = frame.astype(bool)
    return masks


def check_masks(row: dict, slices: list[pydicom.Dataset]) -> None:
    """Each mask lies on the bright block of the very image that it refers to."""
    masks = segmented(row)
    marked = 0
    for image in slices:
        bright = image.pixel_array >= 1500
        mask = masks.pop(image.SOPInstanceUID, np.zeros_like(bright))
        assert mask.any() == bright.any()
        if bright.any():
            marked += 1
            assert (mask & bright).sum() / (mask | bright).sum() > 0.5
    assert not masks
    assert marked == 9


@pytest.mark.parametrize("directions", [AXIAL, CORONAL, SAGITTAL, MIRRORED, OBLIQUE])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_mask_lies_on_its_images(model, head, tmp_path, save_series, directions, seed):
    """Whatever the names and numbers of the files, and the direction of the slices."""
    random = np.random.default_rng(seed)
    numbers = random.permutation(9)
    slices = make_slices(
        head, directions=directions, InstanceNumber=lambda index: int(numbers[index])
    )
    names = [f"{number:03d}" for number in random.permutation(9)]
    save_series(tmp_path / "study", slices, names)
    (row,) = run(model, tmp_path / "study")
    assert row["error"] is None
    check_masks(row, slices)
    assert (row["kind"], row["slices"], row["tumor_slices"]) == ("series", 9, 9)
    assert row["volume_ml"] == pytest.approx(row["area_px"] * 3 * 0.8 * 0.9 / 1000, abs=1e-4)


def test_the_object_is_what_the_standard_wants(model, head, tmp_path, save_series):
    slices = save_series(tmp_path / "study", make_slices(head))
    (row,) = run(model, tmp_path / "study")
    found = hd.seg.segread(row["mask"])
    assert found.SegmentationType == "BINARY"
    assert found.StudyInstanceUID == slices[0].StudyInstanceUID
    assert found.FrameOfReferenceUID == slices[0].FrameOfReferenceUID
    assert found.PatientID == "P1"
    assert "research use only" in found.SeriesDescription
    (segment,) = found.SegmentSequence
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "108369006"
    assert segment.SegmentAlgorithmType == "AUTOMATIC"
    algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmName == "brainseg"
    assert "model.fp32.onnx" in algorithm.AlgorithmParameters
    referenced = {uid for _, _, uid in found.get_source_image_uids()}
    assert referenced <= {image.SOPInstanceUID for image in slices}


def test_a_second_reader_finds_it_at_its_place(model, head, tmp_path, save_series):
    """dcmqi, by its own command: the size, the place and every voxel."""
    slices = save_series(tmp_path / "study", make_slices(head))
    (row,) = run(model, tmp_path / "study")
    command = Path(sys.executable).with_name("segimage2itkimage")
    (tmp_path / "itk").mkdir()
    subprocess.run(
        [command, "--inputDICOM", row["mask"], "--outputDirectory", tmp_path / "itk"],
        check=True,
        capture_output=True,
    )
    header, _, content = (tmp_path / "itk" / "1.nrrd").read_bytes().partition(b"\n\n")
    fields = dict(line.split(": ", 1) for line in header.decode().splitlines() if ": " in line)
    voxels = np.frombuffer(gzip.decompress(content), np.int16)
    masks = segmented(row)
    depth = int(fields["sizes"].split()[2])
    volume = voxels.reshape(depth, 24, 20) > 0
    marked = [image for image in slices if image.SOPInstanceUID in masks]
    origin = np.array(fields["space origin"].strip("()").split(","), float)
    first = round((marked[0].ImagePositionPatient[2] - origin[2]) / 3)
    for index, image in enumerate(marked, first):
        np.testing.assert_array_equal(volume[index], masks[image.SOPInstanceUID])
    assert volume.sum() == row["area_px"]
    told = json.loads((tmp_path / "itk" / "meta.json").read_text())
    kind = told["segmentAttributes"][0][0]["SegmentedPropertyTypeCodeSequence"]
    assert kind["CodeMeaning"] == "Tumor"


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dicom3tools are not installed")
@pytest.mark.parametrize("enhanced", [False, True])
def test_a_validator_finds_no_error(model, head, tmp_path, save_series, enhanced):
    slices = make_slices(head)
    save_series(tmp_path / "study", enhance(slices) if enhanced else slices)
    run(model, tmp_path / "study", secondary_capture=True)
    written = sorted((tmp_path / "out").glob("*.dcm"))
    assert len(written) == 10
    for file in written:
        told = subprocess.run(["dciodvfy", file], capture_output=True, text=True)
        errors = [line for line in told.stderr.splitlines() if line.startswith("Error")]
        assert not errors


def enhance(slices: list[pydicom.Dataset]) -> list[pydicom.Dataset]:
    """The same slices as one file of many frames."""
    made = LegacyConvertedEnhancedMRImage(
        legacy_datasets=slices[::-1],
        series_instance_uid=slices[0].SeriesInstanceUID,
        series_number=3,
        sop_instance_uid=generate_uid(),
        instance_number=1,
    )
    return [made]


def test_enhanced_files_hold_many_frames(model, head, tmp_path, save_series):
    slices = make_slices(head)
    save_series(tmp_path / "single", slices)
    expected = segmented(run(model, tmp_path / "single")[0])
    (enhanced,) = save_series(tmp_path / "study", enhance(slices))
    (row,) = run(model, tmp_path / "study")
    assert row["error"] is None
    assert row["slices"] == 9
    found = pydicom.dcmread(row["mask"])
    frames = found.pixel_array.astype(bool)
    places = {
        round(groups.PlanePositionSequence[0].ImagePositionPatient[2], 3): frame
        for frame, groups in zip(frames, found.PerFrameFunctionalGroupsSequence, strict=True)
    }
    assert len(places) == 9
    for image in slices:
        if image.SOPInstanceUID in expected:
            mask = places[round(image.ImagePositionPatient[2], 3)]
            np.testing.assert_array_equal(mask, expected[image.SOPInstanceUID])
    assert (
        found.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID
        == enhanced.SOPInstanceUID
    )


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_compressed_files_give_the_same_mask(model, head, tmp_path, save_series, syntax):
    slices = make_slices(head)
    save_series(tmp_path / "plain", slices)
    expected = segmented(run(model, tmp_path / "plain")[0])
    for image in slices:
        if syntax == JPEG2000Lossless:
            compress_with_gdcm(image, tmp_path)
        else:
            image.compress(syntax, generate_instance_uid=False)
    save_series(tmp_path / "study", slices)
    found = segmented(run(model, tmp_path / "study")[0])
    assert found.keys() == expected.keys()
    for uid, mask in expected.items():
        np.testing.assert_array_equal(found[uid], mask)


def compress_with_gdcm(image: pydicom.Dataset, folder: Path) -> None:
    """pydicom itself cannot write JPEG 2000."""
    gdcm = pytest.importorskip("gdcm")
    image.save_as(folder / "plain.dcm", enforce_file_format=True)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(folder / "plain.dcm"))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEG2000Lossless))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(folder / "small.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    small = pydicom.dcmread(folder / "small.dcm")
    image.PixelData = small.PixelData
    image["PixelData"].VR = "OB"
    image.file_meta.TransferSyntaxUID = JPEG2000Lossless
    image["PixelData"].is_undefined_length = True


@pytest.mark.parametrize(
    ("inverted", "tags"),
    [
        (False, {"RescaleSlope": 2.5, "RescaleIntercept": -7}),
        (False, {"RescaleSlope": lambda number: 1.0 + number}),
        (True, {"PhotometricInterpretation": "MONOCHROME1"}),
    ],
)
def test_other_ways_to_store_a_series_give_the_same_mask(
    model, head, tmp_path, save_series, inverted, tags
):
    save_series(tmp_path / "plain", make_slices(head))
    save_series(tmp_path / "study", make_slices(200 - head if inverted else head, **tags))
    expected, found = (
        list(segmented(run(model, tmp_path / name)[0]).values()) for name in ("plain", "study")
    )
    np.testing.assert_array_equal(found, expected)


def test_overlays_as_secondary_captures(model, head, tmp_path, save_series):
    save_series(tmp_path / "study", make_slices(head))
    run(model, tmp_path / "study", secondary_capture=True)
    files = sorted((tmp_path / "out").glob("*.capture-*.dcm"))
    captures = [pydicom.dcmread(file) for file in files]
    assert len(captures) == 9
    assert {each.Modality for each in captures} == {"OT"}
    assert len({each.SeriesInstanceUID for each in captures}) == 1
    assert [each.InstanceNumber for each in captures] == list(range(1, 10))
    picture = captures[3].pixel_array
    assert picture.shape == (24, 20, 3)
    assert (picture == (240, 228, 66)).all(axis=-1).any()
    assert "research use only" in captures[0].SeriesDescription
    assert captures[0].BurnedInAnnotation == "NO"


def test_the_same_prediction_is_the_same_object(model, head, tmp_path, save_series):
    """So that an archive which gets it twice keeps it once."""
    save_series(tmp_path / "study", make_slices(head))
    uids = [
        pydicom.dcmread(run(model, tmp_path / "study", threshold=value)[0]["mask"]).SOPInstanceUID
        for value in (0.5, 0.5, 0.4)
    ]
    assert uids[0] == uids[1] != uids[2]


def test_no_tumour_is_written_too(model, head, tmp_path, save_series):
    slices = save_series(tmp_path / "study", make_slices(head))
    (row,) = run(model, tmp_path / "study", min_area=10000)
    assert row["error"] is None
    found = pydicom.dcmread(row["mask"])
    assert not found.pixel_array.any()
    assert (row["volume_ml"], row["tumor_slices"]) == (0.0, 0)
    assert found.StudyInstanceUID == slices[0].StudyInstanceUID


def test_enhanced_files_that_are_incomplete_are_refused(model, head, tmp_path, save_series):
    (enhanced,) = enhance(make_slices(head))
    groups = enhanced.PerFrameFunctionalGroupsSequence
    enhanced.PerFrameFunctionalGroupsSequence = groups[:5]
    save_series(tmp_path / "cut", [enhanced])
    (row,) = run(model, tmp_path / "cut")
    assert "has 9 frames in a file that says of 5 where they lie" in row["error"]
    enhanced.PerFrameFunctionalGroupsSequence = groups
    (second,) = enhance(make_slices(head, directions=AXIAL))
    second.SeriesInstanceUID = enhanced.SeriesInstanceUID
    save_series(tmp_path / "two", [enhanced, second])
    (row,) = run(model, tmp_path / "two")
    assert "2 files of several frames. Expected one such file" in row["error"]
