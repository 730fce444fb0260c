"""DICOM series with masks beside them or as segmentation objects become slices."""

import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filereader import read_file_meta_info
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    SegmentationStorage,
    generate_uid,
)

from brainseg.data.case import Case, Problem
from brainseg.data.cases import detect_layout, read_set
from brainseg.data.image import decode_case
from brainseg.data.layouts.dicom_file import read_header, read_slice
from brainseg.errors import InputError


def decode(case: Case) -> tuple[np.ndarray, np.ndarray]:
    decoded, mask = decode_case(case.image, case.mask)
    return decoded.pixels, mask


def write_dicom(path: Path, pixels: np.ndarray, **tags: object) -> str:
    """Write one slice; returns its UID."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.Modality = "MR"
    dataset.PatientID = "anna"
    dataset.SeriesInstanceUID = "1.2.3"
    dataset.PixelSpacing = [0.9, 0.8]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.astype(np.uint16).tobytes()
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return str(dataset.SOPInstanceUID)


def write_segmentation(path: Path, masks: dict[str, np.ndarray]) -> None:
    frames = np.stack([mask.astype(np.uint16) for mask in masks.values()])
    groups = []
    for uid in masks:
        source, derivation, group = (pydicom.Dataset() for _ in range(3))
        source.ReferencedSOPInstanceUID = uid
        derivation.SourceImageSequence = Sequence([source])
        group.DerivationImageSequence = Sequence([derivation])
        groups.append(group)
    write_dicom(
        path,
        frames,
        Modality="SEG",
        SOPClassUID=SegmentationStorage,
        NumberOfFrames=len(frames),
        PerFrameFunctionalGroupsSequence=Sequence(groups),
    )


RAMP = np.arange(120).reshape(10, 12) * 30


def test_dicom_slices_with_a_segmentation_object(tmp_path: Path):
    root = tmp_path / "study"
    uids = [write_dicom(root / "t1" / f"I{number}", RAMP) for number in range(3)]
    mask = np.zeros(RAMP.shape, bool)
    mask[2:4, 5:9] = True
    write_segmentation(root / "seg.dcm", {uids[1]: mask})
    assert detect_layout(root) == "dicom"
    cases = read_set("dicom", root, tmp_path / "cache", {"tumor": "glioma"})
    assert [(case.id, case.label) for case in cases] == [
        ("t1-I0", "notumor"),
        ("t1-I1", "glioma"),
        ("t1-I2", "notumor"),
    ]
    case = cases[1]
    assert (case.patient, case.plane) == ("anna", "coronal")
    pixels, found = decode(case)
    np.testing.assert_array_equal(found, mask)
    assert pixels.max() == 255
    np.testing.assert_allclose(pixels, np.minimum(RAMP / RAMP.max() * 255, 255), atol=1)


def test_dicom_masks_may_be_pictures_beside(tmp_path: Path, save):
    root = tmp_path / "study"
    write_dicom(root / "images" / "anna" / "1.dcm", RAMP)
    write_dicom(root / "images" / "anna" / "2.dcm", RAMP, PhotometricInterpretation="MONOCHROME1")
    mask = np.zeros(RAMP.shape, np.uint8)
    mask[4:6, 4:6] = 255
    save(root / "masks" / "anna" / "2.png", mask)
    cases = read_set("dicom", root, tmp_path / "cache")
    assert [case.label for case in cases] == ["notumor", None]
    pixels, found = decode(cases[1])
    np.testing.assert_array_equal(found, mask > 0)
    assert pixels[0, 0] > pixels[-1, -1]  # low values are white in MONOCHROME1


def test_dicom_without_masks_is_without_truth(tmp_path: Path):
    write_dicom(tmp_path / "study" / "1.dcm", RAMP)
    (case,) = read_set("dicom", tmp_path / "study", tmp_path / "cache")
    assert case.unmasked


def test_dicom_names_of_any_kind_stay_apart(tmp_path: Path):
    names = ("1.2.840.0", "1.2.840.1", "张/1", "李/1")
    for name in names:
        write_dicom(tmp_path / "study" / name, RAMP, PatientID="")
    cases = read_set("dicom", tmp_path / "study", tmp_path / "cache")
    assert len({case.id for case in cases}) == len({case.image for case in cases}) == 4
    assert {case.patient for case in cases} == {"1.2.3"}  # the series, where nothing else is told


def test_dicom_masks_with_uids_for_names(tmp_path: Path, save):
    write_dicom(tmp_path / "study" / "images" / "1.2.840.7", RAMP)
    mask = np.zeros(RAMP.shape, np.uint8)
    mask[:, :4] = 255
    save(tmp_path / "study" / "masks" / "1.2.840.7.png", mask)
    (case,) = read_set("dicom", tmp_path / "study", tmp_path / "cache")
    assert np.array_equal(decode(case)[1], mask > 0)


def test_segmentations_of_several_files_are_joined(tmp_path: Path):
    root = tmp_path / "study"
    uid = write_dicom(root / "1.dcm", RAMP)
    for column in (2, 7):
        mask = np.zeros(RAMP.shape, bool)
        mask[:, column] = True
        write_segmentation(root / f"seg{column}.dcm", {uid: mask})
    (case,) = read_set("dicom", root, tmp_path / "cache")
    assert np.flatnonzero(decode(case)[1].any(axis=0)).tolist() == [2, 7]


def test_damaged_dicom_files_are_noted_one_by_one(tmp_path: Path):
    root = tmp_path / "study"
    for number in range(3):
        write_dicom(root / f"{number}.dcm", RAMP)
    (root / "1.dcm").write_bytes((root / "1.dcm").read_bytes()[:-100])
    (root / "3.dcm").write_bytes(b"no DICOM")
    noted: list[Problem] = []
    cases = read_set("dicom", root, tmp_path / "cache", on_problem=noted.append)
    assert [case.id for case in cases] == ["0", "2"]
    assert sorted(problem.path for problem in noted) == [f"{root}/1.dcm", f"{root}/3.dcm"]
    with pytest.raises(InputError, match="cannot be read as a DICOM image"):
        read_set("dicom", root, tmp_path / "cache")


def test_dicom_problems_are_named(tmp_path: Path, save):
    root = tmp_path / "study"
    write_dicom(root / "1.dcm", RAMP)
    save(root / "masks" / "1.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(InputError, match="10 rows and 12 columns, its mask 4 and 4"):
        read_set("dicom", root, tmp_path / "cache")
    write_dicom(root / "1.dcm", np.stack([RAMP] * 2), NumberOfFrames=2)
    with pytest.raises(InputError, match="Expected one grey slice per file"):
        read_set("dicom", root, tmp_path / "cache")
    with pytest.raises(InputError, match="No DICOM images"):
        read_set("dicom", root / "masks", tmp_path / "cache")


SPOT = np.zeros((10, 12), bool)
SPOT[4:7, 5:9] = True
DIRECTIONS = [1, 0, 0, 0, 1, 0]


def item(**values: object) -> Dataset:
    dataset = Dataset()
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


def write_series(folder: Path, count: int = 3, **tags: object) -> list[str]:
    """Slices 2 mm apart, in one frame of reference."""
    common = {"StudyInstanceUID": "1.2", "ImageOrientationPatient": DIRECTIONS} | tags
    return [
        write_dicom(folder / f"{k}.dcm", RAMP, ImagePositionPatient=[0, 0, 2 * k], **common)
        for k in range(count)
    ]


def write_seg(
    path: Path,
    frames: list[np.ndarray],
    *,
    sources: list[str] | None = None,
    places: list[float] | None = None,
    numbers: list[int] | None = None,
    names: tuple[str, ...] = ("Tumour",),
    directions: list[int] = DIRECTIONS,
    **tags: object,
) -> None:
    """A segmentation object; frames name a source each, or a height each, or neither."""
    groups = []
    for k in range(len(frames)):
        group = item()
        if sources:
            source = item(ReferencedSOPInstanceUID=sources[k])
            group.DerivationImageSequence = Sequence([item(SourceImageSequence=[source])])
        if places:
            group.PlanePositionSequence = Sequence([item(ImagePositionPatient=[0, 0, places[k]])])
        if numbers:
            group.SegmentIdentificationSequence = Sequence(
                [item(ReferencedSegmentNumber=numbers[k])]
            )
        groups.append(group)
    write_dicom(
        path,
        np.stack(frames),
        **{
            "Modality": "SEG",
            "SOPClassUID": SegmentationStorage,
            "SegmentationType": "BINARY",
            "SeriesInstanceUID": "1.2.9",
            "StudyInstanceUID": "1.2",
            "NumberOfFrames": len(frames),
            "SegmentSequence": Sequence(
                [item(SegmentNumber=k + 1, SegmentLabel=name) for k, name in enumerate(names)]
            ),
            "SharedFunctionalGroupsSequence": Sequence(
                [item(PlaneOrientationSequence=[item(ImageOrientationPatient=directions)])]
            ),
            "PerFrameFunctionalGroupsSequence": Sequence(groups),
        }
        | tags,
    )


def read(root: Path, **options: object) -> dict[str, int | None]:
    """Pixels of the mask of each slice; `None` where it is unlabelled."""
    cases = read_set("dicom", root, root.parent / "cache", options)
    return {case.id: int(decode(case)[1].sum()) if case.mask else None for case in cases}


def notes(root: Path, **options: object) -> tuple[list[Case], list[Problem]]:
    noted: list[Problem] = []
    return read_set("dicom", root, root.parent / "cache", options, noted.append), noted


@pytest.mark.parametrize("sources", [True, False])
def test_frames_find_their_image_by_reference_or_position(tmp_path: Path, sources: bool):
    root = tmp_path / "study"
    uids = write_series(root / "t1")
    write_seg(
        root / "seg.dcm",
        [SPOT, SPOT * 0],
        sources=[uids[2], uids[0]] if sources else None,
        places=[4.0, 0.0],
    )
    assert read(root) == {"t1-0": 0, "t1-1": 0, "t1-2": SPOT.sum()}


@pytest.mark.parametrize(
    "tags",
    [
        {"places": [2.0, 9.0]},
        {"places": [2.0, 5.0]},
        {"places": [0.0, 2.0], "StudyInstanceUID": "1.3"},
        {"places": [0.0, 2.0], "PatientID": "bert"},
        {"places": [0.0, 2.0], "FrameOfReferenceUID": "1.8"},
        {"places": [0.0, 2.0], "directions": [0, 1, 0, 1, 0, 0]},
        {"sources": ["1.5", "1.6"]},
        {},
    ],
)
def test_frames_that_belong_to_no_image_are_refused(tmp_path: Path, tags: dict):
    root = tmp_path / "study"
    write_series(root / "t1", FrameOfReferenceUID="1.7")
    write_seg(root / "seg.dcm", [SPOT, SPOT], **tags)
    with pytest.raises(InputError, match=r"seg.dcm: [12] of 2 frames show something, but belong"):
        read(root)
    cases, noted = notes(root)
    assert [problem.kind for problem in noted] == ["mask"]
    assert all(case.label is None for case in cases if case.mask is None)
    assert sum(case.mask is None for case in cases) >= 2  # never "without tumour"


def test_frames_lie_in_all_series_of_their_space_or_in_those_they_name(tmp_path: Path):
    root = tmp_path / "study"
    for number, name in enumerate(("t1", "flair")):
        write_series(root / name, SeriesInstanceUID=f"1.2.{number}", FrameOfReferenceUID="1.7")
    write_seg(root / "seg.dcm", [SPOT], places=[2.0], FrameOfReferenceUID="1.7")
    assert [name for name, count in read(root).items() if count] == ["flair-1", "t1-1"]
    series = Sequence([item(SeriesInstanceUID="1.2.0")])
    write_seg(root / "seg.dcm", [SPOT], places=[2.0], ReferencedSeriesSequence=series)
    found = read(root)
    assert [name for name, count in found.items() if count] == ["t1-1"]
    assert found["flair-1"] is None


def test_a_frame_beside_the_image_that_it_names_is_refused(tmp_path: Path):
    root = tmp_path / "study"
    uids = write_series(root / "t1")
    for wrong in ({"places": [9.0]}, {"places": [2.0], "directions": [-1, 0, 0, 0, 1, 0]}):
        write_seg(root / "seg.dcm", [SPOT], sources=[uids[1]], **wrong)
        with pytest.raises(InputError, match=r"names .*1.dcm as its image, but lies elsewhere"):
            read(root)


def test_segments_must_be_chosen(tmp_path: Path):
    root = tmp_path / "study"
    uids = write_series(root)
    left, right = SPOT.copy(), SPOT.copy()
    left[:, 7:], right[:, :7] = False, False
    write_seg(
        root / "seg.dcm",
        [left, right],
        sources=[uids[1]] * 2,
        numbers=[1, 2],
        names=("Brain", "Tumour"),
    )
    with pytest.raises(InputError, match=r"seg.dcm: Brain,Tumour. Choose .*--option segments=…"):
        read(root)
    assert read(root, segments="tumour")["1"] == right.sum()
    assert read(root, segments=[1, 2])["1"] == SPOT.sum()
    with pytest.raises(InputError, match=r"Unknown segment Tumor. .*Did you mean Tumour"):
        read(root, segments="Tumor")


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("FRACTIONAL", SPOT * 128, SPOT.sum()),
        ("FRACTIONAL", SPOT * 127, 0),
        ("LABELMAP", SPOT * 2, SPOT.sum()),
    ],
)
def test_fractions_and_label_maps(tmp_path: Path, kind: str, values: np.ndarray, expected: int):
    root = tmp_path / "study"
    uids = write_series(root)
    tags = {"SegmentationType": kind, "MaximumFractionalValue": 255}
    write_seg(
        root / "seg.dcm",
        [values],
        sources=[uids[1]],
        names=("a", "A"),
        **tags,
        numbers=None if kind == "LABELMAP" else [2],
    )
    assert read(root)["1"] == expected


def test_single_bits_are_unpacked(tmp_path: Path):
    root = tmp_path / "study"
    uids = write_series(root)
    bits = np.packbits(np.stack([SPOT, ~SPOT & False]).ravel(), bitorder="little").tobytes()
    write_seg(
        root / "seg.dcm",
        [SPOT, SPOT],
        sources=uids[:2],
        BitsAllocated=1,
        BitsStored=1,
        HighBit=0,
        PixelData=bits,
    )
    assert read(root) == {"0": SPOT.sum(), "1": 0, "2": 0}


@pytest.mark.parametrize(
    "name", ["1.dcm", "1.png", "1.PNG", "1_mask.png", "1-seg.dcm", "1.dcm.png"]
)
def test_drawn_masks_are_found_by_name(tmp_path: Path, save, name: str):
    root = tmp_path / "study"
    write_series(root / "Images")
    if name.endswith("dcm"):
        write_dicom(root / "Masks" / name, SPOT.astype(int), RescaleSlope=0, RescaleIntercept=7)
    else:
        save(root / "Masks" / name, SPOT.astype(np.uint8) * 255)
    assert read(root) == {"Images-0": 0, "Images-1": SPOT.sum(), "Images-2": 0}
    _, noted = notes(root)
    assert [problem.fatal for problem in noted] == [False]
    assert noted[0].message.startswith("2 slices have no mask though others of their series do")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["7.png"], "The mask .*7.png fits no image. Expected one image of its name"),
        (["1.png", "1_mask.png"], r"1.dcm has several masks: .*1.png, .*1_mask.png. Keep one"),
        (["0.png", "1.npy"], "1.npy is neither DICOM nor a picture. Convert it"),
        (["0.png", "broken.dcm"], "broken.dcm cannot be read as a DICOM image"),
    ],
)
def test_masks_without_their_image_are_refused(tmp_path: Path, save, names, message: str):
    root = tmp_path / "study"
    write_series(root / "images")
    for name in names:
        save(root / "masks" / "x.png", SPOT.astype(np.uint8) * 255).rename(root / "masks" / name)
    with pytest.raises(InputError, match=message):
        read(root)
    cases, noted = notes(root)
    assert sum(problem.fatal for problem in noted) == 1
    unsure = ["images-1"] if "1.npy" in names else ["images-1", "images-2"]  # 1.npy is of 1.dcm
    assert not [case for case in cases if case.label == "notumor" and case.id in unsure]


def test_a_label_map_in_dicom_must_be_chosen(tmp_path: Path):
    root = tmp_path / "study"
    write_series(root / "images", 1)
    values = SPOT * 1
    values[5] *= 4
    write_dicom(root / "masks" / "0.dcm", values)
    with pytest.raises(InputError, match=r"beside 0 it has 1,4.*--option labels=1,4"):
        read(root)
    assert read(root, labels=[4]) == {"images-0": 4}


def test_the_masks_of_a_brain_are_refused(tmp_path: Path):
    root = tmp_path / "study"
    write_series(root / "images")
    for k in range(3):
        write_dicom(root / "masks" / f"{k}.dcm", (RAMP > 1400).astype(int))  # 60 % of each slice
    with pytest.raises(InputError, match=r"The mask of the series in .* of the head"):
        read(root)


@pytest.mark.parametrize(
    ("tags", "signed"),
    [
        ({"PixelPaddingValue": 0}, False),
        ({"PixelPaddingValue": 63536}, False),
        ({"PixelPaddingValue": -2000}, True),
        ({"PixelPaddingValue": -32768, "PixelPaddingRangeLimit": -2000}, True),
    ],
)
@pytest.mark.parametrize("falls", [False, True])
def test_padding_is_black_and_does_not_count(tmp_path: Path, tags, signed: bool, falls: bool):
    pixels = RAMP + 100
    padded = pixels.copy()
    padded[:3] = tags["PixelPaddingValue"]
    kind = "<i2" if signed else "<u2"
    path = tmp_path / "1.dcm"
    write_dicom(
        path,
        RAMP,
        PixelRepresentation=int(signed),
        PixelData=padded.astype(kind).tobytes(),
        PhotometricInterpretation="MONOCHROME1" if falls else "MONOCHROME2",
        **tags,
    )
    found = read_slice(path)
    assert not found[:3].any()
    inside = pixels[3:]
    values = inside.max() + inside.min() - inside if falls else inside
    np.testing.assert_allclose(found[3:], values / values.max() * 255, atol=1)


def test_a_falling_scale_is_turned(tmp_path: Path):
    write_dicom(tmp_path / "1.dcm", RAMP, RescaleSlope=-1, RescaleIntercept=4000)
    found = read_slice(tmp_path / "1.dcm")
    assert (found[0, 0], found[-1, -1]) == (255, 0)


def test_a_slice_of_nothing_but_padding_is_black(tmp_path: Path):
    write_dicom(tmp_path / "1.dcm", RAMP * 0, PixelPaddingValue=0)
    assert not read_slice(tmp_path / "1.dcm").any()


RGB = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (RGB, r"holds colours \(RGB\). Expected grey pixels"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, r"holds colours \(PALETTE COLOR\)"),
        ({"Rows": 65535, "Columns": 65535, "NumberOfFrames": 9}, "more than 536,870,912 values"),
        ({"Rows": 9000, "Columns": 9000}, "cannot be read as a DICOM image"),
        ({"NumberOfFrames": 2, "Rows": 5}, "holds 2 frames. Expected one grey slice per file"),
    ],
)
def test_what_is_no_grey_slice_is_refused(tmp_path: Path, tags: dict, message: str):
    write_dicom(tmp_path / "1.dcm", RAMP, **tags)
    with pytest.raises(InputError, match=message):
        read_slice(tmp_path / "1.dcm")


def deflate(source: Path, target: Path, more: int) -> Path:
    """The file with its dataset deflated, after which zeros follow."""
    dataset = pydicom.dcmread(source)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(target, enforce_file_format=True)
    content = target.read_bytes()
    start = 144 + read_file_meta_info(target).FileMetaInformationGroupLength
    pack = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    inflated = zlib.decompress(content[start:], -zlib.MAX_WBITS)
    packed = pack.compress(inflated) + b"".join(pack.compress(bytes(2**20)) for _ in range(more))
    target.write_bytes(content[:start] + packed + pack.flush())
    return target


def test_a_deflated_file_is_read_and_a_bomb_is_not(tmp_path: Path, monkeypatch):
    write_dicom(tmp_path / "1.dcm", RAMP)
    small = deflate(tmp_path / "1.dcm", tmp_path / "2.dcm", 0)
    np.testing.assert_array_equal(read_slice(small), read_slice(tmp_path / "1.dcm"))
    monkeypatch.setattr("brainseg.data.layouts.dicom_file.MOST_BYTES", 2**22)
    bomb = deflate(tmp_path / "1.dcm", tmp_path / "3.dcm", 8)
    assert bomb.stat().st_size < 2**15
    with pytest.raises(InputError, match="inflates to more than"):
        read_header(bomb)


def test_contours_are_truth_that_is_not_read(tmp_path: Path):
    root = tmp_path / "study"
    write_series(root / "t1")
    write_dicom(root / "rs.dcm", RAMP, Modality="RTSTRUCT")
    with pytest.raises(InputError, match=r"rs.dcm holds contours \(RTSTRUCT\), which are not read"):
        read(root)


def test_what_is_not_read_is_named(tmp_path: Path):
    root = tmp_path / "study"
    write_series(root / "t1")
    for path in root.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.add_new(0x60000010, "US", 10)
        dataset.save_as(path)
    report = pydicom.dcmread(root / "t1" / "0.dcm")
    for name in ("PixelData", "Rows", "Columns"):
        delattr(report, name)
    report.save_as(root / "report.dcm")
    (root / "notes.txt").touch()
    _, noted = notes(root)
    assert not any(problem.fatal for problem in noted)
    told = " ".join(problem.message for problem in noted)
    assert f"1 files are no DICOM, and not read: {root}/notes.txt." in told
    assert f"1 DICOM files hold no pixels: {root}/report.dcm." in told
    assert "3 images carry overlays (60xx), which are not read" in told


@pytest.mark.parametrize(("name", "doubtful"), [("", True), (" ANONYMOUS ", True), ("P 1", False)])
def test_studies_of_nobody_are_told(tmp_path: Path, name: str, doubtful: bool):
    for k in range(2):
        write_series(
            tmp_path / "set" / str(k),
            1,
            StudyInstanceUID=f"1.{k}",
            SeriesInstanceUID=f"1.{k}.1",
            PatientID=name,
        )
    cases, noted = notes(tmp_path / "set")
    assert [problem.kind for problem in noted] == ["patient"] * doubtful
    assert {case.patient for case in cases} == ({name.strip()} if name else {"1.0", "1.1"})


def test_patients_whose_names_differ_in_writing_are_told(tmp_path: Path):
    for k, name in enumerate(("PAT-01", "pat 01", "PAT-02")):
        write_series(tmp_path / "set" / str(k), 1, StudyInstanceUID=f"1.{k}", PatientID=name)
    _, noted = notes(tmp_path / "set")
    assert [problem.kind for problem in noted] == ["patient"]
    assert "'PAT-01', 'pat 01' count as different patients" in noted[0].message


def test_identifiers_lead_nowhere_else(tmp_path: Path):
    root = tmp_path / "a" / "set"
    write_series(root / "..x" / "y", 1, PatientID="../../../etc/[/bold]")
    write_series(root / "z", 1, PatientID="../../../etc/[/bold]")
    cases = read_set("dicom", root, tmp_path / "cache")
    (made,) = (tmp_path / "cache").iterdir()
    assert {case.image.parent for case in cases} == {made / "images"}
    assert {case.patient for case in cases} == {"../../../etc/[/bold]"}


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("dicom")
    write_seg(folder / "seg.dcm", [SPOT], places=[2.0])
    return (folder / "seg.dcm").read_bytes()


@settings(max_examples=150, suppress_health_check=list(HealthCheck), deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 255)), max_size=6),
    st.integers(100, 3000),
)
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, content: bytes, places, length: int):
    damaged = bytearray(content)
    for place, value in places:
        damaged[place % len(damaged)] = value
    path = tmp_path / "study" / "seg.dcm"
    write_series(tmp_path / "study", 2)
    path.write_bytes(bytes(damaged)[:length])
    cases, noted = notes(tmp_path / "study")
    assert {case.id for case in cases} <= {"0", "1", "seg"}
    assert all(decode(case)[1].shape == RAMP.shape for case in cases if case.mask)
    assert all(str(tmp_path) in problem.message for problem in noted)


def test_masks_may_lie_in_the_folder_of_each_patient(tmp_path: Path, save):
    root = tmp_path / "study"
    for name in ("P1", "P2"):
        series = f"1.2.{name[1]}"
        write_dicom(root / name / "images" / "1.dcm", RAMP, SeriesInstanceUID=series)
    write_dicom(root / "P1" / "masks" / "1.dcm", SPOT.astype(int))
    save(root / "P2" / "Masks" / "1.png", SPOT.astype(np.uint8) * 255)
    assert read(root) == {"P1-images-1": SPOT.sum(), "P2-images-1": SPOT.sum()}


def test_files_without_a_preamble_are_read(tmp_path: Path):
    root = tmp_path / "study"
    write_dicom(root / "1.dcm", RAMP)
    expected = read_slice(root / "1.dcm")
    dataset, bare = pydicom.dcmread(root / "1.dcm"), pydicom.Dataset()
    bare.update(dataset)
    bare.save_as(root / "1.dcm", implicit_vr=True, little_endian=True)
    np.testing.assert_array_equal(read_slice(root / "1.dcm"), expected)
    assert read_header(root / "1.dcm").patient == "anna"


def test_a_mask_that_inherits_lossy_from_its_image_is_read(tmp_path: Path):
    root = tmp_path / "study"
    write_series(root / "images")
    write_dicom(root / "masks" / "1.dcm", SPOT.astype(int), LossyImageCompression="01")
    assert read(root)["images-1"] == SPOT.sum()


@pytest.mark.parametrize("folder", ["masks", "Segmentations", "seg", "labels"])
def test_folders_of_masks_by_their_usual_names(tmp_path: Path, folder: str):
    root = tmp_path / "study"
    write_series(root / "images")
    write_dicom(root / folder / "1.dcm", SPOT.astype(int))
    assert read(root) == {"images-0": 0, "images-1": SPOT.sum(), "images-2": 0}


def test_a_mask_among_the_images_is_told(tmp_path: Path):
    root = tmp_path / "study"
    write_series(root / "a")
    write_dicom(root / "drawn" / "1.dcm", SPOT.astype(int))
    with pytest.raises(InputError, match=r"1.dcm has two values, as a mask does"):
        read(root)
