import json
from statistics import fmean

import numpy as np
import pytest
from scipy.stats import binom

from brainseg.content.read import read_content
from brainseg.errors import DamagedFile, InputError
from brainseg.evaluation.bootstrap import patient_bootstrap, pooled_bootstrap
from brainseg.evaluation.cases import COLUMNS, score_cases, summarize, to_uint8
from brainseg.evaluation.metrics import (
    confusion,
    hd95_px,
    mean_iou,
    mean_ious,
    tumor_iou,
    tumor_ious,
)
from brainseg.files import write_csv
from brainseg.run import Run

CLASSES = ["glioma", "meningioma", "notumor", "pituitary"]


def rectangle(top, left, height, width, shape=(12, 16)):
    mask = np.zeros(shape, dtype=np.uint8)
    mask[top : top + height, left : left + width] = 255
    return mask


def inputs(n=24, seed=0):
    """Rectangles, found a little beside; one missed, one false pixel; two images per patient."""
    rng = np.random.default_rng(seed)
    classes = [CLASSES[(i // 2) % 4] for i in range(n)]
    corners = rng.integers(0, 7, size=(n, 2))
    heights = [0 if name == "notumor" else 4 for name in classes]
    masks = np.stack([rectangle(*at, high, 5) for at, high in zip(corners, heights, strict=True)])
    shifts = rng.integers(0, 3, size=(n, 2))
    probabilities = np.stack([np.roll(m, by, (0, 1)) for m, by in zip(masks, shifts, strict=True)])
    probabilities[0] = 127
    probabilities[classes.index("notumor"), 3, 3] = 128
    ids, patients = [f"{i:03}" for i in range(n)], [str(i // 2) for i in range(n)]
    return ids, classes, patients, probabilities, masks


@pytest.fixture
def cases():
    return score_cases(*inputs())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_uint8_maps_keep_the_threshold(dtype):
    half, one = dtype(0.5), dtype(1)
    edge = np.array([0, np.nextafter(half, dtype(0)), half, np.nextafter(half, one), 1], dtype)
    assert to_uint8(edge).tolist() == [0, 127, 128, 128, 255]
    probabilities = np.random.default_rng(0).random((50, 40)).astype(dtype)
    maps = to_uint8(probabilities)
    assert maps.dtype == np.uint8
    assert np.array_equal(maps >= 128, probabilities >= 0.5)
    assert np.abs(maps / 255 - probabilities.astype(float)).max() <= 0.5 / 255 + 1e-3 * (
        dtype == np.float16
    )


def test_uint8_maps_do_not_wrap_around():
    assert to_uint8(np.array([-0.004, 1.004])).tolist() == [0, 255]


def test_a_diverged_network_is_not_scored_as_no_tumour():
    with pytest.raises(InputError, match="2 NaN in 3 pixels"):
        to_uint8(np.array([0.5, np.nan, np.nan]))


def test_a_row_has_the_columns_and_the_scores_of_its_image():
    truth, prediction = rectangle(2, 2, 4, 5), rectangle(2, 4, 4, 5)
    (row,) = score_cases(["7"], ["glioma"], ["P1"], prediction[None], truth[None])
    assert list(row) == COLUMNS
    assert row == {
        "id": "7", "class": "glioma", "patient": "P1", "tp": 12, "fp": 8, "fn": 8, "tn": 164,
        "dice": 0.6, "hd95_px": hd95_px(prediction, truth),
    }  # fmt: skip
    assert row["hd95_px"] == 2


@pytest.mark.parametrize(("value", "hit"), [(127, False), (128, True)])
def test_tumour_begins_at_128(value, hit):
    truth = rectangle(2, 2, 4, 5)
    (row,) = score_cases(
        ["0"], ["glioma"], ["0"], truth[None] // 255 * np.uint8(value), truth[None]
    )
    assert (row["tp"], row["dice"]) == ((20, 1.0) if hit else (0, 0.0))


def test_without_tumour_dice_and_distance_are_undefined_even_with_a_prediction():
    masks = np.zeros((2, 12, 16), dtype=np.uint8)
    predictions = np.stack([masks[0], rectangle(0, 0, 2, 2)])
    rows = score_cases(["0", "1"], ["notumor"] * 2, ["0", "1"], predictions, masks)
    assert [(row["fp"], row["dice"], row["hd95_px"]) for row in rows] == [
        (0, None, None),
        (4, None, None),
    ]


def test_inputs_that_do_not_fit_are_refused():
    ids, classes, patients, probabilities, masks = inputs()
    with pytest.raises(TypeError, match="found float32"):
        score_cases(ids, classes, patients, (probabilities / 255).astype(np.float32), masks)
    with pytest.raises(ValueError, match="shape"):
        score_cases(ids, classes, patients, probabilities[:, None], masks)
    with pytest.raises(ValueError, match="longer"):
        score_cases(ids[:-1], classes, patients, probabilities, masks)


def test_cases_survive_the_file(cases, tmp_path):
    file = Run(tmp_path).cases("fp32")
    write_csv(file, cases, COLUMNS)
    back = read_content(file)
    assert back == cases
    assert [[type(v) for v in row.values()] for row in back] == [
        [type(v) for v in row.values()] for row in cases
    ]
    assert json.dumps(summarize(back)) == json.dumps(summarize(cases))


def test_further_columns_are_kept(cases, tmp_path):
    file = Run(tmp_path).cases("fp32")
    write_csv(file, [row | {"source": "x"} for row in cases], [*COLUMNS, "source"])
    back = read_content(file)
    assert {row["source"] for row in back} == {"x"}
    assert summarize(back) == summarize(cases)


@pytest.mark.parametrize(
    "text", ["id,class\n1,glioma\n", ",".join(COLUMNS) + "\n1,a,b,x,0,0,0,,\n"]
)
def test_another_file_is_refused_with_its_name(text, tmp_path):
    file = Run(tmp_path).cases("fp32")
    file.write_text(text)
    with pytest.raises(DamagedFile, match=r"cases\.fp32\.csv is damaged"):
        read_content(file)


def test_summary_follows_its_definitions(cases):
    _, _, patients, probabilities, masks = inputs()
    predictions, truths = probabilities >= 128, masks > 0
    tumor = truths.any(axis=(1, 2))
    hit = (predictions & truths).any(axis=(1, 2))
    overlap, sizes = (predictions & truths).sum(axis=(1, 2)), (predictions * 1 + truths)
    dices = (2 * overlap / np.maximum(sizes.sum(axis=(1, 2)), 1))[tumor]
    found = summarize(cases)
    by_class = found.pop("classes")
    others = {"n": 6, "false_positive_rate": found["false_positive_rate"]}
    nothing = {"n": 0, "false_positive_rate": None}
    assert found.pop("negatives") == {"of_tumor_patients": nothing, "others": others}
    shown = np.array(patients)[tumor]
    low, high = patient_bootstrap(dices, shown.tolist())
    distances = [row["hd95_px"] for row in cases if row["class"] != "notumor"]
    counts = confusion(predictions, truths)
    doubled, pixels = (2 * overlap)[tumor], sizes.sum(axis=(1, 2))[tumor]
    of_patients = {
        name: doubled[shown == name].sum() / pixels[shown == name].sum()
        for name in sorted(set(shown.tolist()))
    }
    assert found == {
        "mean_iou": mean_iou(confusion(predictions, truths)),
        "tumor_iou": tumor_iou(confusion(predictions, truths)),
        "mean_iou_interval": list(pooled_bootstrap(counts, patients, mean_ious)),
        "tumor_iou_interval": list(pooled_bootstrap(counts, patients, tumor_ious)),
        "dice": pytest.approx(np.mean(dices)),
        "dice_interval": [pytest.approx(low), pytest.approx(high)],
        "patient_dice": pytest.approx(np.mean(list(of_patients.values()))),
        "patient_dice_interval": pytest.approx(
            patient_bootstrap(list(of_patients.values()), list(of_patients))
        ),
        "hd95_px": fmean(distances),
        "hd95_px_interval": list(patient_bootstrap(distances, shown.tolist())),
        "detection_rate": pytest.approx(hit[tumor].mean()),
        "detection_rate_interval": list(patient_bootstrap(hit[tumor], shown.tolist())),
        "false_positive_rate": pytest.approx(predictions[~tumor].any(axis=(1, 2)).mean()),
        "false_positive_rate_interval": None,  # of six patients
        "n": 24,
        "n_tumor": 18,
        "n_patients": 12,
        "undefined": {
            "mean_iou": 0, "tumor_iou": 0, "dice": 6, "hd95_px": 6,
            "detection_rate": 6, "false_positive_rate": 18,
        },
    }  # fmt: skip
    assert low < found["dice"] < high
    assert found["detection_rate"] < 1
    assert list(by_class) == CLASSES
    for name, part in by_class.items():
        alone = summarize([row for row in cases if row["class"] == name])
        assert alone.pop("classes") == {name: part}
        del alone["negatives"]
        assert alone == part


def test_negatives_of_tumour_patients_are_told_from_others():
    truths, found = np.zeros((2, 5, 4, 4), np.uint8)
    truths[0, 1, 1] = 255  # a tumour of patient a
    found[[1, 3], 0, 0] = 255  # false positives in one image of a, and in one of b
    names, patients = list("01234"), ["a", "a", "a", "b", ""]
    classes = ["glioma", *["notumor"] * 4]
    assert summarize(score_cases(names, classes, patients, found, truths))["negatives"] == {
        "of_tumor_patients": {"n": 2, "false_positive_rate": 0.5},
        "others": {"n": 2, "false_positive_rate": 0.5},
    }


def test_rates_have_intervals_where_all_patients_are_known(cases):
    row = next(row for row in cases if row["class"] == "notumor") | {"fp": 0}
    rows = [row | {"patient": f"p{index}", "fp": index % 4 == 0} for index in range(12)]
    found = summarize(rows)
    assert found["false_positive_rate"] == 0.25
    low, high = found["false_positive_rate_interval"]
    # A cluster bootstrap of single images draws from a binomial distribution.
    assert [low, high] == pytest.approx(binom(12, 0.25).ppf([0.025, 0.975]) / 12, abs=1 / 12)
    unknown = summarize([*rows, row | {"patient": ""}])
    assert unknown["false_positive_rate"] == pytest.approx(3 / 13)
    assert unknown["false_positive_rate_interval"] is None
    silent = summarize([row | {"fp": 0} for row in rows])
    assert (silent["false_positive_rate"], silent["false_positive_rate_interval"]) == (0, None)


def test_what_is_undefined_is_none(cases):
    classes = summarize(cases)["classes"]
    healthy, glioma = classes["notumor"], classes["glioma"]
    for metric in ("dice", "dice_interval", "hd95_px", "detection_rate"):
        assert healthy[metric] is None
    assert healthy["tumor_iou"] == 0.0  # one false pixel: defined, and nothing of it is right
    assert healthy["undefined"]["dice"] == healthy["n"] == 6
    assert glioma["false_positive_rate"] is None
    assert glioma["undefined"]["false_positive_rate"] == glioma["n"] == 6
    clean = summarize([row for row in cases if row["class"] == "notumor" and not row["fp"]])
    assert clean["tumor_iou"] is None
    assert clean["undefined"]["tumor_iou"] == clean["n"] == 5
    assert (clean["mean_iou"], clean["false_positive_rate"]) == (1.0, 0.0)


def test_a_missed_tumour_counts_the_diagonal():
    truth = rectangle(2, 2, 4, 5)
    masks, found = np.stack([truth, truth]), np.stack([truth, np.zeros_like(truth)])
    summary = summarize(score_cases(["0", "1"], ["glioma"] * 2, ["a", "b"], found, masks))
    assert summary["hd95_px"] == 20 / 2  # the diagonal of 12×16, and nought
    assert (summary["dice"], summary["detection_rate"]) == (0.5, 0.5)


def test_no_cases_give_no_numbers():
    summary = summarize([])
    assert (summary["n"], summary["n_tumor"], summary["n_patients"]) == (0, 0, 0)
    assert summary["classes"] == {}
    assert summary["mean_iou"] is summary["dice"] is summary["false_positive_rate"] is None


def test_summary_is_plain_json(cases):
    summary = summarize(cases)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary

    def leaves(value):
        nested = value.values() if isinstance(value, dict) else value
        return [leaf for v in nested for leaf in (leaves(v) if isinstance(v, dict | list) else [v])]

    assert {type(leaf) for leaf in leaves(summary)} <= {int, float, type(None)}
