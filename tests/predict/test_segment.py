"""Slices to probabilities and masks: padding, mirror images, small parts."""

import cv2
import numpy as np
import pytest
from scipy import ndimage

from brainseg.errors import InputError
from brainseg.predict.segment import segment, to_masks
from brainseg.predict.settings import Settings
from brainseg.runtime.open import open_session


@pytest.fixture(scope="module")
def session(model):
    return open_session(model, threads=1)


@pytest.fixture
def images() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (5, 12, 15)).astype(np.uint8)
    return np.stack([cv2.resize(each, (60, 48)) for each in noise])


def test_batches_change_nothing(session, images):
    one = segment(session, images)
    np.testing.assert_array_equal(segment(session, images, Settings(batch=2)), one)
    np.testing.assert_array_equal(segment(session, images[3:4]), one[3:4])


def test_mirror_images_are_averaged(session, images):
    """Against the four passes, made here by hand."""
    expected = np.zeros(images.shape, np.float64)
    for vertical in (False, True):
        for horizontal in (False, True):
            axes = [axis for axis, used in ((1, vertical), (2, horizontal)) if used]
            flipped = segment(session, np.ascontiguousarray(np.flip(images, axes)))
            expected += np.flip(flipped, axes) / 4
    found = segment(session, images, Settings(tta="flips"))
    np.testing.assert_allclose(found, expected, atol=0.02)  # images are rounded after resizing
    assert found.dtype == np.float32


@pytest.mark.parametrize("shape", [(30, 60), (61, 31), (48, 48), (200, 9)])
def test_padding_keeps_the_shape_of_what_is_seen(session, shape):
    """A disc, which squeezing would turn into an ellipse, comes back at its place."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    middle, radius = (shape[0] / 2, shape[1] / 2), min(shape) / 3
    disc = np.hypot(rows + 0.5 - middle[0], columns + 0.5 - middle[1]) < radius
    image = np.where(disc, 255, 0).astype(np.uint8)
    found = segment(session, image[None], Settings(keep_aspect=True))[0]
    assert found.shape == shape
    if min(shape) > 20:  # else it is two pixels of the network wide
        assert (found[disc] >= 0.5).mean() > 0.85
        assert (found[~disc] >= 0.5).mean() < 0.05


def test_a_square_needs_no_padding(session, images):
    square = images[:, :48, :48]
    padded = segment(session, square, Settings(keep_aspect=True))
    np.testing.assert_array_equal(padded, segment(session, square, Settings(keep_aspect=False)))


def test_the_file_says_how_the_network_was_trained(session, images):
    kept = segment(session, images, Settings(keep_aspect=True))
    session.metadata["keep_aspect"] = "True"
    try:
        np.testing.assert_array_equal(segment(session, images), kept)
    finally:
        del session.metadata["keep_aspect"]


def test_small_parts_are_left_out():
    """Against scipy's labels: parts touch at sides and corners."""
    probabilities = np.random.default_rng(1).random((3, 40, 50)).astype(np.float32)
    found = to_masks(probabilities, 0.6, min_area=9)
    for mask, kept in zip(probabilities >= np.float32(0.6), found, strict=True):
        parts, count = ndimage.label(mask, np.ones((3, 3)))
        sizes = ndimage.sum_labels(mask, parts, range(1, count + 1))
        expected = np.isin(parts, 1 + np.flatnonzero(sizes >= 9))
        np.testing.assert_array_equal(kept, expected)
    assert found.sum() < (probabilities >= 0.6).sum()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"threshold": 1.0}, "threshold between 0 and 1"),
        ({"threshold": float("nan")}, "threshold between 0 and 1"),
        ({"tta": "rotate"}, r"Unknown test-time augmentation rotate\. Choose from: none, flips"),
        ({"plane": "oblique"}, "Unknown plane oblique"),
        ({"batch": 0}, "batch of 1 or more"),
        ({"min_area": -1}, "area of 0 or more"),
    ],
)
def test_settings_that_cannot_be_meant(wrong, message):
    with pytest.raises(InputError, match=message):
        Settings(**wrong)
