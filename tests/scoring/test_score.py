import dataclasses

import numpy as np
import pytest
import torch

from brainseg.data.parts import read_test, to_input
from brainseg.deploy.export import load_network
from brainseg.errors import InputError
from brainseg.evaluation.cases import read_cases, summarize
from brainseg.files import read_json
from brainseg.runtime.open import open_session
from brainseg.runtime.placement import find_placement
from brainseg.scoring.score import measure, score, score_checkpoint


def counts(probabilities, masks):
    predicted, true = probabilities >= 0.5, masks == 1
    return [int(np.sum(both)) for both in (predicted & true, predicted & ~true, ~predicted & true)]


def test_the_checkpoint_is_scored_as_torch_runs_it(run):
    for path in (run.metrics, run.cases("checkpoint"), run.predictions("checkpoint")):
        path.unlink()
    metrics = score_checkpoint(run)
    test = read_test(run)
    with torch.no_grad():
        exact = load_network(run)(torch.from_numpy(to_input(test["images"])))[:, 0].numpy()
    cases = read_cases(run.cases("checkpoint"))
    assert [case["id"] for case in cases] == test["ids"].tolist()
    assert [case["class"] for case in cases] == test["classes"].tolist()
    assert [case["patient"] for case in cases] == test["patients"].tolist()
    found = [[case["tp"], case["fp"], case["fn"]] for case in cases]
    assert found == [counts(*each) for each in zip(exact, test["masks"], strict=True)]
    assert metrics == read_json(run.metrics)
    assert metrics.items() >= summarize(cases).items()
    with np.load(run.predictions("checkpoint")) as stored:
        assert stored["ids"].tolist() == test["ids"].tolist()
        assert stored["probabilities"].dtype == np.uint8
        np.testing.assert_allclose(stored["probabilities"] / 255, exact, atol=0.51 / 255)


@pytest.mark.parametrize("mode", ["fp32", "int8_dynamic"])
def test_a_file_is_scored_image_by_image(run, mode):
    run.cases(mode).unlink()
    score(run, mode, progress=False)
    session, test = open_session(run.onnx(mode)), read_test(run)
    alone = [session.run(image[None])[0, 0] for image in to_input(test["images"])]
    with np.load(run.predictions(mode)) as stored:
        np.testing.assert_allclose(stored["probabilities"] / 255, alone, atol=0.51 / 255)
    cases = read_cases(run.cases(mode))
    found = [[case["tp"], case["fp"], case["fn"]] for case in cases]
    assert found == [counts(*each) for each in zip(alone, test["masks"], strict=True)]


def test_the_values_of_a_row_that_need_no_clock(run):
    session = open_session(run.onnx("fp32"))
    metrics = summarize(read_cases(run.cases("fp32")))
    values, cases = measure(run, "fp32", session)
    assert cases == read_cases(run.cases("fp32"))
    assert values == find_placement(session) | {
        "size_bytes": len(run.onnx("fp32").read_bytes()),
        "load_ms": session.load_ms,
        "parity": float(session.metadata["parity"]),
        "mean_iou": metrics["mean_iou"],
        "tumor_iou": metrics["tumor_iou"],
        "dice": metrics["dice"],
        "val_mean_iou": metrics["mean_iou"],  # the tiny run's splits hold the same
        "delta_mean_iou_interval": None,
    }
    values, _ = measure(run, "int8_dynamic", open_session(run.onnx("int8_dynamic")))
    assert values["parity"] is None


@pytest.mark.parametrize(
    "place",
    [{"device": "cuda"}, {"runtime": "openvino"}, {"runtime": "openvino", "device": "cpu"}],
)
def test_another_runtime_or_device_is_scored_by_itself(run, place):
    session = open_session(run.onnx("fp32"))
    everywhere = dataclasses.replace(session, **place, run=np.ones_like)
    masks = read_test(run)["masks"]
    assert measure(run, "fp32", everywhere)[0]["tumor_iou"] == pytest.approx(masks.mean())
    assert measure(run, "fp32", session)[0]["tumor_iou"] != pytest.approx(masks.mean())


def test_an_interval_is_against_the_cases_that_are_given(run):
    session = open_session(run.onnx("int8_dynamic"))
    _, few = measure(run, "int8_dynamic", session)
    cases = [case | {"patient": f"{case['patient']}-{index}"} for index in range(4) for case in few]
    worse = [case | {"tp": 0, "fn": case["tp"] + case["fn"]} for case in cases]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("brainseg.scoring.score._scored", lambda *given, **options: cases)
        intervals = [
            measure(run, "int8_dynamic", session, reference)[0]["delta_mean_iou_interval"]
            for reference in (None, cases, worse)
        ]
    assert intervals[:2] == [None, [0, 0]]
    assert intervals[2][0] > 0


@pytest.mark.parametrize("missing", ["test", "onnx"])
def test_what_is_missing_is_named(run, missing):
    path = run.test if missing == "test" else run.onnx("fp32")
    path.unlink()
    with pytest.raises(InputError, match=path.name):
        score(run, "fp32")
