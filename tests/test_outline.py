import re

import numpy as np
import pytest
from scipy import ndimage
from skimage.segmentation import find_boundaries

from brainseg.outline import MOST_CORNERS, PREDICTION, TRUTH, overlay, to_svg, trace


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


def path_of(mask: np.ndarray) -> str:
    return to_svg(trace(mask))


def square(size: int, row: int = 2, column: int = 2, side: int = 16) -> np.ndarray:
    mask = np.zeros((side, side), np.uint8)
    mask[row : row + size, column : column + size] = 1
    return mask


def round_mask(radius: float, row: float, column: float, side: int = 64) -> np.ndarray:
    rows, columns = np.mgrid[:side, :side]
    return np.hypot(rows - row, columns - column) <= radius


def rings(path: str) -> list[np.ndarray]:
    """Corners (x, y) of each closed ring of a path, in pixels of the picture."""
    found = []
    for start, steps in re.findall(r"M([^l]*)l([^z]*)z", path):
        moves = [
            np.array(re.findall(r"-?\d+", part), float).reshape(-1, 2) for part in (start, steps)
        ]
        found.append(np.cumsum(np.concatenate(moves), axis=0) / 2)
    return found


def area(path: str) -> float:
    """Signed, so that holes count against what surrounds them (shoelace formula)."""
    parts = [
        np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2
        for x, y in (ring.T for ring in rings(path))
    ]
    return abs(sum(parts))


def test_path_of_a_square_lies_on_its_border() -> None:
    (ring,) = rings(path_of(square(8, row=2, column=5) > 0))
    # Pixels 2..9 of 0..15 reach from 2 to 10; lines cut the corners of the square.
    assert (ring.min(axis=0).tolist(), ring.max(axis=0).tolist()) == ([5, 2], [13, 10])
    assert area(path_of(square(8) > 0)) == pytest.approx(64 - 4 / 8)
    assert len(ring) == 8


def test_path_has_the_area_and_place_of_a_round_mask() -> None:
    mask = round_mask(20, 30, 25)
    (ring,) = rings(path_of(mask))
    assert area(path_of(mask)) == pytest.approx(mask.sum(), rel=0.01)
    # The middle of pixel (30, 25) is half a pixel further in a picture.
    assert (ring.min(axis=0) + ring.max(axis=0)).tolist() == [2 * 25.5, 2 * 30.5]
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turns = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    assert (turns != 0).all(), "a point that is no corner makes the page heavier"


def test_path_outlines_holes_and_parts() -> None:
    mask = round_mask(25, 32, 32) & ~round_mask(10, 32, 32) | round_mask(3, 4, 60)
    assert len(rings(path_of(mask))) == 3
    assert area(path_of(mask)) == pytest.approx(mask.sum(), rel=0.02)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (8, 8), (0, 8)])
def test_path_closes_at_the_border(row: int, column: int) -> None:
    (ring,) = rings(path_of(square(8, row, column) > 0))
    assert ring.min(axis=0).tolist() == [column, row]
    assert area(path_of(square(8, row, column) > 0)) == pytest.approx(64 - 4 / 8)


def test_path_of_nothing_all_and_one() -> None:
    assert path_of(np.zeros((4, 4), bool)) == ""
    assert area(path_of(np.ones((4, 6), bool))) == pytest.approx(24 - 4 / 8)
    (ring,) = rings(path_of(square(1, 3, 5) > 0))
    assert ring.mean(axis=0).tolist() == [5.5, 3.5]


def test_confetti_is_traced_more_coarsely() -> None:
    noise = np.random.default_rng(0).normal(size=(224, 200))
    mask = ndimage.gaussian_filter(noise, 1) > 0
    mask[40:120, 60:140] = True
    rings = trace(mask)
    assert sum(map(len, rings)) < 2 * MOST_CORNERS
    assert len(path_of(mask)) < 8000
    corners = np.concatenate(rings)
    assert (corners.min(), *corners.max(axis=0)) >= (-8, 192, 216)
    assert corners.max() < 232
    assert area(path_of(mask)) == pytest.approx(mask.sum(), rel=0.1)
    # A large part keeps its place.
    largest = max(rings, key=len)
    assert abs(largest.mean() - 90) < 40


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.7, 0.98])
def test_scattered_pixels_do_not_vanish(share: float) -> None:
    mask = np.random.default_rng(0).random((224, 224)) < share
    path = path_of(mask)
    assert area(path) == pytest.approx(mask.sum(), rel=0.5)
    assert len(path) < 8000


def test_most_corners_are_a_choice() -> None:
    mask = round_mask(20, 30, 25)
    assert sum(map(len, trace(mask, most=12))) < sum(map(len, trace(mask)))
