import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from brainseg.data.parts import read_val, to_input
from brainseg.deploy.equalize import equalize, find_chains, measure_channels
from brainseg.deploy.static import rewrite
from brainseg.runtime.open import open_session

every_attention = pytest.mark.parametrize("attention", ["none", "ag", "se", "cbam"])


def chains(model):
    return [
        (chain.first.name, chain.middle, [node.name for node in chain.others])
        for chain in find_chains(ir.from_proto(model).graph)
    ]


def run_graph(model, images, path):
    onnx.save(model, path)
    return open_session(path).run(images)


def make_graph(nodes, shapes, seed=0):
    """A graph from `image` to `probability`, of nodes and random weights."""
    rng = np.random.default_rng(seed)
    constants = [
        numpy_helper.from_array(rng.lognormal(0, 2, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])
    last = helper.make_tensor_value_info("probability", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "graph", [image], [last], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model)


def node(kind, inputs, output, **attributes):
    return helper.make_node(kind, inputs, [output], name=output, **attributes)


THREE_IN_A_ROW = make_graph(
    [
        node("Conv", ["image", "w1", "b1"], "first"),
        node("LeakyRelu", ["first"], "rectified", alpha=0.1),
        node("Conv", ["rectified", "w2", "b2"], "depthwise", group=4),
        node("Conv", ["depthwise", "w3"], "left"),
        node("Conv", ["depthwise", "w4"], "right"),
        node("Add", ["left", "right"], "probability"),
    ],
    {
        **{"w1": (4, 1, 3, 3), "b1": (4,), "w2": (4, 1, 1, 1), "b2": (4,)},
        **{"w3": (2, 4, 1, 1), "w4": (2, 4, 1, 1)},
    },
)


@every_attention
def test_the_function_stays_the_same(prepared, attention, tmp_path):
    run = prepared(attention)
    images = to_input(read_val(run)["images"])
    model = rewrite(onnx.load(run.onnx("fp32")))
    found = run_graph(equalize(model, images), images, tmp_path / "equal.onnx")
    exact = run_graph(model, images, tmp_path / "model.onnx")
    assert np.abs(found - exact).max() <= 1e-5
    assert len(chains(model)) >= 10


def test_magnitudes_on_both_sides_are_equal_afterwards():
    images = np.random.default_rng(1).random((3, 1, 8, 8), np.float32)
    assert chains(THREE_IN_A_ROW) == [
        ("first", "rectified", ["depthwise"]),
        ("depthwise", "depthwise", ["left", "right"]),
    ]
    before = measure_channels(THREE_IN_A_ROW, images)
    after = measure_channels(equalize(THREE_IN_A_ROW, images), images)
    arrays = {each.name: numpy_helper.to_array(each) for each in THREE_IN_A_ROW.graph.initializer}
    rows = np.abs(np.vstack([arrays["w3"], arrays["w4"]]))[:, :, 0, 0]
    relative = (rows / rows.max(axis=1, keepdims=True)).max(axis=0)
    expected = np.sqrt(before["depthwise"] * relative)
    assert after["depthwise"] == pytest.approx(expected, rel=1e-4)
    # A depthwise convolution has one weight in a row, the largest.
    assert after["rectified"] == pytest.approx(np.sqrt(before["rectified"]), rel=1e-4)


def test_three_in_a_row_are_the_same_function(tmp_path):
    images = np.random.default_rng(1).random((3, 1, 8, 8), np.float32)
    changed = equalize(THREE_IN_A_ROW, images)
    found = run_graph(changed, images, tmp_path / "equal.onnx")
    assert found == pytest.approx(run_graph(THREE_IN_A_ROW, images, tmp_path / "m.onnx"), rel=1e-5)


@pytest.mark.parametrize(
    ("others", "shapes"),
    [
        ([node("Sigmoid", ["first"], "x"), node("Conv", ["x", "w2"], "probability")], {}),
        ([node("Conv", ["first", "w2"], "x"), node("Add", ["first", "x"], "probability")], {}),
        ([node("Conv", ["first", "w2"], "probability", group=2)], {"w2": (4, 2, 1, 1)}),
        ([node("Conv", ["first", "w2"], "x"), node("Conv", ["x", "w2"], "probability")], {}),
    ],
    ids=["not a rectifier", "another user", "groups", "a weight of two"],
)
def test_what_is_no_chain_is_left_alone(others, shapes):
    sizes = {"w1": (4, 1, 1, 1), "w2": (4, 4, 1, 1)} | shapes
    model = make_graph([node("Conv", ["image", "w1"], "first"), *others], sizes)
    assert chains(model) == []


def test_channels_that_stay_at_zero_are_not_scaled():
    weights = THREE_IN_A_ROW.graph.initializer
    model = onnx.ModelProto()
    model.CopyFrom(THREE_IN_A_ROW)
    dead = numpy_helper.to_array(weights[0]).copy()
    dead[1] = 0
    bias = numpy_helper.to_array(weights[1]).copy()
    bias[1] = 0
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(dead, "w1"))
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(bias, "b1"))
    changed = equalize(model, np.ones((1, 1, 8, 8), np.float32))
    before, after = (
        {each.name: numpy_helper.to_array(each) for each in graph.graph.initializer}
        for graph in (model, changed)
    )
    assert (after["b1"] == before["b1"]).tolist() == [False, True, False, False]
    assert (after["w1"][1] == 0).all()
    # What arrives at the depthwise convolution; its outputs are scaled as its bias is.
    factors = (after["w2"] / before["w2"]).ravel() / (after["b2"] / before["b2"])
    assert np.isclose(factors, 1, rtol=1e-5).tolist() == [False, True, False, False]
    assert all(np.isfinite(array).all() for array in after.values())
