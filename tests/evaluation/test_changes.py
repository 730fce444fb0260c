"""How two networks differ on the same images, against plain NumPy."""

import numpy as np
import pytest
from scipy.stats import norm, t

from brainseg.evaluation.bootstrap import FEWEST
from brainseg.evaluation.cases import score_cases
from brainseg.evaluation.changes import compare_maps, dice_change, mean_iou_change
from brainseg.evaluation.metrics import mean_iou

SIDE, PATIENTS = 24, 20


def make_part():
    """Three images per patient with a rectangle each; maps of a network, and of a coarser one."""
    rng = np.random.default_rng(0)
    masks = np.zeros((3 * PATIENTS, SIDE, SIDE), np.uint8)
    for mask in masks[:-6]:  # the last two patients have no tumour
        top, left, height, width = rng.integers(3, 12, 4)
        mask[top : top + height, left : left + width] = 1
    noise = rng.normal(0, 40, masks.shape)
    before = np.clip(40 + 140 * masks + noise, 0, 255).astype(np.uint8)
    after = np.clip(before + rng.normal(-2, 12, masks.shape), 0, 255).astype(np.uint8)
    patients = [f"p{index // 3}" for index in range(len(masks))]
    return masks, before, after, patients


@pytest.fixture(scope="module")
def part():
    return make_part()


def cases(masks, maps, patients):
    ids = [str(index) for index in range(len(masks))]
    return score_cases(ids, ["glioma"] * len(masks), patients, maps, masks)


def draws(patients, strata, count=3000):
    """Places of the images of patients that are drawn again and again, as many of each stratum."""
    rng = np.random.default_rng(9)
    places = {name: [i for i, other in enumerate(patients) if other == name] for name in patients}
    for _ in range(count):
        chosen = [rng.choice(names, len(names)) for names in strata]
        yield [place for name in np.concatenate(chosen) for place in places[name]]


def interval(changes, patients, level):
    """Percentiles further apart for few patients, as Hesterberg writes them."""
    tail = norm.cdf(-np.sqrt(patients / (patients - 1)) * t.isf((1 - level) / 2, patients - 1))
    return np.quantile(changes, [tail, 1 - tail])


def mean_iou_of(maps, masks, rows):
    predicted, true = maps[rows] >= 128, masks[rows] > 0
    return np.mean(
        [
            (predicted & true).sum() / (predicted | true).sum(),
            (~predicted & ~true).sum() / (~predicted | ~true).sum(),
        ]
    )


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_change_of_mean_iou_agrees_with_plain_numpy(part, level):
    masks, before, after, patients = part
    names = list(dict.fromkeys(patients))
    changes = [
        mean_iou_of(after, masks, rows) - mean_iou_of(before, masks, rows)
        for rows in draws(patients, [names[:-2], names[-2:]], 1500)
    ]
    pair = (cases(masks, maps, patients) for maps in (before, after))
    low, high = mean_iou_change(*pair, level)
    expected = interval(changes, PATIENTS - 2, level)
    assert (low, high) == pytest.approx(tuple(expected), abs=0.08 * np.ptp(expected))
    everything = slice(None)
    assert low < mean_iou_of(after, masks, everything) - mean_iou_of(before, masks, everything)


def test_the_change_of_dice_agrees_with_plain_numpy(part):
    masks, before, after, patients = part

    def dice_of(maps):
        predicted, true = maps[:-6] >= 128, masks[:-6] > 0
        overlap = (predicted & true).sum(axis=(1, 2))
        return 2 * overlap / (predicted.sum(axis=(1, 2)) + true.sum(axis=(1, 2)))

    changes = dice_of(after) - dice_of(before)
    shown = patients[:-6]
    means = [changes[rows].mean() for rows in draws(shown, [list(dict.fromkeys(shown))])]
    found = dice_change(*(cases(masks, maps, patients) for maps in (before, after)))
    expected = interval(means, PATIENTS - 2, 0.95)
    assert found == pytest.approx(list(expected), abs=0.08 * np.ptp(expected))
    assert found[0] < changes.mean() < found[1]


def test_maps_are_compared_pixel_by_pixel(part):
    _, before, after, _ = part
    one, other = (maps.astype(float) / 255 for maps in (before, after))
    found = compare_maps(before, after)
    assert found["probability_mae"] == pytest.approx(np.abs(one - other).mean())
    assert found["disagreement"] == pytest.approx(np.mean((one >= 0.5) != (other >= 0.5)))
    assert compare_maps(before, before) == {"probability_mae": 0, "disagreement": 0}


def test_pixels_that_change_sides_do_not_cancel():
    before = np.array([[[127, 128]]], np.uint8)
    after = np.array([[[128, 127]]], np.uint8)
    mask = np.array([[[1, 1]]], np.uint8)
    scores = [
        mean_iou([case[key] for key in ("tp", "fp", "fn", "tn")])
        for maps in (before, after)
        for case in cases(mask, maps, ["p"])
    ]
    assert scores[0] == scores[1]
    assert compare_maps(before, after) == {
        "probability_mae": pytest.approx(1 / 255),
        "disagreement": 1,
    }


def test_without_known_patients_or_with_few_there_is_no_interval(part):
    masks, before, after, patients = part
    few = 3 * (FEWEST - 1)
    for rows, names in ((few, patients[:few]), (60, ["", *patients[1:]])):
        pair = [cases(masks[:rows], maps[:rows], names) for maps in (before, after)]
        assert mean_iou_change(*pair) is None
        assert dice_change(*pair) is None


def test_networks_that_agree_do_not_change_the_score(part):
    masks, before, _, patients = part
    same = cases(masks, before, patients)
    assert mean_iou_change(same, same) == [0, 0]
