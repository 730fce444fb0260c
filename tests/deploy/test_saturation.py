import itertools

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from brainseg.data.parts import read_val, to_input
from brainseg.deploy import saturation
from brainseg.deploy.ranges import calibrate
from brainseg.deploy.saturation import (
    choose_seven,
    predict_saturated,
    saturate,
    weights_of_seven,
)
from brainseg.deploy.static import convolution_weights, insert_qdq, rewrite
from brainseg.deploy.torch_graph import TorchGraph

RNG = np.random.default_rng(0)


def vpmaddubsw(unsigned, signed):
    """Intel's instruction: products of neighbours, added into 16 bits with saturation."""
    products = unsigned.astype(np.int32) * signed.astype(np.int32)
    return np.clip(products[..., ::2] + products[..., 1::2], -(2**15), 2**15 - 1)


def convolve_as_avx2(image, weight, zero, stride, padding):
    """Pixel by pixel: place after place, channel after channel, in 16 bits and then in 32."""
    outputs, _, height, width = weight.shape
    padded = np.pad(image, ((0, 0), *[(padding,) * 2] * 2), constant_values=zero)
    flat = weight.transpose(0, 2, 3, 1).reshape(outputs, -1)
    flat = np.pad(flat, ((0, 0), (0, flat.shape[1] % 2)))
    size = [(padded.shape[axis] - (height, width)[axis - 1]) // stride + 1 for axis in (1, 2)]
    found = np.zeros((outputs, *size), np.int32)
    for y, x in itertools.product(*map(range, size)):
        window = padded[:, y * stride : y * stride + height, x * stride : x * stride + width]
        values = window.transpose(1, 2, 0).ravel()
        values = np.pad(values, (0, len(values) % 2))
        found[:, y, x] = vpmaddubsw(values, flat).sum(axis=1)
    return found


@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "padding"),
    [(8, 1, 1, 0), (8, 3, 1, 1), (1, 7, 2, 3), (3, 3, 2, 1), (5, 2, 1, 0)],
)
def test_sums_are_those_of_the_instruction(channels, kernel, stride, padding):
    image = RNG.integers(0, 256, (channels, 9, 9)).astype(np.uint8)
    weight = RNG.integers(-127, 128, (6, channels, kernel, kernel)).astype(np.int8)
    expected = convolve_as_avx2(image, weight, 7, stride, padding)
    given = torch.from_numpy(image[None].astype(np.float32))
    whole = torch.from_numpy(weight.astype(np.float32))
    attributes = {"pads": [padding] * 4, "strides": [stride] * 2}
    excess = saturate(given, whole, 7.0, attributes)
    padded = torch.nn.functional.pad(given, (padding,) * 4, value=7.0)
    exact = torch.nn.functional.conv2d(padded, whole, stride=stride)
    assert excess is not None
    assert excess.any()
    np.testing.assert_array_equal(exact[0] + excess.reshape(exact.shape)[0], expected)


def test_nothing_saturates_with_7_bits():
    weight = torch.full((4, 8, 3, 3), 64.0)
    assert saturate(torch.full((1, 8, 5, 5), 255.0), weight, 0.0, {}) is None
    assert saturate(torch.full((1, 8, 5, 5), 255.0), weight + 1, 0.0, {}) is not None


@pytest.fixture(scope="module")
def network(prepared):
    return rewrite(onnx.load(prepared("none").onnx("fp32")))


@pytest.fixture(scope="module")
def images(prepared):
    return to_input(read_val(prepared("none"))["images"])[:2]


@pytest.fixture(scope="module")
def ranges(network, images, tmp_path_factory):
    path = tmp_path_factory.mktemp("ranges") / "ranges.json"
    calibrate(network, images, "minmax", path)
    return path


