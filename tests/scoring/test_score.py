import dataclasses

import numpy as np
import pytest
import torch

from brainseg.data.parts import read_test, read_val, to_input
from brainseg.errors import InputError
from brainseg.evaluation.cases import summarize
from brainseg.files import hash_file, read_json
from brainseg.model.checkpoint import load_network
from brainseg.rows import read_rows
from brainseg.runtime.open import open_session
from brainseg.runtime.placement import find_placement
from brainseg.scoring import measure as subject
from brainseg.scoring import score as scoring
from brainseg.scoring.changes import CHANGES, compare
from brainseg.scoring.kept import home_of, source_of
from brainseg.scoring.measure import measure
from brainseg.scoring.score import (
    is_settled,
    predict_checkpoint,
    score_checkpoint,
    score_mode,
)
from brainseg.scoring.scores import Scores

HERE = "onnxruntime-cpu"


def counts(probabilities, masks):
    predicted, true = probabilities >= 0.5, masks == 1
    return [int(np.sum(both)) for both in (predicted & true, predicted & ~true, ~predicted & true)]


def test_the_checkpoint_is_scored_as_torch_runs_it(run):
    for path in (run.metrics, run.cases("checkpoint"), run.predictions("checkpoint")):
        path.unlink()
    metrics = score_checkpoint(run, load_network(run))
    test = read_test(run)
    with torch.no_grad():
        exact = load_network(run)(torch.from_numpy(to_input(test["images"])))[:, 0].numpy()
    cases = run.read(run.cases("checkpoint"))
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


def test_a_full_gpu_leaves_the_checkpoint_to_the_cpu(run, monkeypatch, caplog):
    def predict(device, *given):
        if device == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return on_device(device, *given)

    on_device = scoring._predict_on
    network, test = load_network(run), read_test(run)
    expected = predict_checkpoint(network, test, progress=False)
    monkeypatch.setattr(scoring, "_predict_on", predict)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    found = predict_checkpoint(network, test, progress=False)
    np.testing.assert_array_equal(found, expected)
    assert "The GPU is full" in caplog.text


def test_the_checkpoint_is_scored_in_plain_fp32(run):
    class Network(torch.nn.Module):
        def forward(self, images):
            allowed.append(torch.backends.cudnn.allow_tf32)
            return images

    allowed: list[bool] = []
    predict_checkpoint(Network(), read_test(run), progress=False)
    assert set(allowed) == {False}


@pytest.mark.parametrize("mode", ["fp32", "int8_dynamic"])
def test_a_file_is_scored_image_by_image(run, mode):
    run.cases(mode).unlink()
    session, test = open_session(run.onnx(mode)), read_test(run)
    scores = score_mode(run, mode, session, progress=False)
    alone = [session.run(image[None])[0, 0] for image in to_input(test["images"])]
    with np.load(run.predictions(mode)) as stored:
        np.testing.assert_allclose(stored["probabilities"] / 255, alone, atol=0.51 / 255)
    assert scores.test == run.read(run.cases(mode))
    assert scores.val == run.read(run.cases(mode, "val"))
    found = [[case["tp"], case["fp"], case["fn"]] for case in scores.test]
    assert found == [counts(*each) for each in zip(alone, test["masks"], strict=True)]


def test_the_values_of_a_row_that_need_no_clock(run):
    session = open_session(run.onnx("fp32"))
    metrics = summarize(run.read(run.cases("fp32")))
    values = measure(run, "fp32", session)
    assert values == find_placement(session) | {
        "got": {"providers": ["CPUExecutionProvider"]},
        "scores_from": None,
        "network": hash_file(run.onnx("fp32")),
        "size_bytes": len(run.onnx("fp32").read_bytes()),
        "load_ms": session.load_ms,
        "parity": run.read_made("fp32")["parity"],
        "mean_iou": metrics["mean_iou"],
        "tumor_iou": metrics["tumor_iou"],
        "dice": metrics["dice"],
        "val_mean_iou": metrics["mean_iou"],  # the tiny run's splits hold the same
        **dict.fromkeys(CHANGES),
    }
    values = measure(run, "int8_dynamic", open_session(run.onnx("int8_dynamic")))
    assert values["parity"] is None
    before, after = (Scores.read(run, mode, HERE) for mode in ("fp32", "int8_dynamic"))
    assert values.items() >= compare(before, after).items()


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ({"device": "cuda"}, "onnxruntime-cuda"),
        ({"runtime": "openvino"}, "openvino-cpu"),
        ({"runtime": "openvino", "precision": "bf16"}, "openvino-cpu-bf16"),
    ],
)
def test_scores_of_every_place_are_kept_and_computed_once(run, change_graph, place, name):
    def predict(images):
        seen.append(len(images))
        return np.ones_like(images)

    seen: list[int] = []
    usual = open_session(run.onnx("fp32"))
    elsewhere = dataclasses.replace(usual, **place, run=predict)
    share = read_test(run)["masks"].mean()
    all_images = len(read_test(run)["ids"]) + len(read_val(run)["ids"])
    compared = len(read_test(run)["ids"])  # fewer than `AGREEING`
    found = measure(run, "fp32", elsewhere)
    assert (found["tumor_iou"], found["scores_from"]) == (pytest.approx(share), None)
    assert len(seen) == compared + all_images
    assert run.cases("fp32", "test", name).exists()
    assert (run.read(run.predictions("fp32", name))["probabilities"] == 255).all()
    assert Scores.read(run, "fp32", name).maps == run.predictions("fp32", name)
    assert measure(run, "fp32", elsewhere)["tumor_iou"] == pytest.approx(share)
    assert len(seen) == compared + all_images  # read again
    assert measure(run, "fp32", usual)["tumor_iou"] != pytest.approx(share)
    change_graph(run.onnx("fp32"))
    measure(run, "fp32", elsewhere)
    assert len(seen) > compared + all_images


