"""A network whose answer is known, and DICOM studies of phantoms."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

SIZE = 32


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tumour is what is brighter than half: Sigmoid((x - 0.5) · 50)."""
    shape = ["batch", 1, SIZE, SIZE]
    nodes = [
        helper.make_node("Sub", ["image", "half"], ["centred"]),
        helper.make_node("Mul", ["centred", "gain"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
    ]
    constants = [
        helper.make_tensor("half", TensorProto.FLOAT, [], [0.5]),
        helper.make_tensor("gain", TensorProto.FLOAT, [], [50.0]),
    ]
    graph = helper.make_graph(
        nodes,
        "threshold",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, shape)],
        constants,
    )
    path = tmp_path_factory.mktemp("model") / "model.fp32.onnx"
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


@pytest.fixture(scope="session")
def head() -> np.ndarray:
    """A volume of 9×24×20 voxels: a dim block, a bright one off every centre, a bright vessel.

    The vessel is in every slice, each of which DICOM images are scaled by.
    """
    random = np.random.default_rng(0)
    volume = np.zeros((9, 24, 20), np.uint8)
    volume[1:8, 2:22, 2:18] = random.integers(20, 80, (7, 20, 16))
    volume[2:5, 4:10, 11:16] = random.integers(180, 200, (3, 6, 5))
    volume[:, 17:20, 4:7] = random.integers(180, 200, (9, 3, 3))
    return volume


ORIGIN = np.array([-80.0, -90.0, 20.0])
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def make_slices(
    volume: np.ndarray,
    *,
    directions: Sequence[float] = AXIAL,
    spacing: tuple[float, float, float] = (3.0, 0.8, 0.9),
    **tags: object,
) -> list[Dataset]:
    """MR images of a series, with stored values of 16 bits.

    Args:
        volume: N×H×W.
        directions: ImageOrientationPatient.
        spacing: between slices, rows and columns, mm.
        tags: other elements; a value that can be called is given the number of the slice.
    """
    study, series, space = (generate_uid() for _ in range(3))
    normal = np.cross(directions[:3], directions[3:])
    slices = []
    for number, pixels in enumerate(volume):
        made = Dataset()
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = MRImageStorage
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = generate_uid()
        made.StudyInstanceUID, made.SeriesInstanceUID, made.FrameOfReferenceUID = (
            study,
            series,
            space,
        )
        made.PatientID, made.PatientName = "P1", "Phantom^One"
        made.PatientBirthDate = made.PatientSex = made.StudyID = made.AccessionNumber = ""
        made.StudyDate, made.StudyTime = "20260101", "120000"
        made.ReferringPhysicianName = made.PositionReferenceIndicator = ""
        made.Modality, made.SeriesNumber, made.InstanceNumber = "MR", 3, number + 1
        made.Manufacturer, made.SeriesDescription = "phantom", "t1 with contrast"
        made.ImageType = ["ORIGINAL", "PRIMARY", "M"]
        made.ScanningSequence, made.SequenceVariant, made.ScanOptions = "SE", "NONE", ""
        made.MRAcquisitionType, made.EchoTime, made.RepetitionTime = "2D", 10, 500
        made.EchoTrainLength, made.SliceThickness = 1, spacing[0]
        made.ImageOrientationPatient = list(directions)
        made.ImagePositionPatient = (
            (np.array([-80.0, -90.0, 20.0]) + number * spacing[0] * normal).round(6).tolist()
        )
        made.PixelSpacing = list(spacing[1:])
        made.Rows, made.Columns = pixels.shape
        made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
        made.BitsAllocated = made.BitsStored = 16
        made.HighBit, made.PixelRepresentation = 15, 0
        made.PixelData = (pixels.astype(np.uint16) * 10).tobytes()
        for name, value in tags.items():
            setattr(made, name, value(number) if callable(value) else value)
        slices.append(made)
    return slices


@pytest.fixture
def save_series() -> Callable[..., list[Dataset]]:
    """Writes slices of `make_slices` to a folder; file names need not follow their order."""

    def save(folder: Path, slices: list[Dataset], names: Sequence[str] = ()) -> list[Dataset]:
        folder.mkdir(parents=True, exist_ok=True)
        names = names or [f"{number:03d}.dcm" for number in range(len(slices))]
        for name, made in zip(names, slices, strict=True):
            dcmwrite(folder / name, made, enforce_file_format=True)
        return slices

    return save
