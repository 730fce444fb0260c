"""What is written down of predictions, also where nobody drew the outlines."""

import numpy as np
import pytest
import torch

from brainseg.data.parts import read_test, to_input
from brainseg.evaluation.appropriateness import measure_appropriateness
from brainseg.evaluation.calibration import describe_probabilities
from brainseg.evaluation.cases import score_cases, summarize
from brainseg.files import read_csv, read_json
from brainseg.model.checkpoint import load_network
from brainseg.model.coefficients import attention_coefficients
from brainseg.run import Run
from brainseg.scoring.record import ATTENDED, record, record_attention, record_truth


@pytest.fixture
def part(run):
    return read_test(run)


@pytest.fixture
def maps(part):
    """Probabilities of a network that sees most of the discs, and one where there is none."""
    maps = (200 * part["masks"]).astype(np.uint8)
    maps[0] = 0
    maps[-1, :4, :4] = 255
    return maps


def names(part, rows=slice(None)):
    return [part[name][rows].tolist() for name in ("ids", "classes", "patients")]


def test_files_hold_what_the_evaluation_room_says(part, maps, tmp_path):
    target = Run(tmp_path)
    metrics = record(target, "int8_static", part, maps)
    cases = score_cases(*names(part), maps, part["masks"])
    assert target.read(target.cases("int8_static")) == cases
    expected = summarize(cases) | describe_probabilities(maps, part["masks"]) | {"unmasked": {}}
    assert metrics == expected == read_json(tmp_path / "metrics.int8_static.json")
    with np.load(target.predictions("int8_static")) as stored:
        np.testing.assert_array_equal(stored["probabilities"], maps)
        assert stored["ids"].tolist() == part["ids"].tolist()
    shapes = read_csv(target.appropriateness("int8_static"))
    measured = measure_appropriateness(*names(part), part["images"], maps >= 128)
    assert [row["id"] for row in shapes] == [row["id"] for row in measured]
    assert [row["area_px"] for row in shapes] == [str(row["area_px"]) for row in measured]


def test_tumours_that_nobody_outlined_are_predicted_but_not_scored(part, maps, tmp_path):
    bare = np.array([True, False, True, False, False, False])
    masks = part["masks"] * ~bare[:, None, None]
    partly = part | {"unmasked": bare, "masks": masks}
    metrics = record(Run(tmp_path), "fp32", partly, maps)
    assert metrics["n"] == 4
    assert (
        metrics.items()
        >= summarize(score_cases(*names(part, ~bare), maps[~bare], masks[~bare])).items()
    )
    # Images 0 and 2 are gliomas; the network sees nothing in the first.
    assert metrics["unmasked"] == {"glioma": {"n": 2, "predicted_share": 0.5}}
    with np.load(tmp_path / "predictions.fp32.npz") as stored:
        assert len(stored["ids"]) == 6
    detected = {
        row["id"]: row["detected"] for row in read_csv(Run(tmp_path).appropriateness("fp32"))
    }
    assert (detected["case0"], detected["case2"]) == ("False", "True")
    record_truth(Run(tmp_path), partly)
    truths = {row["id"] for row in read_csv(Run(tmp_path).appropriateness("truth"))}
    assert truths == {"case1", "case3", "case4"}


def test_where_nothing_was_outlined_nothing_is_scored(part, maps, tmp_path):
    bare = part["classes"] != "notumor"
    part |= {"unmasked": bare, "masks": part["masks"] * 0}
    record_truth(Run(tmp_path), part)
    metrics = record(Run(tmp_path), "fp32", part, maps)
    assert (metrics["n"], metrics["dice"], metrics["false_positive_rate"]) == (1, None, 1)
    assert sum(row["n"] for row in metrics["unmasked"].values()) == 5
    record(Run(tmp_path), "fp32", part | {"unmasked": np.ones(6, bool)}, maps)
    assert Run(tmp_path).read(Run(tmp_path).cases("fp32")) == []


def test_coefficients_are_kept_of_each_class(prepared):
    run = prepared("ag")
    test = read_test(run)
    with np.load(run.attention) as stored:
        ids = stored["ids"].tolist()
        maps = {name: stored[name] for name in stored.files if name != "ids"}
    assert {test["classes"][test["ids"].tolist().index(name)] for name in ids} == {
        *test["classes"].tolist()
    }
    rows = [test["ids"].tolist().index(name) for name in ids]
    network = load_network(run)
    expected = attention_coefficients(network[0], torch.from_numpy(to_input(test["images"][rows])))
    assert maps.keys() == expected.keys()
    for name, values in maps.items():
        np.testing.assert_allclose(values / 255, expected[name], atol=0.51 / 255)
        assert values.dtype == np.uint8


def test_only_some_coefficients_are_kept(run, part):
    many = {name: np.concatenate([values] * 5) for name, values in part.items()}
    record_attention(run, load_network(run), many)
    with np.load(run.attention) as stored:
        assert stored.files == ["ids"]  # this run has no attention
        assert len(stored["ids"]) == 4 * ATTENDED
