import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from brainseg.data.parts import read_val, to_input
from brainseg.deploy.ranges import calibrate
from brainseg.deploy.static import insert_qdq, rewrite
from brainseg.deploy.torch_graph import TorchGraph
from brainseg.errors import InputError

every_attention = pytest.mark.parametrize("attention", ["none", "ag", "se", "cbam"])


@pytest.fixture(scope="module")
def graphs(prepared, tmp_path_factory):
    """Attention → the rewritten network, the same with Q and DQ, and images."""
    made = {}

    def get(attention):
        if attention not in made:
            run = prepared(attention)
            exact, images = rewrite(onnx.load(run.onnx("fp32"))), to_input(read_val(run)["images"])
            ranges = tmp_path_factory.mktemp("ranges") / "ranges.json"
            calibrate(exact, images, "minmax", ranges)
            made[attention] = exact, insert_qdq(exact, ranges), images
        return made[attention]

    return get


def run_onnx(model, images, names=()):
    """The outputs of a graph, as it stands, and values within it."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(shown.SerializeToString(), options)
    found = session.run(None, {"image": images})
    return dict(zip([each.name for each in session.get_outputs()], found, strict=True))


@every_attention
def test_a_float_graph_computes_what_onnxruntime_does(graphs, attention):
    exact, _, images = graphs(attention)
    with torch.inference_mode():
        found = TorchGraph(exact)(torch.from_numpy(images)).sigmoid()
    assert np.abs(found.numpy() - run_onnx(exact, images)["probability"]).max() <= 5e-6


@every_attention
def test_each_step_of_a_quantized_graph_computes_what_onnxruntime_does(graphs, attention):
    exact, quantized, images = graphs(attention)
    graph = TorchGraph(quantized, exact)
    names = [step.output for step in graph.steps]
    expected = run_onnx(quantized, images, names)
    with torch.inference_mode():
        for step, values in graph.walk(torch.from_numpy(images)):
            name, found = step.output, values[step.output]
            if step.kind == "QuantizeLinear":  # is dequantized here at once
                name = name.replace("QuantizeLinear", "DequantizeLinear")
            wanted = torch.from_numpy(expected[name])
            difference = (found - wanted).abs()
            off = (difference > 1e-5 * wanted.abs().max()).float().mean()
            if "bias" in step.inputs[0]:  # float here, integers of 32 bits there
                assert (difference <= 0.6 * graph.constant(step.inputs[1])).all()
            elif step.kind in ("QuantizeLinear", "DequantizeLinear"):  # a tie may fall either way
                assert difference.max() <= 1.01 * graph.constant(step.inputs[1]).max()
                assert off < 0.02
            else:
                assert off == 0
            values[step.output] = wanted


def test_weights_are_the_float_ones_and_rounded_as_in_the_file(graphs):
    exact, quantized, _ = graphs("se")
    floats, stored = (
        {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
        for model in (exact, quantized)
    )
    graph = TorchGraph(quantized, exact)
    fitted = graph.fitted()
    assert fitted.keys() <= floats.keys()
    assert all((fitted[name] == floats[name]).all() for name in fitted)
    weights = [name for name in fitted if fitted[name].ndim == 4]
    assert weights
    for name in weights:
        scale = stored[f"{name}_scale"].reshape(-1, 1, 1, 1)
        known = stored[f"{name}_quantized"] * scale
        found = graph.rounded(name).detach().numpy()
        assert np.isclose(found, known, atol=1e-6).mean() > 0.999  # but for ties
        assert (np.abs(found - known) <= 1.01 * scale).all()


def test_gradients_reach_every_weight_and_bias(graphs):
    exact, quantized, images = graphs("ag")
    graph = TorchGraph(quantized, exact)
    graph(torch.from_numpy(images)).square().mean().backward()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in graph.parameters())
    touched = [each.grad.abs().max() > 0 for each in graph.parameters()]
    assert np.mean(touched) > 0.9


def test_without_the_float_network_weights_are_those_of_the_integers(graphs):
    _, quantized, _ = graphs("none")
    stored = {each.name: numpy_helper.to_array(each) for each in quantized.graph.initializer}
    fitted = TorchGraph(quantized).fitted()
    weights = {name: array for name, array in fitted.items() if array.ndim == 4}
    assert weights
    for name, weight in weights.items():
        scale = stored[f"{name}_scale"].reshape(-1, 1, 1, 1)
        np.testing.assert_allclose(weight, stored[f"{name}_quantized"] * scale, rtol=1e-6)


def one_node(kind, inputs, constants=(), **attributes):
    """A graph of one operator and a sigmoid."""
    node = helper.make_node(kind, inputs, ["value"], name="node", **attributes)
    last = helper.make_node("Sigmoid", ["value"], ["probability"])
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", "c", "h", "w"])
        for name in ("image", "probability")
    ]
    stored = [numpy_helper.from_array(array, name) for name, array in constants]
    graph = helper.make_graph([node, last], "graph", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize(
    "model",
    [
        one_node(
            "Resize",
            ["image", "", "scales"],
            [("scales", np.array([1, 1, 2, 2], np.float32))],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
        one_node("DepthToSpace", ["image"], blocksize=2, mode="DCR"),
        one_node("DepthToSpace", ["image"], blocksize=2, mode="CRD"),
        one_node("MaxPool", ["image"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        one_node(
            "Conv",
            ["image", "weight"],
            [("weight", np.linspace(-1, 1, 32, dtype=np.float32).reshape(2, 4, 2, 2))],
            pads=[0, 0, 1, 1],
        ),
        one_node(
            "ConvTranspose",
            ["image", "weight", "bias"],
            [
                ("weight", np.linspace(-1, 1, 72, dtype=np.float32).reshape(4, 2, 3, 3)),
                ("bias", np.array([1, -1], np.float32)),
            ],
            strides=[2, 2],
            pads=[1, 0, 1, 1],
            output_padding=[1, 0],
        ),
        one_node(
            "Resize",
            ["image", "", "scales"],
            [("scales", np.array([1, 1, 2, 3], np.float32))],
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        ),
    ],
    ids=[
        *("enlarged", "pixels-first", "channels-first", "pooled", "padded-on-one-side"),
        *("transposed", "bilinear"),
    ],
)
def test_an_operator_is_what_the_standard_says(model):
    images = np.random.default_rng(0).normal(size=(2, 4, 6, 6)).astype(np.float32)
    (expected,) = ReferenceEvaluator(model).run(None, {"image": images})
    found = TorchGraph(model)(torch.from_numpy(images)).sigmoid()
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-4)


KERNEL = {"kernel_shape": [2, 2]}


@pytest.mark.parametrize(
    ("kind", "given", "told"),
    [
        ("Erf", {}, "Erf"),
        ("Resize", {}, r"Resize \(half_pixel\)"),
        ("Resize", {"mode": "cubic"}, r"Resize \(mode=cubic\)"),
        (
            "Resize",
            {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
            r"Resize \(mode=linear, coordinate_transformation_mode=align_corners\)",
        ),
        ("MaxPool", KERNEL | {"ceil_mode": 1}, r"MaxPool \(ceil_mode=1\)"),
        ("MaxPool", KERNEL | {"dilations": [2, 2]}, r"MaxPool \(dilations=[\[(]2, 2[\])]\)"),
        ("Conv", {"auto_pad": "SAME_UPPER"}, r"Conv \(auto_pad=SAME_UPPER\)"),
        ("ReduceMean", {}, r"ReduceMean \(without axes as an input\)"),
    ],
)
def test_what_torch_would_compute_otherwise_is_named(kind, given, told):
    with pytest.raises(
        InputError, match=rf"run in torch here: {told}\. --correct-bias, .* int8_qat"
    ):
        TorchGraph(one_node(kind, ["image"], **given))


def test_what_is_the_default_anyway_is_no_reason():
    TorchGraph(one_node("MaxPool", ["image"], **KERNEL, dilations=[1, 1], auto_pad="NOTSET"))


def test_a_channel_without_weights_can_be_trained(tmp_path):
    weight = np.linspace(-1, 1, 16, dtype=np.float32).reshape(2, 8, 1, 1)
    weight[0] = 0
    exact = one_node("Conv", ["image", "weight"], [("weight", weight)])
    for value in (*exact.graph.input, *exact.graph.output):
        value.type.tensor_type.shape.dim[1].dim_value = 8
    images = np.random.default_rng(0).random((4, 8, 4, 4), np.float32)
    calibrate(exact, images, "minmax", tmp_path / "ranges.json")
    graph = TorchGraph(insert_qdq(exact, tmp_path / "ranges.json"), exact)
    graph(torch.from_numpy(images)).sum().backward()
    parameter = graph.weights["weight"]
    assert parameter.grad.isfinite().all()
    assert (graph.rounded("weight")[0] == 0).all()
    with torch.no_grad():
        parameter[0, :, 0, 0] = torch.linspace(0, 1, 8)
    limit = graph.limit("weight")
    expected = torch.round(parameter[0] * limit) / limit
    torch.testing.assert_close(graph.rounded("weight")[0], expected)
