import itertools

import numpy as np
import onnx
import pytest
import torch

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
from brainseg.runtime.open import open_session

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


def test_the_simulation_without_saturation_is_the_network(network, ranges, images, tmp_path):
    quantized = insert_qdq(network, ranges, seven=convolution_weights(network))
    onnx.save(quantized, tmp_path / "seven.onnx")
    exact = open_session(tmp_path / "seven.onnx").run(images)
    assert np.abs(predict_saturated(quantized, images) - exact).mean() < 0.02


def test_7_bits_go_where_saturation_costs_more(network, ranges, images, monkeypatch):
    quantized = insert_qdq(network, ranges, seven=())
    chosen = choose_seven(quantized, network, images)
    assert set(chosen) < set(convolution_weights(network))
    assert all(eight > seven for eight, seven in chosen.values())
    monkeypatch.setattr(saturation, "HIGHEST", 2**17)
    monkeypatch.setattr(saturation, "LOWEST", -(2**17))
    assert choose_seven(quantized, network, images) == {}


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
