import logging
from functools import partial

import numpy as np
import onnx
import pytest

from brainseg.data.parts import read_val, to_input
from brainseg.deploy import budget
from brainseg.deploy.budget import choose, keep_within, layer_names
from brainseg.deploy.ranges import calibrate
from brainseg.deploy.static import quantize_graph, rewrite


@pytest.fixture(scope="module")
def val(prepared):
    return read_val(prepared("none"))


@pytest.fixture(scope="module")
def network(prepared, val, tmp_path_factory):
    """The exported network, the rewritten one, and what quantizes it but for some nodes."""
    exported = onnx.load(prepared("none").onnx("fp32"))
    model, ranges = rewrite(exported), tmp_path_factory.mktemp("ranges") / "ranges.json"
    calibrate(model, to_input(val["images"]), "minmax", ranges)
    return exported, model, partial(quantize_graph, model, ranges)


@pytest.fixture
def few(monkeypatch):
    """Two candidates, timed a few times."""
    monkeypatch.setattr(budget, "COUNTS", (1, 4))
    monkeypatch.setattr(budget, "ROUNDS", 3)


def test_within_the_budget_nothing_else_is_tried(network, val, monkeypatch):
    monkeypatch.setattr(budget, "rank_activations", None)
    _, found = keep_within(*network, val, max_drop=1.0)
    assert found["within"]
    assert (found["float_layers"], found["activations"], found["slowdown"]) == ([], 0, 1.0)
    assert found["curve"] == []


def test_the_curve_holds_every_candidate(network, val, few, monkeypatch, caplog):
    scores = iter([0.9, 0.85, 0.86, 0.895])  # fp32, all in 8 bits, and the two candidates
    monkeypatch.setattr(budget, "_mean_iou", lambda model, part, what: next(scores))
    with caplog.at_level(logging.WARNING):
        quantized, found = keep_within(*network, val, max_drop=0.01)
    points = found["curve"]
    assert [point["activations"] for point in points] == [0, 1, 4]
    assert [point["loss"] for point in points] == pytest.approx([0.05, 0.04, 0.005])
    assert points[0]["time"] == 1
    for point in points:
        low, high = point["time_interval"]
        assert low <= point["time"] <= high
        assert point["speedup"] > 0
    assert points[0]["float_layers"] == []
    assert set(points[1]["float_layers"]) <= set(points[2]["float_layers"])
    assert points[2]["logit_error"] < points[0]["logit_error"]
    assert list(found["sensitivity"].values()) == sorted(found["sensitivity"].values())[::-1]
    assert (found["within"], found["loss"]) == (True, pytest.approx(0.005))
    assert found["float_layers"] == points[2]["float_layers"] != []
    assert found["activations"] == 4
    assert caplog.text == ""
    onnx.checker.check_model(quantized)
    rounded = [
        sum(node.op_type == "QuantizeLinear" for node in each.graph.node)
        for each in (network[2](()), quantized)
    ]
    assert rounded[1] <= rounded[0] - 4


def test_a_budget_that_cannot_be_kept_is_said(network, val, few, caplog):
    with caplog.at_level(logging.WARNING):
        _, found = keep_within(*network, val, max_drop=-1.0)
    assert not found["within"]
    assert found["loss"] == min(point["loss"] for point in found["curve"])
    assert "above the budget of -1.0000" in caplog.text


def test_no_more_activations_are_kept_than_there_are(network, val, few, monkeypatch):
    monkeypatch.setattr(budget, "rank_activations", lambda *_: {"image": 1.0})
    _, found = keep_within(*network, val, max_drop=-1.0)
    assert [point["activations"] for point in found["curve"]] == [0, 1]


def test_tumours_that_nobody_outlined_do_not_count(network, val):
    counts = {name: val[name] for name in ("images", "masks", "ids")}
    known = np.arange(len(val["ids"])) % 2 == 0
    scored = {name: array[known] for name, array in counts.items()}
    assert budget._mean_iou(network[1], counts | {"unmasked": ~known}, "") == pytest.approx(
        budget._mean_iou(network[1], scored, "")
    )
    assert budget._mean_iou(network[1], counts, "") != budget._mean_iou(network[1], scored, "")


@pytest.mark.parametrize(
    ("max_drop", "chosen"),
    [(0.1, 2), (0.02, 1), (0.005, 3), (-1, 3)],
)
def test_the_fastest_within_the_budget_is_chosen(max_drop, chosen):
    times, losses = (1.0, 1.2, 0.9, 1.5), (0.03, 0.01, 0.05, 0.0)
    points = [{"time": t, "loss": loss} for t, loss in zip(times, losses, strict=True)]
    assert choose(points, max_drop) == chosen


def test_layers_are_named_after_their_modules(network):
    _, model, _ = network
    names = layer_names(model, [node.name for node in model.graph.node])
    assert any(name.startswith("decoder.") for name in names)
    assert any(name.startswith("encoder.network.stages.") for name in names)
    assert len(names) == sum(node.op_type == "Conv" for node in model.graph.node)
