from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import helper, numpy_helper

from brainseg.data.parts import read_test, to_input
from brainseg.deploy import rewrites
from brainseg.deploy.rewrites import (
    STAYS_FLOAT,
    asymmetric,
    batch_norm_to_depthwise,
    reduce_to_global_pool,
    store_weights,
    symmetric_per_channel,
    transposed_to_convolution,
)
from brainseg.runtime.open import open_session

ATTENTIONS = ("none", "ag", "se", "cbam")
every_attention = pytest.mark.parametrize("attention", ATTENTIONS)
exact_ones = pytest.mark.parametrize(
    "rewrite", [batch_norm_to_depthwise, transposed_to_convolution, reduce_to_global_pool]
)


def run_graph(model, images):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def kinds(model):
    return Counter(node.op_type for node in model.graph.node)


class TestRewrites:
    @pytest.fixture
    def model(self, prepared, attention):
        return onnx.load(prepared(attention).onnx("fp32"))

    @pytest.fixture
    def images(self, prepared, attention):
        return to_input(read_test(prepared(attention))["images"])

    @every_attention
    @exact_ones
    def test_the_function_stays(self, model, images, rewrite):
        changed = rewrite(model)
        onnx.checker.check_model(changed, full_check=True)
        difference = np.abs(run_graph(changed, images) - run_graph(model, images)).max()
        assert difference <= 2e-6

    @every_attention
    @exact_ones
    def test_the_function_stays_in_openvino_too(self, model, images, rewrite, tmp_path):
        outputs = []
        for name, graph in (("before", model), ("after", rewrite(model))):
            onnx.save(graph, tmp_path / f"{name}.onnx")
            session = open_session(tmp_path / f"{name}.onnx", runtime="openvino")
            outputs.append(session.run(images))
        assert np.abs(outputs[1] - outputs[0]).max() <= 2e-6

    @every_attention
    @exact_ones
    def test_the_given_graph_stays_as_it_is(self, model, rewrite):
        before = model.SerializeToString()
        rewrite(model)
        assert model.SerializeToString() == before

    @every_attention
    def test_norms_become_depthwise_convolutions(self, model):
        before, after = kinds(model), kinds(batch_norm_to_depthwise(model))
        assert before["BatchNormalization"] > 0
        assert after["BatchNormalization"] == 0
        assert after["Conv"] == before["Conv"] + before["BatchNormalization"]

    @every_attention
    def test_no_transposed_convolution_is_left(self, model):
        after = kinds(transposed_to_convolution(model))
        assert after["ConvTranspose"] == 0
        assert after["DepthToSpace"] == kinds(model)["ConvTranspose"] == 5

    @pytest.mark.parametrize(("attention", "pools"), [("none", 0), ("ag", 0), ("se", 10)])
    def test_channel_means_become_global_pools(self, model, pools):
        after = kinds(reduce_to_global_pool(model))
        assert after["GlobalAveragePool"] - kinds(model)["GlobalAveragePool"] == pools
        assert after["ReduceMean"] == 0

    @pytest.mark.parametrize("attention", ["cbam"])
    def test_means_over_channels_stay(self, model):
        after = kinds(reduce_to_global_pool(model))
        assert after["ReduceMean"] == after["ReduceMax"] == 10
        assert after["GlobalAveragePool"] == after["GlobalMaxPool"] == 10

    @every_attention
    @pytest.mark.parametrize("per_channel", [False, True])
    def test_stored_weights_are_a_quarter_and_close(self, model, images, per_channel, monkeypatch):
        monkeypatch.setattr(rewrites, "STORED_FROM", 1)
        stored = store_weights(model, per_channel=per_channel)
        onnx.checker.check_model(stored, full_check=True)
        kernels = {
            node.input[1] for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose")
        }
        assert not kernels & {each.name for each in stored.graph.initializer}
        assert 0 < np.abs(run_graph(stored, images) - run_graph(model, images)).max() < 0.2

    @pytest.mark.parametrize("attention", ["ag"])
    def test_stored_weights_fold_into_the_float_graph(self, model, tmp_path):
        loaded = []
        for name, graph in (("float", model), ("stored", store_weights(model))):
            options = ort.SessionOptions()
            options.log_severity_level = 4
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
            options.optimized_model_filepath = str(tmp_path / f"{name}.onnx")
            ort.InferenceSession(
                graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            loaded.append(kinds(onnx.load(tmp_path / f"{name}.onnx")))
        assert loaded[0] == loaded[1]


@pytest.mark.parametrize("many", [0, 10**9], ids=["four convolutions", "one convolution"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_transposed_convolution_equals_torch(many, bias, monkeypatch):
    monkeypatch.setattr(rewrites, "MANY_WEIGHTS", many)
    torch.manual_seed(0)
    layer = torch.nn.ConvTranspose2d(3, 5, 3, 2, 1, output_padding=1, bias=bias)
    image = torch.rand(2, 3, 4, 6)
    constants = [numpy_helper.from_array(layer.weight.detach().numpy(), "w")]
    if bias:
        constants.append(numpy_helper.from_array(layer.bias.detach().numpy(), "b"))
    node = helper.make_node(
        "ConvTranspose",
        ["x", *(each.name for each in constants)],
        ["y"],
        name="up",
        kernel_shape=[3, 3],
        strides=[2, 2],
        pads=[1, 1, 1, 1],
        output_padding=[1, 1],
    )
    sides = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, channels, *shape])
        for name, channels, shape in (("x", 3, (4, 6)), ("y", 5, (8, 12)))
    ]
    graph = helper.make_graph([node], "up", sides[:1], sides[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    changed = transposed_to_convolution(model)
    found = run_graph(changed, image.numpy())
    np.testing.assert_allclose(found, layer(image).detach().numpy(), atol=1e-6)
    in_float = {node.op_type for node in changed.graph.node if STAYS_FLOAT in node.name}
    assert in_float == (set() if many else {"Concat", "DepthToSpace"})
    assert all(node.name.startswith("up") for node in changed.graph.node)


def test_a_transposed_convolution_that_does_not_double_stays():
    node = helper.make_node(
        "ConvTranspose", ["x", "w"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]
    )
    weight = numpy_helper.from_array(np.ones((1, 1, 3, 3), np.float32), "w")
    model = helper.make_model(helper.make_graph([node], "odd", [], [], [weight]))
    assert transposed_to_convolution(model).graph.node[0].op_type == "ConvTranspose"


def test_asymmetric_weights_follow_the_paper():
    weight = np.random.default_rng(0).normal(0.3, 1, (4, 3, 3, 3)).astype(np.float32)
    integers, scale, zero = asymmetric(weight)
    low, high = weight.min(), weight.max()
    # Eq. 14: [w_min, w_max] onto [-127, 127]; Eq. 15: back.
    expected = np.rint((weight - low) / (high - low) * 254 - 127)
    assert np.abs(integers - expected).max() <= 1  # ties may round the other way
    assert (integers != expected).mean() < 0.02
    assert (integers.min(), integers.max()) == (-127, 127)
    back = (integers.astype(np.float32) - zero) * scale
    assert np.abs(back - weight).max() <= 0.51 * (high - low) / 254


@pytest.mark.parametrize("axis", [0, 1])
def test_symmetric_weights_have_a_scale_per_channel(axis):
    weight = np.random.default_rng(0).normal(0, 1, (4, 4, 3, 3)).astype(np.float32)
    weight[1] = 0
    integers, scale, zero = symmetric_per_channel(weight, axis)
    assert zero is None
    assert scale.size == scale.shape[axis] == 4
    assert np.abs(integers * scale - weight).max(axis=(2, 3)).max() <= 0.5 * scale.max() + 1e-6
    assert np.abs(integers).max() == 127


def test_a_constant_weight_is_stored():
    integers, scale, zero = asymmetric(np.full((2, 2), 3, np.float32))
    np.testing.assert_allclose((integers - zero) * scale, 3)
