import numpy as np
import pytest
from skimage.segmentation import find_boundaries

from brainseg.outline import PREDICTION, TRUTH, overlay


def disc(size: int, radius: float, shift: int = 0) -> np.ndarray:
    rows, columns = np.ogrid[:size, :size]
    centre = size // 2
    return (rows - centre) ** 2 + (columns - centre - shift) ** 2 <= radius**2


def drawn(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (picture == colour).all(axis=2)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, (64, 64), dtype=np.uint8)


def test_prediction_is_outlined_from_inside_and_the_rest_stays_grey(image: np.ndarray) -> None:
    mask = disc(64, 20)
    before = image.copy()
    picture = overlay(image, mask)
    assert picture.shape == (64, 64, 3)
    assert picture.dtype == np.uint8
    edge = find_boundaries(mask, connectivity=1, mode="inner")
    assert (drawn(picture, PREDICTION) == edge).all()
    assert (picture[~edge] == image[~edge][:, None]).all()
    assert (image == before).all()


def test_both_lines_stay_visible_where_prediction_and_truth_agree(image: np.ndarray) -> None:
    mask = disc(64, 20)
    picture = overlay(image, mask, mask)
    assert (drawn(picture, PREDICTION) == find_boundaries(mask, connectivity=1, mode="inner")).all()
    assert (
        drawn(picture, TRUTH) == find_boundaries(mask, connectivity=1, mode="outer") & ~mask
    ).all()


def test_prediction_and_truth_are_not_confused(image: np.ndarray) -> None:
    mask, truth = disc(64, 8, -16), disc(64, 8, 16)
    picture = overlay(image, mask, truth)
    assert drawn(picture, PREDICTION)[:, :32].any()
    assert not drawn(picture, PREDICTION)[:, 32:].any()
    assert drawn(picture, TRUTH)[:, 32:].any()
    assert not drawn(picture, TRUTH)[:, :32].any()


def test_an_empty_mask_draws_nothing(image: np.ndarray) -> None:
    empty = np.zeros((64, 64), bool)
    assert (overlay(image, empty, empty) == image[..., None]).all()


def test_a_tumour_at_the_border_is_closed_there(image: np.ndarray) -> None:
    everything = np.ones((64, 64), bool)
    lines = drawn(overlay(image, everything), PREDICTION)
    assert lines[0].all()
    assert lines[:, -1].all()
    assert not lines[1:-1, 1:-1].any()


@pytest.mark.parametrize(("size", "width"), [(64, 1), (256, 1), (512, 2), (1024, 4)])
def test_lines_widen_with_the_image(size: int, width: int) -> None:
    mask = np.zeros((size, size), bool)
    mask[:, size // 4 : -size // 4] = True
    row = drawn(overlay(np.zeros((size, size), np.uint8), mask), PREDICTION)[size // 2]
    assert row.sum() == 2 * width


def test_lines_differ_in_grey_too() -> None:
    # Luma of ITU-R BT.601, as grey prints have it.
    lightness = [np.dot(colour, [0.299, 0.587, 0.114]) for colour in (PREDICTION, TRUTH)]
    assert abs(lightness[0] - lightness[1]) > 40
