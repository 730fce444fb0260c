"""Resizing in NumPy against OpenCV."""

import cv2
import numpy as np
import pytest

from brainseg.data.image import resize_image
from brainseg.predict.resize import resize_bytes, resize_map

SIDES = (1, 2, 5, 31, 32, 33, 47, 64, 96, 97, 200, 224, 227, 256, 448, 512)
SIZES = (16, 32, 97, 224)


@pytest.mark.parametrize("size", SIZES)
def test_bytes_are_those_of_opencv(size: int) -> None:
    rng = np.random.default_rng(size)
    for height in SIDES:
        for width in SIDES:
            image = rng.integers(0, 256, (height, width), np.uint8)
            np.testing.assert_array_equal(
                resize_bytes(image, size), resize_image(image, size), f"{height}×{width} to {size}"
            )


def test_bytes_of_many_sizes_are_those_of_opencv() -> None:
    rng = np.random.default_rng(0)
    for height, width, size in rng.integers((1, 1, 8), (400, 400, 225), (300, 3)).tolist():
        image = rng.integers(0, 256, (height, width), np.uint8)
        assert np.array_equal(resize_bytes(image, size), resize_image(image, size))


@pytest.mark.parametrize("shape", [(64, 64), (97, 200), (512, 17), (1, 300), (240, 240)])
def test_maps_are_those_of_opencv_nearly(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).random((64, 64), np.float32)
    expected = cv2.resize(values, shape[::-1], interpolation=cv2.INTER_LINEAR)
    found = resize_map(values, *shape)
    assert (found.dtype, found.shape) == (np.float32, shape)
    np.testing.assert_allclose(found, expected, atol=2e-5)  # Intel's code is as exact as that


def test_a_map_of_the_same_size_stays_as_it_is() -> None:
    values = np.random.default_rng(0).random((32, 32), np.float32)
    assert np.array_equal(resize_map(values, 32, 32), values)


def test_a_map_is_turned_as_its_rows_and_columns_are() -> None:
    values = np.random.default_rng(0).random((32, 32), np.float32)
    np.testing.assert_allclose(
        resize_map(values.T, 50, 70), resize_map(values, 70, 50).T, atol=1e-7
    )