def test_each_weight_has_the_bits_that_are_chosen(network, ranges, images):
    some = convolution_weights(network)[:2]
    quantized = insert_qdq(network, ranges, seven=some)
    largest = {
        each.name.removesuffix("_quantized"): np.abs(onnx.numpy_helper.to_array(each)).max()
        for each in quantized.graph.initializer
        if each.data_type == onnx.TensorProto.INT8 and each.dims
    }
    for name in convolution_weights(network):
        assert largest[name] == (64 if name in some else 127)


def test_the_simulation_without_saturation_is_the_network(network, ranges, images):
    for seven, close in ((convolution_weights(network), True), ((), False)):
        quantized = insert_qdq(network, ranges, seven=seven)
        graph = TorchGraph(quantized)
        with torch.no_grad():
            each = [graph(image[None]).sigmoid() for image in torch.from_numpy(images)]
        found = predict_saturated(quantized, images)
        assert np.allclose(found, torch.cat(each), atol=1e-4) is close


def one_convolution(folder):
    """Two channels that sum bright pixels: of 127 steps each, where 255 ∙ 254 saturates, and small.

    Returns:
        The network, the same with Q and DQ, and an image of 4 input channels.
    """
    weight = np.array([[1, 1, 0.9, 0.95], [1, -0.3, -0.7, 0.2]], np.float32)[..., None, None]
    nodes = [
        helper.make_node("Conv", ["image", "weight"], ["logits"], name="one"),
        helper.make_node("Sigmoid", ["logits"], ["probability"], name="last"),
    ]
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", channels, 5, 5])
        for name, channels in (("image", 4), ("probability", 2))
    ]
    constants = [onnx.numpy_helper.from_array(weight, "weight")]
    graph = helper.make_graph(nodes, "one", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    image = np.random.default_rng(0).uniform(0.6, 1, (1, 4, 5, 5)).astype(np.float32)
    calibrate(model, image, "minmax", folder / "one.json")
    return model, insert_qdq(model, folder / "one.json", seven=()), image


def test_7_bits_go_where_saturation_costs_more(tmp_path, monkeypatch):
    model, quantized, image = one_convolution(tmp_path)
    chosen = choose_seven(quantized, model, image)
    arrays = {each.name: onnx.numpy_helper.to_array(each) for each in quantized.graph.initializer}
    scale, step = arrays["image_scale"], arrays["weight_scale"][:, None]
    levels = np.clip(np.rint(image[0] / scale), 0, 255).astype(np.uint8)
    sums = convolve_as_avx2(levels, arrays["weight_quantized"], 0, 1, 0)
    eight = sums * scale * step[..., None]
    weight = onnx.numpy_helper.to_array(model.graph.initializer[0])[..., 0, 0]
    largest = np.abs(weight).max(axis=1, keepdims=True)
    seven = np.rint(weight / largest * 64) * largest / 64
    given = levels * scale
    exact = np.einsum("oc,cyx->oyx", weight, given)
    expected = [
        np.square(found - exact).sum() for found in (eight, np.einsum("oc,cyx->oyx", seven, given))
    ]
    assert list(chosen) == ["weight"]
    assert chosen["weight"] == pytest.approx(expected, rel=1e-3)
    assert expected[0] > expected[1]
    monkeypatch.setattr(saturation, "HIGHEST", 2**17)
    monkeypatch.setattr(saturation, "LOWEST", -(2**17))
    assert choose_seven(quantized, model, image) == {}


@pytest.mark.parametrize(
    ("bits", "saturates", "share"), [("7", False, 1), ("8", True, 0), ("auto", True, 1)]
)
def test_bits_are_those_that_are_typed(
    network, ranges, images, monkeypatch, bits, saturates, share
):
    monkeypatch.setattr(saturation, "reduce_range", lambda: saturates)
    found = weights_of_seven(bits, network, ranges, images)
    assert found == (convolution_weights(network) if share else [])


def test_mixed_bits_are_those_that_are_compared(network, ranges, images, monkeypatch):
    monkeypatch.setattr(saturation, "choose_seven", lambda *_: {"weight": (2.0, 1.0)})
    assert weights_of_seven("mixed", network, ranges, images) == ["weight"]
