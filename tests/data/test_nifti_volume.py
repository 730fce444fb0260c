"""One NIfTI volume from a file that may be anything: the right numbers, or what is wrong."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from brainseg.data.layouts.nifti_volume import LARGEST, load_volume, read_volume
from brainseg.errors import InputError

SHAPE = (12, 10, 8)
AFFINE = np.diag([1.0, 2.0, 3.0, 1.0])
VALUES = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
SPOT = np.zeros(SHAPE, np.uint8)
SPOT[3:6, 3:6, 3:6] = 1


def write(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE, **fields: object) -> Path:
    volume = nib.Nifti1Image(values, affine)
    for name, value in fields.items():
        volume.header[name] = value
    nib.save(volume, path)
    return path


def patched(path: Path, offset: int, kind: str, *values: float) -> Path:
    """The file with some bytes of its header replaced."""
    content = bytearray(write(path, VALUES).read_bytes())
    struct.pack_into(kind, content, offset, *values)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "A.NII", "A.NII.GZ", "a.Nii.gz"])
@pytest.mark.parametrize("shape", [SHAPE, (*SHAPE, 1), (*SHAPE, 1, 1)])
def test_values_are_read_whatever_the_ending(tmp_path: Path, name: str, shape: tuple[int, ...]):
    write(tmp_path / "plain.nii", VALUES.reshape(shape))
    content = (tmp_path / "plain.nii").read_bytes()
    packed = gzip.compress(content) if name.lower().endswith("gz") else content
    (tmp_path / name).write_bytes(packed)
    values, affine = load_volume(tmp_path / name)
    np.testing.assert_array_equal(values, VALUES)
    np.testing.assert_array_equal(affine, AFFINE)


def test_values_are_turned_to_the_right_front_and_top(tmp_path: Path):
    turned = np.flip(np.transpose(VALUES, (2, 0, 1)), 1)  # top, left, front
    affine = np.array([[0, -1, 0, 11], [0, 0, 2, 0], [3, 0, 0, 0], [0, 0, 0, 1]], float)
    values, placed = load_volume(write(tmp_path / "a.nii", turned, affine))
    np.testing.assert_array_equal(values, VALUES)
    np.testing.assert_allclose(placed, AFFINE)


def test_one_sequence_of_several_is_chosen(tmp_path: Path):
    path = write(tmp_path / "a.nii.gz", np.stack([VALUES, VALUES + 5], -1)[..., None])
    np.testing.assert_array_equal(load_volume(path, 1)[0], VALUES + 5)
    for channel in (None, 2, -1):
        with pytest.raises(InputError, match=r"holds 2 sequences.*channel=0 to 1; found"):
            load_volume(path, channel)


def test_scaled_values_are_what_the_header_says(tmp_path: Path):
    volume = nib.Nifti1Image(np.array(VALUES, np.float64) * 0.5 + 3, AFFINE)
    volume.set_data_dtype(np.int16)
    nib.save(volume, tmp_path / "a.nii")
    np.testing.assert_allclose(load_volume(tmp_path / "a.nii")[0], VALUES * 0.5 + 3, atol=0.01)


RGB = np.zeros(SHAPE, [(colour, "u1") for colour in "RGB"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (RGB, "holds colours. Expected a grey volume"),
        (VALUES.astype(np.complex64), "holds complex64. Expected a grey volume"),
        (VALUES[0], r"has 2 dimensions \(10 × 8\). Expected a volume of three"),
        (np.stack([VALUES] * 3, -1)[..., None, :], r"has 5 dimensions \(12 × 10 × 8 × 1 × 3\)"),
    ],
)
def test_what_is_no_grey_volume_is_refused(tmp_path: Path, values: np.ndarray, message: str):
    with pytest.raises(InputError, match=message):
        load_volume(write(tmp_path / "a.nii.gz", values))


NAN = float("nan")


@pytest.mark.parametrize(
    ("offset", "kind", "values", "message"),
    [
        (40, "<8h", (3, 32767, 32767, 32767, 1, 1, 1, 1), "which cannot be in it"),
        (40, "<8h", (4, 12, 10, 8, 2, 1, 1, 1), "which cannot be in it"),
        (40, "<8h", (3, -12, 10, 8, 1, 1, 1, 1), "which cannot be in it"),
        (40, "<8h", (3, 0, 10, 8, 1, 1, 1, 1), "which cannot be in it"),
        (108, "<f", (NAN,), "which cannot be in it"),
        (108, "<f", (1e9,), "which cannot be in it"),
        (70, "<h", (999,), "cannot be read as a NIfTI volume"),
        (116, "<f", (NAN,), "cannot be read as a NIfTI volume"),
        (344, "<4s", (b"ni1\0",), "is no single NIfTI file"),
        (280, "<4f", (NAN,) * 4, "has no usable position"),
        (280, "<12f", (0.0,) * 12, "has no usable position"),
        (280, "<f", (1e38,), "has no usable position"),
        (252, "<2h3f", (1, 2, 0, 0, 1), r"axes point to LPS \(qform\) and to RAS \(sform\)"),
    ],
)
def test_headers_that_cannot_be_true_are_refused_before_memory_is_taken(
    tmp_path: Path, offset: int, kind: str, values: tuple, message: str
):
    with pytest.raises(InputError, match=message):
        load_volume(patched(tmp_path / "a.nii", offset, kind, *values))


def test_a_bomb_is_refused_by_what_it_declares(tmp_path: Path):
    path = patched(tmp_path / "a.nii", 40, "<8h", 3, 1024, 1024, 1024, 1, 1, 1, 1)
    packed = tmp_path / "bomb.nii.gz"
    packed.write_bytes(gzip.compress(path.read_bytes() + bytes(2**22)))
    with pytest.raises(InputError, match="which cannot be in it"):  # 2 GiB of a few KiB
        load_volume(packed)
    with packed.open("ab") as file:
        file.truncate(2**22)
    with pytest.raises(InputError, match=f"more than {LARGEST:,} in a volume"):
        load_volume(packed)


def test_extensions_of_the_header_are_not_read(tmp_path: Path):
    content = bytearray(write(tmp_path / "a.nii", VALUES).read_bytes())
    lie = struct.pack("<4B2i", 1, 0, 0, 0, -16, 6) + bytes(20)
    struct.pack_into("<f", content, 108, 352.0 + 32)
    (tmp_path / "a.nii").write_bytes(content[:348] + lie + bytes(4) + content[352:])
    np.testing.assert_array_equal(load_volume(tmp_path / "a.nii")[0], VALUES)


@pytest.mark.parametrize(
    ("labels", "marked", "expected"),
    [
        (None, SPOT, SPOT > 0),
        (None, SPOT * np.float32(0.9999), SPOT > 0),
        ([1, 4], SPOT * 4, SPOT > 0),
        ([1, 2], SPOT * 4, SPOT > 1),
    ],
)
def test_labels_are_read_by_their_values(tmp_path: Path, labels, marked, expected):
    image = write(tmp_path / "image.nii", VALUES)
    label = write(tmp_path / "label.nii", marked)
    np.testing.assert_array_equal(read_volume(image, label, labels=labels)[1], expected)


MAP = SPOT * 1
MAP[4, 3:6, 3:6], MAP[5, 3:6, 3:6] = 2, 4


@pytest.mark.parametrize(
    ("marked", "message"),
    [
        (MAP, r"beside 0 it has 1,2,4.*data.labels=\[1,2,4\].*--option labels=1,2,4"),
        (VALUES, "is not a mask: it has 959 values"),
        ((VALUES > 100).astype(np.uint8), "of the head. Expected the mask of a tumour"),
        (np.stack([SPOT, 1 - SPOT], -1), "label.nii holds 2 sequences.*Label volumes must hold"),
        (SPOT[:-1], "Expected two volumes of the same three dimensions"),
        (np.where(SPOT, np.float32(1), np.float32(np.nan)), "not finite"),
    ],
)
def test_a_label_volume_that_is_no_mask_is_refused(tmp_path: Path, marked, message: str):
    image = write(tmp_path / "image.nii", VALUES)
    with pytest.raises(InputError, match=message):
        read_volume(image, write(tmp_path / "label.nii", marked))


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("volumes")
    return {
        ending: write(folder / f"a{ending}", VALUES).read_bytes() for ending in (".nii", ".nii.gz")
    }


Damage = Callable[[bytes], bytes]


def flip(content: bytes, places: list[tuple[int, int]]) -> bytes:
    damaged = bytearray(content)
    for place, value in places:
        damaged[place % len(damaged)] = value
    return bytes(damaged)


@settings(max_examples=300, suppress_health_check=list(HealthCheck), deadline=None)
@given(
    st.sampled_from([".nii", ".nii.gz"]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),
    st.integers(0, 3000),
)
@example(".nii", [(42, 0)], 3000)
@example(".nii", [(40, 0), (41, 0)], 3000)
@example(".nii.gz", [(20, 255)], 3000)
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, contents, ending, places, length):
    path = tmp_path / f"damaged{ending}"
    path.write_bytes(flip(contents[ending], places)[:length])
    try:
        values, affine = load_volume(path)
    except InputError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert values.ndim == 3
        assert np.isfinite(affine).all()
