"""How well the source of an image shows, on images whose source is made."""

import numpy as np
import pytest

from brainseg.data.shortcut import BINS, describe_trivially, shortcut_auc


def make_images(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 200, (count, 40, 40), dtype=np.uint8)


def auc(images: np.ndarray, negative: np.ndarray, groups: list) -> float | None:
    return shortcut_auc(np.array([describe_trivially(i) for i in images]), negative, groups)


def test_features_are_the_histogram_and_the_border():
    image = np.zeros((40, 40), np.uint8)
    image[2:-2, 2:-2] = 200
    image[0, 0] = 80
    features = describe_trivially(image)
    histogram, _ = np.histogram(image, BINS, (0, 256))
    np.testing.assert_allclose(features[:BINS], histogram / image.size)
    border = np.concatenate(
        [image[:2].ravel(), image[-2:].ravel(), image[2:-2, :2].ravel(), image[2:-2, -2:].ravel()]
    )
    expected = [border.mean(), border.std(), 0, 80, np.mean(border == 0)]
    np.testing.assert_allclose(features[BINS:], expected)
    assert features.shape == (BINS + 5,)


def test_the_tumour_itself_is_not_seen():
    image, mask = make_images(1, 0)[0], np.zeros((40, 40), np.uint8)
    mask[10:20, 10:20] = 1
    marked = np.where(mask > 0, 255, image).astype(np.uint8)
    np.testing.assert_allclose(describe_trivially(marked, mask), describe_trivially(image, mask))
    assert (describe_trivially(marked) != describe_trivially(image)).any()


def test_the_same_source_is_chance_and_another_is_certain():
    images, groups = make_images(200, 0), list(range(200))
    negative = np.arange(200) % 2 == 0
    chance = auc(images, negative, groups)
    assert chance is not None
    assert 0.3 < chance < 0.7
    images[negative, :1] = 255  # a frame, as some scanners' exports have
    assert auc(images, negative, groups) == pytest.approx(1.0, abs=0.01)


def test_copies_do_not_help():
    """Each image ten times, with a label of its own kind by chance: groups keep copies together."""
    images = make_images(24, 1).repeat(10, axis=0)
    negative = np.random.default_rng(2).permutation(np.arange(24) % 2 == 0).repeat(10)
    apart = auc(images, negative, np.arange(24).repeat(10).tolist())
    torn = auc(images, negative, np.arange(240).tolist())
    assert apart is not None
    assert torn is not None
    assert apart < 0.75 < torn


def test_too_few_groups_tell_nothing():
    images = make_images(40, 3)
    negative = np.arange(40) < 20
    assert auc(images, negative, ["a"] * 20 + list(map(str, range(20)))) is None
    assert auc(images, np.zeros(40, bool), list(range(40))) is None
