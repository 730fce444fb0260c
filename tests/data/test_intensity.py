import numpy as np
import pytest

from brainseg.data.intensity import invert, to_grey
from brainseg.errors import InputError


def head(top=4000.0):
    rows, columns = np.mgrid[:96, :96]
    inside = np.hypot(columns - 48, rows - 48) < 40
    return np.where(inside, (0.2 + 0.8 * columns / 95) * top, 0)


PLAIN = to_grey(head(), "i")
OUTSIDE = head() == 0


def test_the_heads_percentile_becomes_white():
    values = head()
    top = np.percentile(values[values > 0], 99.9)

    assert np.array_equal(PLAIN, np.rint(np.clip(values, 0, top) / top * 255))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("top", [1000.0, 4000.0, 60000.0])
def test_neither_type_nor_range_changes_the_image(dtype, top):
    assert np.abs(to_grey(head(top).astype(dtype), "i").astype(int) - PLAIN).max() <= 1


def test_floats_up_to_one_use_all_of_the_range():
    assert np.abs(to_grey(head(1.0), "i").astype(int) - PLAIN).max() <= 1


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 65535.0, 1e9])
def test_one_odd_pixel_changes_nothing_else(odd):
    values = head()
    values[0, 0] = odd

    assert np.abs(to_grey(values, "i").astype(int) - PLAIN)[1:].max() <= 3


def test_a_nan_that_signals_is_one_too():
    values = head().astype(np.float32)
    values[:1, :1] = np.array([[0x7FA00000]], np.uint32).view(np.float32)

    assert np.abs(to_grey(values, "i").astype(int) - PLAIN)[1:].max() <= 1


@pytest.mark.parametrize("padding", [-2000.0, -32768.0, 63536.0])
def test_padding_is_black_and_counts_for_nothing(padding):
    values = head()
    values[OUTSIDE] = padding

    assert np.array_equal(to_grey(values, "i"), PLAIN)
    assert np.array_equal(to_grey(values, "i", padding=OUTSIDE), PLAIN)


@pytest.mark.parametrize("padding", [-1.0, -300.0, -1024.0])
def test_padding_beside_a_background_of_zero_is_found_however_near(padding):
    values = head()
    values[:, :4] = padding
    expected = np.where(values < 0, 0, PLAIN)

    assert np.abs(to_grey(values, "i").astype(int) - expected).max() <= 1


def test_a_flat_background_below_zero_is_black():
    assert np.abs(to_grey(head() - 1024, "i").astype(int) - PLAIN).max() <= 1


def test_noise_around_zero_is_no_normalisation():
    values = head()
    values[:2] = -3

    assert np.array_equal(to_grey(values, "i"), PLAIN)


def test_a_z_scored_image_is_refused_however_small_its_brain():
    brain = np.zeros((300, 300))
    brain[:20, :20] = np.random.default_rng(0).normal(size=(20, 20))

    with pytest.raises(InputError, match="z-scored"):
        to_grey(brain, "i")


def test_nothing_finite_is_refused_and_nothing_bright_is_black():
    with pytest.raises(InputError, match="no finite value"):
        to_grey(np.full((4, 4), np.nan), "i")
    assert not to_grey(np.zeros((4, 4)), "i").any()


def test_inverting_turns_the_range_and_leaves_padding_out():
    values = np.where(OUTSIDE, 63536.0, 4095.0 - head())

    assert np.array_equal(to_grey(invert(values, OUTSIDE), "i", OUTSIDE) > 0, ~OUTSIDE)


def test_air_becomes_black_when_an_image_is_inverted():
    values = 4095.0 - head()
    values[0, 0] = 65535  # a hot pixel

    assert np.array_equal(to_grey(invert(values), "i"), PLAIN)
