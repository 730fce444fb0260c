import logging
from functools import partial

import onnx
import pytest

from brainseg.data.parts import read_val, to_input
from brainseg.deploy import budget
from brainseg.deploy.budget import keep_within, layer_name, rank_layers
from brainseg.deploy.ranges import calibrate
from brainseg.deploy.static import quantize_graph, rewrite


@pytest.fixture(scope="module")
def val(prepared):
    return read_val(prepared("ag"))


@pytest.fixture(scope="module")
def network(prepared, val, tmp_path_factory):
    """The rewritten network, and what quantizes it but for some nodes."""
    model = rewrite(onnx.load(prepared("ag").onnx("fp32")))
    ranges = tmp_path_factory.mktemp("ranges") / "ranges.json"
    calibrate(model, to_input(val["images"]), "minmax", ranges)
    return model, partial(quantize_graph, model, ranges)


def test_within_the_budget_nothing_stays_float(network, val):
    _, found = keep_within(*network, val, max_drop=1.0)
    assert found["within"]
    assert (found["float_layers"], found["slowdown"]) == ([], 1.0)
    assert len(found["steps"]) == 1


def test_the_search_keeps_what_lessens_the_loss(network, val, monkeypatch, caplog):
    losses = iter([0.9, 0.85, 0.8, 0.86, 0.87, 0.895])
    monkeypatch.setattr(budget, "_mean_iou", lambda model, part: next(losses))
    monkeypatch.setattr(budget, "TRIES", 4)
    with caplog.at_level(logging.WARNING):
        quantized, found = keep_within(*network, val, max_drop=0.01)
    # fp32 0.9; int8 loses 0.05; the first layer makes it worse, the others better
    assert [step["kept"] for step in found["steps"]] == [True, False, True, True, True]
    assert found["loss"] == pytest.approx(0.005)
    assert found["within"]
    assert caplog.text == ""
    assert len(found["float_layers"]) == 3
    assert found["slowdown"] > 0
    onnx.checker.check_model(quantized)


def test_a_budget_that_cannot_be_kept_is_said(network, val, monkeypatch, caplog):
    monkeypatch.setattr(budget, "TRIES", 1)
    with caplog.at_level(logging.WARNING):
        _, found = keep_within(*network, val, max_drop=-1.0)
    assert not found["within"]
    assert "above the budget of -1.0000" in caplog.text


def test_layers_are_named_after_their_modules(network, val):
    model, make = network
    images = to_input(val["images"][:2])
    ranked = rank_layers(model, make(()), images)
    names = [layer_name(model, node) for node in ranked]
    assert any(name.startswith("decoder.") for name in names)
    assert any(name.startswith("encoder.network.stages.") for name in names)
    assert len(set(ranked)) == len(ranked)
