"""Decoding: what is grey in content becomes grey, what is not is refused."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from brainseg.data.image import (
    decode_case,
    decode_image,
    read_image,
    read_mask,
    resize_image,
    resize_mask,
)
from brainseg.errors import InputError

GRADIENT = np.tile(np.arange(0, 240, 8, dtype=np.uint8), (20, 1))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "LA", "CMYK"])
def test_grey_content_in_any_mode_becomes_the_same_grey(tmp_path: Path, save, mode: str):
    suffix = ".tif" if mode == "CMYK" else ".png"
    decoded = decode_image(save(tmp_path / f"a{suffix}", GRADIENT, mode))
    assert decoded.pixels.dtype == np.uint8
    np.testing.assert_allclose(decoded.pixels.astype(int), GRADIENT, atol=1)
    assert (decoded.note is None) == (mode == "L")


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_scaled_to_their_maximum(tmp_path: Path, save, suffix: str):
    deep = GRADIENT.astype(np.uint16) * 17  # 12 bits in 16, as scanners write
    decoded = decode_image(save(tmp_path / f"a{suffix}", deep))
    np.testing.assert_allclose(decoded.pixels, deep * (255 / deep.max()), atol=0.5)
    assert "8 bits" in decoded.note


def test_transparent_pixels_are_black(tmp_path: Path):
    rgba = np.full((8, 8, 4), 200, np.uint8)
    rgba[..., 3] = 255
    rgba[0, 0, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png")
    assert pixels[0, 0] == 0
    assert pixels[4, 4] == 200


def test_colour_is_refused_but_a_coloured_mark_is_not(tmp_path: Path, save):
    image = np.dstack([GRADIENT] * 3)
    image[:2, :5] = (255, 0, 0)  # 10 of 600 pixels
    marked = decode_image(save(tmp_path / "marked.png", image))
    assert marked.pixels.shape == GRADIENT.shape
    assert "more than 0.2% of the pixels are coloured" in str(marked.note)
    image[:, :10] = (255, 0, 0)
    with pytest.raises(InputError, match=r"coloured\.png is a colour image: 33%"):
        read_image(save(tmp_path / "coloured.png", image))


def test_corrupt_and_missing_files_are_named(tmp_path: Path, save):
    whole = save(tmp_path / "whole.png", GRADIENT).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("not an image")
    for name in ("cut.png", "text.png"):
        with pytest.raises(InputError, match=f"{name} cannot be read as an image"):
            read_image(tmp_path / name)
    with pytest.raises(InputError, match=r"gone\.png does not exist"):
        read_image(tmp_path / "gone.png")


def test_mask_of_zeros_and_ones_is_taken_as_meant(tmp_path: Path, save):
    mask = np.zeros((20, 20), np.uint8)
    mask[5:9, 5:9] = 1
    assert read_mask(save(tmp_path / "m.png", mask)).sum() == 16


def test_image_in_place_of_a_mask_is_refused(tmp_path: Path, save):
    with pytest.raises(InputError, match=r"m\.png is not a mask"):
        read_mask(save(tmp_path / "m.png", GRADIENT))


def test_matlab_file_is_read_as_matlab_shows_it(tmp_path: Path):
    image = np.arange(12, dtype=np.int16).reshape(3, 4) * 100
    mask = image > 500
    with h5py.File(tmp_path / "1.mat", "w") as file:
        # MATLAB stores columns first, so HDF5 sees the transpose
        file["cjdata/image"] = image.T
        file["cjdata/tumorMask"] = mask.T.astype(np.uint8)
    np.testing.assert_allclose(read_image(tmp_path / "1.mat"), image * (255 / 1100), atol=1)
    np.testing.assert_array_equal(read_mask(tmp_path / "1.mat"), mask)


def test_other_matlab_files_are_refused(tmp_path: Path):
    with h5py.File(tmp_path / "1.mat", "w") as file:
        file["x"] = 1
    with pytest.raises(InputError, match=r"1\.mat has no `cjdata\.image`"):
        read_image(tmp_path / "1.mat")
    (tmp_path / "2.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(InputError, match=r"MATLAB v7\.3"):
        read_mask(tmp_path / "2.mat")


def test_shrinking_averages_areas():
    image = np.array([[0, 100], [100, 200]], np.uint8).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(resize_image(image, 2), [[0, 100], [100, 200]])


def test_mask_keeps_pixels_that_are_at_least_half_tumour():
    mask = np.zeros((4, 4), bool)
    mask[:2, 0] = True  # half of the first 2×2 block
    mask[0, 2] = True  # a quarter of the second
    np.testing.assert_array_equal(resize_mask(mask, 2), [[True, False], [False, False]])


@pytest.mark.parametrize("size", [7, 20, 64])
def test_any_shape_becomes_square(size: int):
    assert resize_image(GRADIENT, size).shape == (size, size)
    assert resize_mask(GRADIENT > 100, size).dtype == bool


def test_labels_that_are_not_chosen_are_noted(tmp_path: Path, save):
    image = save(tmp_path / "image.png", GRADIENT)
    labels = np.zeros(GRADIENT.shape, np.uint8)
    labels[2:4, 20:24], labels[6:8, 20:24] = 2, 3
    mask = save(tmp_path / "mask.png", labels)
    decoded, tumor = decode_case(image, mask, [2])
    assert (decoded.note, tumor.sum()) == ("labels that are not chosen: 3", 8)
    assert decode_case(image, mask, [2, 3])[0].note is None
