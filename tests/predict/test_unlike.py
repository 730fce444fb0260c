"""Warnings where an image is unlike the training data."""

import numpy as np
import pytest

from brainseg.data.likeness import Likeness
from brainseg.predict.unlike import find_unlike
from brainseg.runtime.open import open_session


@pytest.fixture
def session(model):
    return open_session(model, threads=1)


def some(height: int, width: int, count: int = 1) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.normal(90, 25, (count, height, width)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("size", "keep_aspect", "expected"),
    [
        ((32, 32), False, []),
        ((15, 32), False, ["enlarged by more than 2", "2.1 times as long as wide"]),
        ((15, 32), True, []),
        ((15, 15), True, ["enlarged by more than 2"]),
        ((400, 200), False, ["2.0 times as long as wide"]),
    ],
)
def test_sizes(session, size, keep_aspect, expected):
    found = find_unlike(session, some(*size), keep_aspect)
    assert len(found) == len(expected)
    for sentence, words in zip(found, expected, strict=True):
        assert words in sentence


def test_grey_levels(session):
    images = some(32, 32, 20)
    images[0] = np.sort(images, axis=None)[::20].reshape(32, 32)  # the most usual one
    assert find_unlike(session, 255 - images[:1], False) == []  # the file says nothing
    session.metadata["likeness"] = Likeness.of(images).to_text()
    try:
        assert find_unlike(session, images[:1], False) == []
        (sentence,) = find_unlike(session, 255 - images[:1], False)
        assert "Its grey levels are" in sentence
        dark = np.concatenate([images[:2], np.zeros((8, 32, 32), np.uint8)])
        assert find_unlike(session, dark, False) == []  # slices without a head do not count
    finally:
        del session.metadata["likeness"]
