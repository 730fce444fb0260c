import json

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from torchmetrics.functional.classification import binary_calibration_error

from brainseg.evaluation.calibration import (
    THRESHOLDS,
    calibrate,
    count_levels,
    describe_probabilities,
    sweep_thresholds,
)
from brainseg.evaluation.cases import score_cases, summarize

# Levels that lie between two bins: where they go is a matter of rounding in float32.
EDGES = [51, 102, 153, 204]


def split(n=12, seed=0, shape=(16, 20)):
    """Maps whose tumour pixels are mostly, but not always, more probable; some without tumour."""
    rng = np.random.default_rng(seed)
    masks = rng.random((n, *shape)) < 0.2
    masks[-3:] = False
    probabilities = rng.beta(np.where(masks, 3, 0.6), np.where(masks, 1, 3))
    maps = np.rint(255 * probabilities).astype(np.uint8)
    return np.where(np.isin(maps, EDGES), maps + 1, maps).astype(np.uint8), masks.astype(np.uint8)


def test_every_pixel_is_counted_under_its_truth_and_level():
    maps, masks = split()
    levels = count_levels(maps, masks)
    assert levels.shape == (12, 2, 256)
    for truth in (0, 1):
        for level in (0, 7, 128, 255):
            expected = ((maps == level) & (masks == truth)).sum(axis=(1, 2))
            np.testing.assert_array_equal(levels[:, truth, level], expected)
    np.testing.assert_array_equal(levels, count_levels(maps, masks * 255))


def test_calibration_error_agrees_with_torchmetrics():
    maps, masks = split()
    found = calibrate(count_levels(maps, masks))
    probabilities, truth = torch.from_numpy(maps / 255).flatten(), torch.from_numpy(masks).flatten()
    # torchmetrics takes the confidence in the likelier class; asking for tumour alone needs bins
    # of the probability itself, which is what it does for a single logit.
    expected = binary_calibration_error(probabilities, truth.int(), n_bins=10, norm="l1")
    assert found["ece"] == pytest.approx(float(expected), abs=1e-6)
    kept = (probabilities > 0) & (probabilities < 1)
    expected = binary_calibration_error(
        probabilities[kept], truth[kept].int(), n_bins=10, norm="l1"
    )
    assert found["ece_uncertain"] == pytest.approx(float(expected), abs=1e-6)
    assert found["uncertain"] == pytest.approx(float(kept.float().mean()))


def test_bins_agree_with_scikit_learn():
    maps, masks = split()
    bins = calibrate(count_levels(maps, masks))["bins"]
    share, confidence = calibration_curve(masks.ravel(), maps.ravel() / 255, n_bins=10)
    np.testing.assert_allclose([row["share"] for row in bins if row["n"]], share)
    np.testing.assert_allclose([row["confidence"] for row in bins if row["n"]], confidence)
    assert sum(row["n"] for row in bins) == maps.size
    assert [row["low"] for row in bins[1:]] == [row["high"] for row in bins[:-1]]


def test_a_network_that_is_right_and_sure_is_calibrated():
    masks = split()[1]
    found = calibrate(count_levels(masks * 255, masks))
    assert (found["ece"], found["ece_uncertain"], found["uncertain"]) == (0, None, 0)
    assert calibrate(count_levels(255 - masks * 255, masks))["ece"] == 1


def test_half_of_a_half_is_calibrated():
    masks = np.zeros((1, 10, 10), np.uint8)
    masks[0, :5] = 1
    found = calibrate(count_levels(np.full_like(masks, 128), masks))
    assert found["ece"] == pytest.approx(128 / 255 - 0.5)
    assert found["ece"] == found["ece_uncertain"]
    assert [row["n"] for row in found["bins"]] == [0, 0, 0, 0, 0, 100, 0, 0, 0, 0]


def test_half_is_the_threshold_of_everything_else():
    maps, masks = split()
    rows = sweep_thresholds(count_levels(maps, masks))
    names = [str(i) for i in range(len(maps))]
    classes = ["glioma" if mask.any() else "notumor" for mask in masks]
    expected = summarize(score_cases(names, classes, names, maps, masks))
    assert [row["threshold"] for row in rows] == list(THRESHOLDS)
    found = rows[THRESHOLDS.index(0.5)]
    assert all(found[key] == pytest.approx(expected[key]) for key in found if key != "threshold")


@pytest.mark.parametrize("threshold", [0.05, 0.2, 0.35, 0.6, 0.95, 1.0])
def test_other_thresholds_agree_with_masks_made_at_them(threshold):
    maps, masks = split(seed=3)
    (row,) = sweep_thresholds(count_levels(maps, masks), [threshold])
    # Any map with the same pixels above its own half gives the same scores.
    moved = np.where(maps / 255 >= threshold - 1e-9, 255, 0).astype(np.uint8)
    (expected,) = sweep_thresholds(count_levels(moved, masks), [0.5])
    assert row == expected | {"threshold": threshold}


def test_a_higher_threshold_finds_less():
    maps, masks = split()
    rows = sweep_thresholds(count_levels(maps, masks))
    for key in ("detection_rate", "false_positive_rate"):
        values = [row[key] for row in rows]
        assert values == sorted(values, reverse=True)


def test_what_is_undefined_is_none():
    maps = split()[0]
    found = describe_probabilities(maps, np.zeros_like(maps))
    assert {row["dice"] for row in found["thresholds"]} == {None}
    assert {row["detection_rate"] for row in found["thresholds"]} == {None}
    nothing = describe_probabilities(maps[:0], maps[:0])
    assert nothing["calibration"]["ece"] is None
    assert {row["mean_iou"] for row in nothing["thresholds"]} == {None}
    json.dumps([found, nothing], allow_nan=False)
