"""Any file of any format: a right result, or an `InputError` that names it."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from brainseg.data.case import Problem
from brainseg.data.image import read_image, read_mask
from brainseg.data.intensity import to_grey
from brainseg.data.layouts.folder import read_folder
from brainseg.data.layouts.labels import read_labels
from brainseg.data.mask import parse_labels, to_mask
from brainseg.errors import InputError
from brainseg.predict.algorithm import Algorithm
from brainseg.predict.inputs import find_inputs, unique_stems
from brainseg.predict.settings import Settings

fuzz = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

GREY = (np.arange(20 * 24).reshape(20, 24) // 2).astype(np.uint8)
DEEP = GREY.astype(np.uint16) * 257


def pack(pixels: np.ndarray, kind: str, mode: str | None = None, **options: object) -> bytes:
    packed, image = io.BytesIO(), Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(packed, kind, **options)
    return packed.getvalue()


def pack_tiff(pixels: np.ndarray, **options: object) -> bytes:
    packed = io.BytesIO()
    tifffile.imwrite(packed, pixels, **options)
    return packed.getvalue()


def pack_mat() -> bytes:
    packed = io.BytesIO()
    with h5py.File(packed, "w") as file:
        file["cjdata/image"] = DEEP
        file["cjdata/tumorMask"] = GREY > 200
    return packed.getvalue()


FILES: dict[str, bytes] = {
    "grey.png": pack(GREY, "PNG"),
    "palette.png": pack(GREY, "PNG", "P"),
    "rgba.png": pack(GREY, "PNG", "RGBA"),
    "deep.png": pack(DEEP, "PNG"),
    "deeprgb.png": cv2.imencode(".png", np.dstack([DEEP] * 3))[1].tobytes(),
    "grey.jpg": pack(GREY, "JPEG"),
    "rgb.jpg": pack(GREY, "JPEG", "RGB"),
    "cmyk.jpg": pack(GREY, "JPEG", "CMYK"),
    "grey.bmp": pack(GREY, "BMP"),
    "grey.gif.png": pack(GREY, "GIF"),
    "grey.webp.png": pack(GREY, "WEBP"),
    "lzw.tif": pack(GREY, "TIFF", compression="tiff_lzw"),
    "deep.tif": pack_tiff(DEEP),
    "deeprgb.tif": pack_tiff(np.dstack([DEEP] * 3), photometric="rgb"),
    "floats.tif": pack_tiff(np.dstack([DEEP.astype(np.float32)] * 3), photometric="rgb"),
    "pages.tif": pack_tiff(np.stack([GREY] * 3), photometric="minisblack"),
    "figshare.mat": pack_mat(),
}


def attempt(name: str, work: Callable, *given: object) -> Any:
    """The result, or `None` where an `InputError` named what was wrong."""
    try:
        return work(*given)
    except InputError as error:
        message = str(error)
    assert name in message
    return None


def try_reading(path: Path) -> None:
    for read in (read_image, read_mask):
        found = attempt(path.name, read, path)
        assert found is None or found.ndim == 2


@fuzz
@given(name=st.sampled_from(sorted(FILES)), data=st.data())
def test_damaged_files_are_named(tmp_path: Path, name: str, data: st.DataObject):
    content = bytearray(FILES[name])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(content))))
    (tmp_path / name).write_bytes(bytes(content[:cut]))
    try_reading(tmp_path / name)


@fuzz
@given(content=st.binary(max_size=300), suffix=st.sampled_from([".png", ".tif", ".jpg", ".mat"]))
@example(b"II*\0\x08\0\0\0", ".tif")
@example(b"MM\0*\0\0\0\x08\xff\xff", ".tif")
@example(b"\x89HDF\r\n\x1a\n", ".mat")
@example(b"MATLAB 5.0 MAT-file", ".mat")
def test_garbage_is_named(tmp_path: Path, content: bytes, suffix: str):
    (tmp_path / f"a{suffix}").write_bytes(content)
    try_reading(tmp_path / f"a{suffix}")


KINDS = [np.uint8, np.uint16, np.uint32, np.int8, np.int16, np.int32, np.float32, np.float64]
SHAPES = st.one_of(
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([3, 4])),
)


@fuzz
@given(
    pixels=st.sampled_from(KINDS).flatmap(lambda kind: hnp.arrays(kind, SHAPES)),
    photometric=st.sampled_from(["minisblack", "miniswhite", None]),
    orientation=st.integers(1, 8),
)
def test_tiff_of_any_shape_and_type(
    tmp_path: Path, pixels: np.ndarray, photometric: str | None, orientation: int
):
    chosen = "rgb" if pixels.ndim == 3 else photometric
    tags = [(274, "H", 1, orientation, True)]
    try:
        content = pack_tiff(pixels, photometric=chosen, extratags=tags)
    except ValueError:  # no TIFF holds that
        return
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    found = attempt(path.name, read_image, path)
    if found is None:
        return
    turned = pixels.shape[:2] if orientation < 5 else pixels.shape[1::-1]
    assert found.shape == turned
    assert found.dtype == np.uint8


@fuzz
@given(
    pixels=hnp.arrays(
        st.sampled_from([np.uint8, np.uint16]), hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)
    ),
    layers=st.integers(1, 4),
)
def test_grey_png_of_any_depth_is_read_whole(tmp_path: Path, pixels: np.ndarray, layers: int):
    path = tmp_path / "a.png"
    opaque = np.full_like(pixels, np.iinfo(pixels.dtype).max)
    stack = {1: pixels, 2: pixels, 3: np.dstack([pixels] * 3)}.get(
        layers, np.dstack([pixels, pixels, pixels, opaque])
    )
    cv2.imwrite(str(path), stack)
    found = read_image(path)
    if pixels.dtype == np.uint8:
        assert np.array_equal(found, pixels)
    else:
        assert np.array_equal(found, to_grey(pixels, ""))


@fuzz
@given(values=st.sampled_from(KINDS).flatmap(lambda kind: hnp.arrays(kind, SHAPES)))
@example(values=np.array([[-1.6e305, 1.79e308]]))
@example(values=np.array([[0, 5e-324]]))
def test_intensities_of_any_kind(values: np.ndarray):
    grey = attempt("a ", to_grey, values, "a")
    if grey is None:
        return
    assert grey.shape == values.shape
    assert grey.dtype == np.uint8


@fuzz
@given(
    values=st.sampled_from(KINDS).flatmap(lambda kind: hnp.arrays(kind, SHAPES)),
    labels=st.one_of(st.none(), st.lists(st.integers(1, 9), min_size=1, max_size=3)),
    lossy=st.booleans(),
)
@example(values=np.array([[3e-55]]), labels=None, lossy=False)
@example(values=np.array([[np.inf]], np.float32), labels=None, lossy=False)
def test_masks_of_any_kind(values: np.ndarray, labels: list[float] | None, lossy: bool):
    mask = attempt("a ", to_mask, values, "a", labels, lossy)
    if mask is None:
        return
    assert mask.shape == values.shape
    assert mask.dtype == bool
    if labels is None and not lossy:
        assert mask.any() == (values > 0).any()


LINE = st.lists(st.text(max_size=9), min_size=1, max_size=5).map(",".join)


@fuzz
@given(
    content=st.one_of(
        st.binary(max_size=200),
        st.lists(LINE, max_size=6).map(lambda lines: "\n".join(["id,class,patient", *lines])),
    )
)
def test_any_table_is_read_or_one_problem(tmp_path: Path, content: bytes | str):
    data = content if isinstance(content, bytes) else content.encode(errors="surrogatepass")
    (tmp_path / "labels.csv").write_bytes(data)
    noted: list[Problem] = []
    for row in read_labels(tmp_path, ["a"], noted.append).values():
        assert {"id", "class", "patient"} <= row.keys()
    assert all(problem.path.endswith("labels.csv") for problem in noted)


NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40
).filter(lambda name: name not in (".", ".."))


@fuzz
@given(names=st.lists(NAMES, min_size=1, max_size=6, unique=True))
@example(names=["a.png", "A.PNG", "[bold].png", "=1+1.png", "-.png", "\n.png", "..png"])
def test_any_names_of_files(tmp_path_factory: pytest.TempPathFactory, names: list[str]):
    root = tmp_path_factory.mktemp("names")
    for part in ("images", "masks"):
        (root / part).mkdir()
        for name in names:
            (root / part / name).write_bytes(FILES["grey.png"])
    noted: list[Problem] = []
    cases = read_folder(root, on_problem=noted.append)
    assert len({case.id for case in cases}) == len(cases)
    assert all(case.mask is not None for case in cases)
    try:
        inputs = find_inputs([root / "images"], Settings(), Algorithm("0", "n", {}))
    except InputError:
        return
    stems = unique_stems([each.stem for each in inputs])
    assert len({stem.lower() for stem in stems}) == len(inputs)
    assert not any("/" in stem for stem in stems)


@fuzz
@given(
    given_labels=st.one_of(
        st.none(),
        st.text(max_size=8),
        st.floats(),
        st.integers(),
        st.lists(st.floats(), max_size=3),
    )
)
def test_any_choice_of_labels(given_labels: object):
    found = attempt("labels=", parse_labels, given_labels)
    assert found is None or all(label > 0 and label == int(label) for label in found)
