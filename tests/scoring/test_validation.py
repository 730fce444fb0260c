"""Thresholds and test-time augmentation on validation slices."""

import numpy as np
import pytest
from sklearn.metrics import jaccard_score

from brainseg.scoring.validation import THRESHOLDS, count, validate


def test_counts_at_every_threshold_against_numpy():
    random = np.random.default_rng(0)
    probabilities = random.random((30, 40)).astype(np.float32)
    probabilities[0, :5] = THRESHOLDS[:5]  # exactly at a threshold is tumour
    mask = random.random((30, 40)) < 0.3
    for threshold, found in zip(THRESHOLDS, count(probabilities, mask), strict=True):
        predicted = probabilities >= threshold
        expected = [
            (predicted & mask).sum(),
            (predicted & ~mask).sum(),
            (~predicted & mask).sum(),
            (~predicted & ~mask).sum(),
        ]
        assert found.tolist() == expected


def test_the_best_threshold_is_measured_once(run):
    calls = []

    def segment(images, way):
        calls.append(way)
        truth = masks[len(calls) - 1 if way == "none" else (len(calls) - 1) % len(masks)]
        return np.where(truth, 0.35, 0.2).astype(np.float32)[None]

    masks = run.read(run.val)["masks"] > 0
    found = validate(run, "fp32", ("none",), segment)
    way = found["tta"]["none"]
    assert 0.2 < way["best"]["threshold"] <= 0.35
    assert way["best"]["mean_iou"] == 1.0
    truth = masks.ravel()
    nothing = jaccard_score(~truth, np.ones_like(truth))
    assert way["usual"]["mean_iou"] == pytest.approx(nothing / 2)  # all tumours are missed
    assert len(calls) == found["n"] == len(masks)
    assert validate(run, "fp32", ("none",), segment) == found
    assert len(calls) == len(masks)
    validate(run, "fp32", ("none", "flips"), segment)
    assert calls[len(masks) :] == ["flips"] * len(masks)
    assert run.read(run.validation("fp32"))["tta"].keys() == {"none", "flips"}


def test_another_network_is_measured_anew(run, change_graph):
    def segment(images, way):
        return np.zeros(images.shape, np.float32)

    first = validate(run, "fp32", ("none",), segment)
    change_graph(run.onnx("fp32"))
    second = validate(run, "fp32", ("none",), segment)
    assert first["network"] != second["network"]
