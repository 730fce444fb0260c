import numpy as np
import onnx
import pytest
from onnx import helper

from brainseg.data.parts import read_val, to_input
from brainseg.deploy import static
from brainseg.deploy.opened import opened
from brainseg.deploy.ranges import calibrate
from brainseg.deploy.static import quantize_graph, reduce_range, rewrite
from brainseg.runtime.open import open_session

every_attention = pytest.mark.parametrize("attention", ["none", "ag", "se", "cbam"])


def feeding(model, node, index):
    """The kind of node that gives an input."""
    producers = {output: each.op_type for each in model.graph.node for output in each.output}
    return producers.get(node.input[index])


@pytest.fixture(scope="module")
def rewritten(prepared):
    return {name: rewrite(onnx.load(prepared(name).onnx("fp32"))) for name in ("none", "cbam")}


@pytest.fixture(scope="module")
def images(prepared):
    return to_input(read_val(prepared("none"))["images"])


@pytest.fixture
def ranges(rewritten, images, tmp_path):
    calibrate(rewritten["none"], images, "minmax", tmp_path / "ranges.json")
    return tmp_path / "ranges.json"


@every_attention
def test_the_rewritten_graph_is_the_same_function(prepared, attention, tmp_path):
    run = prepared(attention)
    onnx.save(rewrite(onnx.load(run.onnx("fp32"))), tmp_path / "rewritten.onnx")
    given = to_input(read_val(run)["images"])
    found, exact = (
        open_session(path).run(given) for path in (tmp_path / "rewritten.onnx", run.onnx("fp32"))
    )
    assert np.abs(found - exact).max() <= 5e-6


def test_convolutions_share_no_weight_and_no_bias_afterwards(tmp_path):
    arrays = {"w": np.eye(2, dtype=np.float32).reshape(2, 2, 1, 1), "b": np.ones(2, np.float32)}
    nodes = [
        helper.make_node("Conv", ["image", "w", "b"], ["middle"], name="one"),
        helper.make_node("Conv", ["middle", "w", "b"], ["logits"], name="two"),
        helper.make_node("Sigmoid", ["logits"], ["probability"], name="last"),
    ]
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 2, 4, 4])
        for name in ("image", "probability")
    ]
    constants = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "twice", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    found = rewrite(model)
    given = [name for node in found.graph.node if node.op_type == "Conv" for name in node.input[1:]]
    assert len(set(given)) == len(given) == 4
    onnx.checker.check_model(found)
    images = np.random.default_rng(0).normal(size=(3, 2, 4, 4)).astype(np.float32)
    np.testing.assert_allclose(opened(found).run(images), opened(model).run(images), rtol=1e-6)


def test_every_convolution_but_none_other_computes_in_8_bits(rewritten, ranges):
    quantized = quantize_graph(rewritten["none"], ranges)
    convolutions = [node for node in quantized.graph.node if node.op_type == "Conv"]
    assert convolutions
    for node in convolutions:
        assert {feeding(quantized, node, index) for index in (0, 1)} == {"DequantizeLinear"}
    (last,) = (node for node in quantized.graph.node if "probability" in node.output)
    assert last.op_type == "Sigmoid"
    types = {each.data_type for each in quantized.graph.initializer if each.dims}
    assert onnx.TensorProto.INT8 in types


def test_layers_stay_float_but_their_weights_are_stored(rewritten, ranges, monkeypatch):
    monkeypatch.setattr("brainseg.deploy.rewrites.STORED_FROM", 1)
    node = next(node for node in rewritten["none"].graph.node if node.op_type == "Conv")
    quantized = quantize_graph(rewritten["none"], ranges, [node.name])
    (kept,) = (each for each in quantized.graph.node if each.name == node.name)
    assert feeding(quantized, kept, 0) != "DequantizeLinear"
    assert feeding(quantized, kept, 1) == "Mul"


def test_what_is_kept_in_float_is_float_when_it_runs(rewritten, ranges, tmp_path):
    convolutions = [node for node in rewritten["none"].graph.node if node.op_type == "Conv"]
    kept = [node.name for node in convolutions[3:6]]
    found = []
    for name, keep in (("all", ()), ("some", kept)):
        path = tmp_path / f"{name}.onnx"
        onnx.save(quantize_graph(rewritten["none"], ranges, keep), path)
        kernels = open_session(path).find_kernels()
        found.append(sum("Conv" in each.operator and each.kind == "float" for each in kernels))
    assert found == [0, 3]


@pytest.mark.parametrize(
    ("flags", "reduced"), [(["avx2"], True), (["avx2", "avx512_vnni"], False), (["i8mm"], False)]
)
def test_weights_have_7_bits_where_sums_would_saturate(flags, reduced, monkeypatch):
    monkeypatch.setattr(static, "cpu_flags", lambda: flags)
    assert reduce_range() is reduced
