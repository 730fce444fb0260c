import warnings

import numpy as np
import pytest
from monai.metrics import compute_hausdorff_distance
from scipy.ndimage import gaussian_filter
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score

from brainseg.evaluation.metrics import confusion, dice, hd95_px, mean_iou, tumor_iou

EMPTY, FULL = np.zeros((6, 8), dtype=bool), np.ones((6, 8), dtype=bool)


def blobs(seed, shape=(48, 40)):
    """A pair of irregular masks that overlap in part and reach the border now and then."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(2, *shape)), (0, 4, 4))
    truth, prediction = noise[0], noise[0] + 0.6 * noise[1]
    return prediction > np.quantile(prediction, 0.85), truth > np.quantile(truth, 0.85)


def square(top, left, size=10, shape=(40, 50)):
    mask = np.zeros(shape, dtype=bool)
    mask[top : top + size, left : left + size] = True
    return mask


def disc(radius, centre=(40, 40), shape=(81, 81)):
    rows, columns = np.indices(shape)
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def keras_binary_iou(y_true, probabilities, threshold=0.5):
    """`keras.metrics.BinaryIoU` (3.x) for both classes, without its epsilon."""
    matrix = np.zeros((2, 2))
    np.add.at(matrix, (y_true.ravel(), (probabilities >= threshold).ravel().astype(int)), 1)
    hits = np.diag(matrix)
    denominator = matrix.sum(axis=0) + matrix.sum(axis=1) - hits
    valid = denominator > 1e-9
    return (hits[valid] / denominator[valid]).sum() / valid.sum()


def monai_hd95(*masks):
    batch = [mask[None, None].astype(np.float32) for mask in masks]
    with warnings.catch_warnings(action="ignore"):  # MONAI 1.6 warns of its own arguments
        distance = compute_hausdorff_distance(*batch, include_background=True, percentile=95)
    return distance.item()


@pytest.mark.parametrize("seed", range(4))
def test_counts_and_overlap_agree_with_scikit_learn(seed):
    prediction, truth = blobs(seed)
    counts = confusion(prediction, truth)
    flat = truth.ravel(), prediction.ravel()
    (tn, fp), (fn, tp) = confusion_matrix(*flat)
    assert counts.tolist() == [tp, fp, fn, tn]
    assert counts.dtype == np.int64
    assert tumor_iou(counts) == pytest.approx(jaccard_score(*flat))
    assert mean_iou(counts) == pytest.approx(jaccard_score(*flat, average="macro"))
    assert dice(counts) == pytest.approx(f1_score(*flat))


def test_confusion_keeps_leading_axes_and_takes_any_nonzero_value():
    pairs = [blobs(seed) for seed in range(6)]
    single = [confusion(prediction, truth).tolist() for prediction, truth in pairs]
    predictions, truths = np.stack(pairs, axis=1)
    assert confusion(predictions, truths).tolist() == single
    grouped = confusion(predictions.reshape(2, 3, 48, 40), truths.reshape(2, 3, 48, 40))
    assert grouped.shape == (2, 3, 4)
    as_bytes = confusion(predictions * np.uint8(2), truths * np.uint8(255))
    assert as_bytes.tolist() == single


def test_confusion_refuses_shapes_that_would_broadcast():
    with pytest.raises(ValueError, match="differ in shape"):
        confusion(np.zeros((3, 1, 6, 8)), np.zeros((3, 6, 8)))


def test_pooled_scores_weigh_pixels_not_images():
    counts = [[1, 0, 0, 9], [30, 10, 60, 0]]
    assert tumor_iou(counts) == 31 / 101
    assert dice(counts) == 62 / (62 + 70)
    assert mean_iou(counts) == pytest.approx((31 / 101 + 9 / 79) / 2)
    assert tumor_iou(np.reshape(counts, (2, 1, 4))) == tumor_iou(counts)


def test_mean_iou_is_keras_binary_iou():
    documented = np.array([[0, 1, 0, 1]]), np.array([[0.1, 0.2, 0.4, 0.7]])
    assert keras_binary_iou(*documented, threshold=0.3) == pytest.approx(0.33333334)
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, size=(5, 12, 12))
    probabilities = rng.integers(0, 5, size=truth.shape) / 4  # a fifth lies exactly on 0.5
    expected = keras_binary_iou(truth, probabilities)
    assert mean_iou(confusion(probabilities >= 0.5, truth)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("prediction", "truth", "expected"),
    [
        (EMPTY, EMPTY, (None, 1.0, None)),
        (FULL, FULL, (1.0, 1.0, 1.0)),
        (FULL, EMPTY, (0.0, 0.0, 0.0)),
        (EMPTY, FULL, (0.0, 0.0, 0.0)),
    ],
)
def test_empty_and_full_masks(prediction, truth, expected):
    counts = confusion(prediction, truth)
    assert (tumor_iou(counts), mean_iou(counts), dice(counts)) == expected
    assert mean_iou(counts) == keras_binary_iou(truth.astype(int), prediction.astype(float))


def test_without_pixels_nothing_is_defined():
    none = np.zeros((0, 4), dtype=int)
    assert tumor_iou(none) is mean_iou(none) is dice(none) is None


@pytest.mark.parametrize("seed", range(12))
def test_hausdorff_agrees_with_monai(seed):
    prediction, truth = blobs(seed)
    expected = monai_hd95(prediction, truth)
    assert expected > 0
    assert hd95_px(prediction, truth) == pytest.approx(expected, rel=1e-5)
    assert hd95_px(truth, prediction) == hd95_px(prediction, truth)


@pytest.mark.parametrize("right", [0, 2, 12])
@pytest.mark.parametrize("down", [0, 3])
def test_hausdorff_agrees_with_monai_on_shifted_squares(down, right):
    pair = square(0, 0), square(down, right)  # the first touches the image's border
    assert hd95_px(*pair) == pytest.approx(monai_hd95(*pair), rel=1e-5)


def test_hausdorff_of_a_far_shift_and_of_equal_masks():
    # A side of 10 of the outline's 36 pixels is 12 away from the other square: over 5 percent.
    assert hd95_px(square(5, 5), square(5, 17)) == 12
    assert hd95_px(square(5, 5), square(5, 5)) == 0


def test_hausdorff_of_concentric_discs_is_the_difference_of_their_radii():
    assert hd95_px(disc(30), disc(20)) == pytest.approx(10, abs=0.75)


def test_hausdorff_ignores_one_stray_pixel_in_a_hundred_but_not_one_in_ten():
    stray = square(10, 10, size=26, shape=(60, 60))  # an outline of 100 pixels
    truth = stray.copy()
    stray[59, 59] = True
    assert hd95_px(stray, truth) == 0
    small = square(10, 10, size=3, shape=(60, 60))  # an outline of 8 pixels
    truth = small.copy()
    small[59, 59] = True
    assert hd95_px(small, truth) > 0


def test_hausdorff_of_empty_masks():
    assert hd95_px(FULL, EMPTY) is None
    assert hd95_px(EMPTY, EMPTY) is None
    assert hd95_px(EMPTY, FULL) == 10  # the diagonal of 6×8
    assert hd95_px(FULL, FULL) == 0
