"""Figshare's MATLAB files: what is missing, of another kind or elsewhere is one named problem."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from brainseg.data.case import Problem
from brainseg.data.image import decode_case, read_image, read_mask
from brainseg.data.layouts.figshare import find_mats, read_mat_labels, read_mats
from brainseg.errors import InputError

FIELDS = {
    "label": np.array([[1.0]]),
    "PID": np.array([[ord(letter)] for letter in "MR262B"], np.uint16),
    "image": np.arange(48, dtype=np.int16).reshape(8, 6) * 20,
    "tumorMask": np.eye(8, 6, dtype=np.uint8),
}


def write_mat(path: Path, **changed: object) -> Path:
    with h5py.File(path, "w") as file:
        group = file.create_group("cjdata")
        for name, value in (FIELDS | changed).items():
            if isinstance(value, h5py.ExternalLink | h5py.SoftLink):
                group[name] = value
            elif value is not None:
                group.create_dataset(name, data=value)
    return path


def test_a_whole_file(tmp_path: Path):
    path = write_mat(tmp_path / "1.MAT")
    assert read_mat_labels(path) == ("meningioma", "MR262")
    decoded, mask = decode_case(path, path)
    assert np.array_equal(mask, FIELDS["tumorMask"].T)
    assert decoded.pixels.shape == (6, 8)
    assert find_mats(tmp_path) == [path]


def test_a_patient_may_be_text(tmp_path: Path):
    assert read_mat_labels(write_mat(tmp_path / "1.mat", PID="MR1"))[1] == "MR1"


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize(
    "value",
    [
        None,
        np.zeros((3, 3, 3)),
        np.zeros((0, 0)),
        np.array([1 + 2j]),
        "text",
        np.array([[np.nan]]),
        h5py.ExternalLink("other.mat", "/cjdata/image"),
        h5py.SoftLink("/cjdata/nowhere"),
    ],
)
def test_each_field_is_checked(tmp_path: Path, name: str, value: object):
    write_mat(tmp_path / "other.mat")
    path = write_mat(tmp_path / "1.mat", **{name: value})
    if name == "PID" and isinstance(value, str):
        return
    with pytest.raises(InputError, match=r"1\.mat"):
        decode_case(path, path), read_mat_labels(path)


def test_image_and_mask_of_different_shapes(tmp_path: Path):
    path = write_mat(tmp_path / "1.mat", tumorMask=np.zeros((8, 7), np.uint8))
    with pytest.raises(InputError, match=r"6×8|8×6"):
        decode_case(path, path)


@pytest.mark.parametrize("options", [{}, {"chunks": (100, 100), "compression": "gzip"}])
def test_a_declared_size_is_refused_before_memory_is_taken(tmp_path: Path, options: dict):
    with h5py.File(tmp_path / "1.mat", "w") as file:
        shape = (200_000, 200_000)
        field = file.create_dataset("cjdata/image", shape, np.int16, **options)
        if options:
            field[:100, :100] = 1
    with pytest.raises(InputError, match=r"1\.mat"):
        read_image(tmp_path / "1.mat")


def test_values_in_other_files_are_refused(tmp_path: Path):
    write_mat(tmp_path / "other.mat")
    (tmp_path / "secret").write_bytes(bytes(96))
    with h5py.File(tmp_path / "1.mat", "w") as file:
        group = file.create_group("cjdata")
        external = [(str(tmp_path / "secret"), 0, 96)]
        group.create_dataset("image", (8, 6), np.int16, external=external)
        layout = h5py.VirtualLayout((8, 6), np.int16)
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.mat"), "cjdata/image", (8, 6))
        group.create_virtual_dataset("tumorMask", layout)
    for read in (read_image, read_mask):
        with pytest.raises(InputError, match="could be any file"):
            read(tmp_path / "1.mat")


def test_version_5_is_told(tmp_path: Path):
    savemat(tmp_path / "1.mat", {"cjdata": {"image": np.zeros((4, 4))}})
    with pytest.raises(InputError, match=r"version 5: save it with -v7\.3"):
        read_image(tmp_path / "1.mat")


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9])
def test_a_truncated_file_is_named(tmp_path: Path, share: float):
    data = write_mat(tmp_path / "1.mat").read_bytes()
    (tmp_path / "1.mat").write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match=r"1\.mat"):
        read_image(tmp_path / "1.mat")


def test_other_matlab_files_are_counted_and_bad_folds_noted(tmp_path: Path):
    write_mat(tmp_path / "1.mat")
    write_mat(tmp_path / "extra.mat")
    savemat(tmp_path / "CVIND.mat", {"cvind": np.array([[1.5]])})
    noted: list[Problem] = []
    (case,) = read_mats(tmp_path, noted.append, (1.0,))
    assert case.labels == (1.0,)
    assert [(problem.kind, problem.fatal) for problem in noted] == [
        ("layout", True),
        ("layout", False),
    ]
    assert "whole numbers from 1" in noted[0].message
    assert "1 MATLAB files" in noted[1].message