def predictions_of(run, mode):
    with np.load(run.predictions(mode)) as kept:
        return kept["probabilities"]


def test_scores_are_taken_over_where_masks_agree_to_the_pixel(run, change_graph):
    def predict(images):
        seen.append(len(images))
        return (session.run(images) - 0.5) * 0.9 + 0.5  # other probabilities, the same masks

    seen: list[int] = []
    session = open_session(run.onnx("fp32"))
    elsewhere = dataclasses.replace(session, device="cuda", run=predict)
    found = measure(run, "fp32", elsewhere)
    assert found["scores_from"] == "onnxruntime-cpu"
    assert len(seen) == len(read_test(run)["ids"])
    assert not run.cases("fp32", "test", "onnxruntime-cuda").exists()
    assert Scores.read(run, "fp32", "onnxruntime-cuda") == Scores.read(run, "fp32", HERE)
    measure(run, "fp32", elsewhere)
    assert len(seen) == len(read_test(run)["ids"])  # noted
    change_graph(run.onnx("fp32"))
    assert source_of(run, "fp32", "onnxruntime-cuda") is None


def test_one_pixel_of_another_mask_is_enough_to_score_anew(run):
    def predict(images):
        found = session.run(images)
        if (images == marked).all():
            found[0, 0, 5, 5] = 1 - found[0, 0, 5, 5]
        return found

    session = open_session(run.onnx("fp32"))
    marked = to_input(read_test(run)["images"][3:4])
    assert predictions_of(run, "fp32")[3, 5, 5] != 128
    found = measure(run, "fp32", dataclasses.replace(session, device="cuda", run=predict))
    assert found["scores_from"] is None
    cases = run.read(run.cases("fp32", "test", "onnxruntime-cuda"))
    usual = run.read(run.cases("fp32"))
    assert [case["id"] for case, same in zip(cases, usual, strict=True) if case != same] == [
        "case3"
    ]


def test_without_kept_predictions_nothing_can_be_compared(run):
    run.predictions("fp32").unlink()
    elsewhere = dataclasses.replace(open_session(run.onnx("fp32")), device="cuda")
    assert not is_settled(run, "fp32", elsewhere)
    assert measure(run, "fp32", elsewhere)["scores_from"] is None


def test_what_is_scored_first_on_a_gpu_is_taken_over_by_the_cpu(run):
    run.cases("fp32").unlink()
    cpu = open_session(run.onnx("fp32"))
    cuda = dataclasses.replace(cpu, device="cuda")
    assert measure(run, "fp32", cuda)["scores_from"] is None
    assert home_of(run, "fp32") == "onnxruntime-cuda"
    assert run.cases("fp32").exists()  # with all that a mode has
    assert measure(run, "fp32", cpu)["scores_from"] == "onnxruntime-cuda"
    run.cases("fp32").unlink()
    tf32 = dataclasses.replace(cuda, precision="tf32")
    assert measure(run, "fp32", tf32)["scores_from"] is None
    assert home_of(run, "fp32") is None  # another arithmetic is no home


def test_placement_is_found_once(run, monkeypatch):
    def fail(session):
        raise AssertionError("placement is known")

    known = read_rows(run)[1].placement
    monkeypatch.setattr(subject, "find_placement", fail)
    values = measure(run, "int8_dynamic", open_session(run.onnx("int8_dynamic")))
    assert values["placement"] == known


def test_changes_are_against_fp32_in_the_same_place(run, monkeypatch):
    compared = []
    run.deploy.unlink()  # where they are known
    monkeypatch.setattr(subject, "compare", lambda *scores: compared.append(scores) or {})
    openvino = {"runtime": "openvino"}
    for mode, place in (
        ("fp32", {}),
        ("int8_dynamic", {}),
        ("fp32", openvino),
        ("int8_dynamic", openvino),
    ):
        measure(run, mode, dataclasses.replace(open_session(run.onnx(mode)), **place))
    bf16 = dataclasses.replace(open_session(run.onnx("fp32")), precision="bf16", **openvino)
    measure(run, "fp32", bf16)
    here, there = Scores.read(run, "fp32", HERE), Scores.read(run, "fp32", "openvino-cpu")
    assert [baseline for baseline, _ in compared] == [here, there, there]


def test_changes_are_found_once(run, monkeypatch):
    session = open_session(run.onnx("int8_dynamic"))
    found = measure(run, "int8_dynamic", session)
    monkeypatch.setattr(subject, "compare", None)
    again = measure(run, "int8_dynamic", session)
    assert {name: again[name] for name in CHANGES} == {name: found[name] for name in CHANGES}


@pytest.mark.parametrize("missing", ["test", "val"])
def test_what_is_missing_is_named(run, missing):
    session = open_session(run.onnx("fp32"))
    path = getattr(run, missing)
    path.unlink()
    run.cases("fp32").unlink()
    with pytest.raises(InputError, match=path.name):
        score_mode(run, "fp32", session)
