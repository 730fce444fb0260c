import io

import cv2
import numpy as np
import pytest
from PIL import Image

from brainseg.data.mask import check_extent, to_mask
from brainseg.errors import InputError


def disc(radius, size=240, x=100, y=120):
    rows, columns = np.mgrid[:size, :size]
    return np.hypot(columns - x, rows - y) < radius


def as_jpeg(pixels, quality):
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "JPEG", quality=quality)
    return np.asarray(Image.open(packed))


DRAWN = disc(10)
WHITE = DRAWN.astype(np.uint8) * 255
LABELS = np.select([disc(4), disc(7), DRAWN], [1, 4, 2], 0)


@pytest.mark.parametrize("white", [1, 128, 200, 255, 4095])
def test_one_value_beside_zero_is_the_tumour(white):
    assert np.array_equal(to_mask(DRAWN * white, "m"), DRAWN)


def test_bools_floats_and_empty_masks_are_masks():
    assert np.array_equal(to_mask(DRAWN, "m"), DRAWN)
    assert np.array_equal(to_mask(DRAWN.astype(np.float32), "m"), DRAWN)
    assert not to_mask(np.zeros((8, 8)), "m").any()


@pytest.mark.parametrize("size", [60, 100, 120, 180])
def test_a_soft_edge_counts_from_half_of_white(size):
    small = cv2.resize(WHITE, (size, size), interpolation=cv2.INTER_AREA)

    assert np.array_equal(to_mask(small, "m"), small >= 127.5)


def test_a_smoothly_enlarged_mask_is_a_mask():
    large = cv2.resize(WHITE, (960, 960), interpolation=cv2.INTER_CUBIC)

    assert np.array_equal(to_mask(large, "m"), large >= 127.5)


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_lossy_compression_does_not_change_a_mask(quality):
    assert np.array_equal(to_mask(as_jpeg(WHITE, quality), "m", lossy=True), DRAWN)


@pytest.mark.parametrize(("pixels", "labels"), [(WHITE // 255, None), (WHITE, [255])])
def test_labels_that_were_compressed_with_loss_are_refused(pixels, labels):
    with pytest.raises(InputError, match=r"compressed with loss, .* save masks as PNG"):
        to_mask(as_jpeg(pixels, 75), "m", labels, lossy=True)


@pytest.mark.parametrize(
    ("pixels", "listed"),
    [
        pytest.param(LABELS, "1,2,4", id="brats"),
        pytest.param(LABELS.astype(np.uint16), "1,2,4", id="uint16"),
        pytest.param(LABELS.astype(np.float32), "1,2,4", id="float"),
        pytest.param(np.array([0, 85, 255, 170], "u1")[LABELS % 4], "85,255", id="grey"),
        pytest.param(np.where(LABELS == 4, 255, (LABELS > 0) * 127), "127,255", id="two"),
        pytest.param(np.where(disc(9), 1, DRAWN * 255), "1,255", id="voc"),
        pytest.param(DRAWN * 100, "100", id="one that is neither 1 nor white"),
        pytest.param(np.where(disc(2, x=40), 127, WHITE), "127,255", id="a small island"),
    ],
)
def test_labels_are_refused_until_some_are_chosen(pixels, listed):
    with pytest.raises(InputError, match=rf"data\.labels=\[{listed}\]"):
        to_mask(pixels, "m")

    assert np.array_equal(to_mask(pixels, "m", [int(v) for v in listed.split(",")]), pixels > 0)


def test_chosen_labels_are_a_part():
    assert np.array_equal(to_mask(LABELS, "m", [1, 4]), np.isin(LABELS, [1, 4]))


@pytest.mark.parametrize(
    "pixels",
    [
        pytest.param(np.random.default_rng(0).integers(0, 256, (64, 64)), id="noise"),
        pytest.param(cv2.GaussianBlur(WHITE / 255, (9, 9), 3), id="probabilities"),
        pytest.param(np.where(disc(100), 90 + np.arange(240) % 140, 0), id="image"),
        pytest.param(np.where(DRAWN, np.nan, 0), id="nan"),
        pytest.param(np.where(DRAWN, -1, 0), id="negative"),
    ],
)
def test_an_image_is_no_mask(pixels):
    with pytest.raises(InputError, match="is not a mask"):
        to_mask(pixels, "m")


def test_labels_cannot_be_chosen_from_an_image():
    with pytest.raises(InputError, match="not a label map"):
        to_mask(np.random.default_rng(0).integers(0, 256, (64, 64)), "m", [255])


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_mask_of_the_head_is_no_tumour(dimensions):
    shape = (40,) * dimensions
    pixels = np.full(shape, 100, np.uint8)
    brain, tumor = np.zeros(shape, bool), np.zeros(shape, bool)
    brain[4:36], tumor[10:20] = True, True

    with pytest.raises(InputError, match="80% of the head"):
        check_extent(brain, pixels, "m")
    check_extent(tumor, pixels, "m")


def test_a_tumour_may_fill_the_last_slice_of_a_head():
    pixels, tumor = np.zeros((40, 40), np.uint8), np.zeros((40, 40), bool)
    pixels[:12, :12], tumor[:11, :12] = 100, True

    check_extent(tumor, pixels, "m")


def test_a_faint_mask_does_not_vanish():
    with pytest.raises(InputError, match="is not a mask"):
        to_mask(DRAWN / 65535, "m")


def test_fractions_are_not_recommended_as_labels():
    with pytest.raises(InputError, match=r"1 values between 0 and 0.7.* by the nearest neighbour"):
        to_mask(DRAWN * 0.7, "m")
