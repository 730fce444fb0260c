"""Networks whose answers are known, their packages, and DICOM studies of phantoms."""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from brainseg.files import hash_file, write_json
from brainseg.predict.page_files import copy_page
from brainseg.predict.serve import make_server
from brainseg.runtime.session import Unavailable
from brainseg.vocabulary import RESEARCH_ONLY

SIZE = 32


def write_network(path: Path, gain: float, offset: NDArray[np.float32]) -> Path:
    """Sigmoid(gain · image + offset), where `offset` is SIZE×SIZE or one number."""
    shape = ["batch", 1, SIZE, SIZE]
    constants = {"gain": np.array(gain, np.float32), "offset": np.asarray(offset, np.float32)}
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["image", "gain"], ["scaled"]),
            helper.make_node("Add", ["scaled", "offset"], ["logit"]),
            helper.make_node("Sigmoid", ["logit"], ["probability"]),
        ],
        "known",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tumour is what is brighter than half: Sigmoid((x - 0.5) · 50)."""
    path = tmp_path_factory.mktemp("model") / "model.fp32.onnx"
    return write_network(path, 50, np.float32(-25))


@pytest.fixture(scope="session")
def corner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tumour is the upper left corner of what is shown, whatever that is: 5 rows, 9 columns."""
    offset = np.full((SIZE, SIZE), -10, np.float32)
    offset[:5, :9] = 10
    return write_network(tmp_path_factory.mktemp("corner") / "model.fp32.onnx", 0, offset)


@pytest.fixture(scope="session")
def make_package() -> Callable[..., Path]:
    """Put a network, the page and the manifest of `brainseg package` into a folder."""

    def make(folder: Path, model: Path, **changes: object) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            copy_page(folder)
        except Unavailable as error:
            pytest.skip(str(error))
        (folder / model.name).write_bytes(model.read_bytes())
        known = {
            "format": 1,
            "name": "none-seed0",
            "mode": "fp32",
            "model": model.name,
            "model_sha256": hash_file(model),
            "image_size": SIZE,
            "threshold": 0.5,
            "best_threshold": 0.25,
            "plane": "axial",
            "keep_aspect": False,
            "brainseg": "0.1.0",
            "notice": RESEARCH_ONLY,
        }
        write_json(folder / "manifest.json", known | changes)
        return folder

    return make


@pytest.fixture(scope="module")
def serving() -> Iterator[Callable[[Path], str]]:
    """Serve a folder; returns its address."""
    servers = []

    def start(folder: Path) -> str:
        server = make_server(folder, 0)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_address[1]}/"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


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
