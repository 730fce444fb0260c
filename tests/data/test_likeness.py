"""How far grey levels are from known ones, against scipy's Wasserstein distance."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from brainseg.data.likeness import Likeness

IMAGES = np.random.default_rng(0).normal(90, 25, (60, 32, 32)).clip(0, 255).astype(np.uint8)


def test_the_distance_is_that_of_wasserstein():
    known = Likeness.of(IMAGES[:1])
    for image in (IMAGES[1], IMAGES[1] // 2, 255 - IMAGES[1], np.zeros((8, 8), np.uint8)):
        expected = wasserstein_distance(IMAGES[0].ravel(), image.ravel())
        assert known.distance(image) == pytest.approx(expected, abs=2.5)


def test_nearly_all_known_images_are_near():
    known = Likeness.of(IMAGES)
    far = [known.distance(image) > known.farthest for image in IMAGES]
    assert sum(far) <= 1
    assert known.distance(255 - IMAGES[0]) > 5 * known.farthest


def test_where_things_lie_does_not_matter():
    known = Likeness.of(IMAGES)
    assert known.distance(IMAGES[0][::-1].T) == known.distance(IMAGES[0])


@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", "{}", '{"quantiles": [1], "farthest": 2}', '{"quantiles": 3}']
)
def test_what_a_file_does_not_say_is_unknown(text):
    assert Likeness.parse(text) is None


def test_what_was_written_is_read():
    known = Likeness.of(IMAGES)
    assert Likeness.parse(known.to_text()) == known
