"""Errors of the logits against a network that is rounded by hand, in plain torch and NumPy."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from brainseg.data.parts import read_val, to_input
from brainseg.deploy.ranges import calibrate
from brainseg.deploy.sensitivity import (
    add_switches,
    expose_logits,
    logits_of,
    nodes_around,
    rank_activations,
)
from brainseg.deploy.static import insert_qdq, rewrite
from brainseg.runtime.onnxruntime import open_inference

SCALES = {"a": 0.02, "b": 0.1, "logit": 0.05}
GAIN, OFFSET = 3.0, -1.0


def tiny():
    """image → ×3, −1 (`a`) → Relu (`b`) → ×3, −1 (`logit`) → Sigmoid: convolutions of 1×1."""
    weights = {
        "gain": np.full((1, 1, 1, 1), GAIN, np.float32),
        "offset": np.array([OFFSET], np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["image", "gain", "offset"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Conv", ["b", "gain", "offset"], ["logit"], "second"),
        helper.make_node("Sigmoid", ["logit"], ["probability"], "sigmoid"),
    ]
    return make_model(nodes, weights)


def make_model(nodes, weights):
    shape = ["batch", 1, 4, 4]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def tiny_rounded():
    """As onnxruntime quantizes it: the Relu is absorbed by the rounding of `a` from zero up."""
    weights = {
        "gain": np.full((1, 1, 1, 1), GAIN, np.float32),
        "offset": np.array([OFFSET], np.float32),
        "scale_a": np.float32(SCALES["b"]),
        "zero_a": np.uint8(0),
        "scale_logit": np.float32(SCALES["logit"]),
        "zero_logit": np.uint8(100),
    }
    nodes = [helper.make_node("Conv", ["image", "gain", "offset"], ["a"], "first")]
    for name in ("a", "logit"):
        parts = [f"scale_{name}", f"zero_{name}"]
        nodes += [
            helper.make_node("QuantizeLinear", [name, *parts], [f"{name}_q"], f"{name}_q"),
            helper.make_node("DequantizeLinear", [f"{name}_q", *parts], [f"{name}_d"], f"{name}_d"),
        ]
    nodes.insert(3, helper.make_node("Conv", ["a_d", "gain", "offset"], ["logit"], "second"))
    nodes.append(helper.make_node("Sigmoid", ["logit_d"], ["probability"], "sigmoid"))
    return make_model(nodes, weights)


def round_to(values, scale, zero):
    return (np.clip(np.rint(values / scale) + zero, 0, 255) - zero) * scale


@pytest.fixture
def images():
    return np.random.default_rng(0).random((3, 1, 4, 4), dtype=np.float32)


def test_errors_are_those_of_each_rounding_alone(images):
    b = np.maximum(GAIN * images + OFFSET, 0)
    logit = GAIN * b + OFFSET
    expected = {
        "b": np.mean((GAIN * (round_to(b, SCALES["b"], 0) - b)) ** 2),
        "logit": np.mean((round_to(logit, SCALES["logit"], 100) - logit) ** 2),
    }
    found = rank_activations(tiny(), tiny_rounded(), images)
    assert list(found) == sorted(expected, key=lambda name: -expected[name])
    for name, error in expected.items():
        assert found[name] == pytest.approx(error, rel=1e-4)


def test_logits_are_what_the_sigmoid_takes(images):
    logit = GAIN * np.maximum(GAIN * images + OFFSET, 0) + OFFSET
    np.testing.assert_allclose(logits_of(tiny(), images), logit, rtol=1e-5, atol=1e-6)
    assert [each.name for each in expose_logits(tiny()).graph.output] == ["probability", "logits"]


def test_an_activation_stays_float_with_the_nodes_before_and_after_it():
    assert nodes_around(tiny(), ["b"]) == {"first", "relu", "second"}
    assert nodes_around(tiny(), ["image"]) == {"first"}
    assert nodes_around(tiny(), ["logit"]) == {"second", "sigmoid"}
    assert nodes_around(tiny(), []) == set()


@pytest.fixture(scope="module")
def network(prepared, tmp_path_factory):
    """A rewritten network, where its ranges are, and images."""
    run = prepared("none")
    model, images = rewrite(onnx.load(run.onnx("fp32"))), to_input(read_val(run)["images"])
    ranges = tmp_path_factory.mktemp("ranges") / "ranges.json"
    calibrate(model, images, "minmax", ranges)
    return model, ranges, images


def test_switches_give_the_float_network_and_nearly_the_quantized_one(network, tmp_path):
    model, ranges, images = network
    quantized = insert_qdq(model, ranges)
    switched, names = add_switches(model, quantized)
    assert len(set(names)) == len(names)
    path = tmp_path / "switched.onnx"
    onnx.save(switched, path)
    session = open_inference(path, 1)
    off, on = (
        session.run(["logits"], {"image": images, "switches": np.full(len(names), state)})[0]
        for state in (False, True)
    )
    np.testing.assert_allclose(off, logits_of(model, images), atol=1e-4)
    errors = [np.mean((each - off) ** 2) for each in (on, logits_of(quantized, images))]
    assert 0.5 < errors[0] / errors[1] < 2  # the weights of the latter are rounded, too


def test_what_stays_float_is_not_rounded(network):
    model, ranges, images = network
    first = insert_qdq(model, ranges)
    ranked = list(rank_activations(model, first, images))
    kept = insert_qdq(model, ranges, sorted(nodes_around(model, ranked[:3])))
    _, rounded = add_switches(model, kept)
    assert not set(ranked[:3]) & set(rounded)
    exact = logits_of(model, images)
    before, after = (np.mean((logits_of(each, images) - exact) ** 2) for each in (first, kept))
    assert after < before
