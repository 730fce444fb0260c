import numpy as np
import onnx
import pytest
from onnxruntime.quantization.calibrate import load_tensors_data
from scipy.stats import entropy

from brainseg.data.parts import read_val, to_input
from brainseg.deploy import ranges
from brainseg.deploy.ranges import BINS, METHODS, Histograms, calibrate, divergence
from brainseg.deploy.static import quantize_graph, rewrite
from brainseg.runtime.open import open_session
from brainseg.vocabulary import CALIBRATIONS

RNG = np.random.default_rng(0)
DISTRIBUTIONS = {
    "uniform": RNG.uniform(-1, 3, 50_000),
    "normal": RNG.normal(0.5, 1, 50_000),
    "heavy tails": RNG.laplace(0, 1, 50_000),
    "after a ReLU": np.maximum(RNG.normal(0, 1, 50_000), 0),
    "after a leaky ReLU": np.where((x := RNG.laplace(0, 1, 50_000)) > 0, x, 0.01 * x),
}
every_distribution = pytest.mark.parametrize("values", DISTRIBUTIONS.values(), ids=DISTRIBUTIONS)


def choose(method, values):
    """The range for values that come in two parts."""
    ends = values.min().astype(np.float32), values.max().astype(np.float32)
    histograms = Histograms({"tensor": ends})
    for part in np.array_split(values.astype(np.float32), 2):
        histograms.collect({"tensor": [part]})
    low, high = histograms.choose(METHODS[method])["tensor"]
    return low.item(), high.item()


def squared_error(values, low, high):
    """Of 256 levels between two ends, one of which is zero."""
    scale = (high - low) / 255
    zero = np.rint(-low / scale)
    levels = np.clip(np.rint(values / scale) + zero, 0, 255)
    return np.square((levels - zero) * scale - values).sum()


@pytest.fixture(scope="module")
def network(prepared):
    return rewrite(onnx.load(prepared("cbam").onnx("fp32")))


@pytest.fixture(scope="module")
def images(prepared):
    return to_input(read_val(prepared("cbam"))["images"])


def test_the_methods_are_those_that_can_be_typed():
    assert ("minmax", *METHODS) == CALIBRATIONS


@every_distribution
def test_no_other_range_has_a_smaller_error(values):
    grid = np.linspace(0.02, 1, 50)
    lows = grid * values.min() if values.min() < 0 else [0.0]
    errors = [squared_error(values, a, b) for a in lows for b in grid * values.max()]
    assert squared_error(values, *choose("mse", values)) <= 1.02 * min(errors)


@every_distribution
def test_percentile_keeps_its_share_of_the_values(values):
    low, high = choose("percentile", values)
    there, bin_ = values[values != 0], 1.01 * np.ptp([*values, 0]) / BINS
    for end, inner, side in ((low, low + bin_, 1), (-high, bin_ - high, -1)):
        assert np.mean(side * there < end) <= 5e-5
        assert np.mean(side * there < inner) > 5e-5 or end == 0


@pytest.mark.parametrize("method", METHODS)
def test_a_uniform_distribution_keeps_its_range(method):
    low, high = choose(method, DISTRIBUTIONS["uniform"])
    assert (low, high) == pytest.approx((-1, 3), abs=0.02)


@pytest.mark.parametrize("method", METHODS)
def test_one_far_value_is_cut(method):
    values = np.append(np.tile(DISTRIBUTIONS["normal"], 20), 30.0)
    low, high = choose(method, values)
    assert high < 12
    assert low == pytest.approx(values.min(), abs=1.5)


@pytest.mark.parametrize("method", METHODS)
def test_after_a_relu_a_range_begins_at_zero(method):
    low, high = choose(method, DISTRIBUTIONS["after a ReLU"])
    assert low == 0
    assert 2 < high <= DISTRIBUTIONS["after a ReLU"].max() + 1e-6


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("value", "ends"), [(0.0, (0, 0)), (2.5, (0, 2.5)), (-1.0, (-1, 0))])
def test_a_constant_has_a_range(method, value, ends):
    assert choose(method, np.full(10, value)) == pytest.approx(ends, abs=0.002)


def test_divergence_is_that_of_the_clipped_and_the_quantized_distribution():
    counts = RNG.integers(0, 5, BINS).astype(float)
    low, high = 256, 256 + 4 * 256
    clipped = counts[low:high].copy()
    clipped[[0, -1]] += counts[:low].sum(), counts[high:].sum()
    four = counts[low:high].reshape(256, 4)
    there = (clipped > 0).reshape(256, 4)
    means = four.sum(1, keepdims=True) / np.maximum(there.sum(1, keepdims=True), 1)
    quantized = np.where(there, np.maximum(means, ranges.RARELY), 0).ravel()
    noise = (there.sum() - there.any(1).sum()) / 2 / counts.sum()
    assert divergence(counts, low, high) == pytest.approx(entropy(clipped, quantized) - noise)
    assert divergence(np.full(BINS, 1e9), 0, BINS) == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("method", CALIBRATIONS)
def test_ranges_are_those_of_the_activations(network, images, method, tmp_path, monkeypatch):
    monkeypatch.setattr(ranges, "CHUNK", 4)  # 6 images: the last chunk is a smaller one
    calibrate(network, images, method, tmp_path / "ranges.json")
    found = load_tensors_data(tmp_path / "ranges.json")
    logits = next(node.input[0] for node in network.graph.node if "probability" in node.output)
    inner = onnx.ModelProto()
    inner.CopyFrom(network)
    inner.graph.output[0].name = logits
    quantized = quantize_graph(network, tmp_path / "ranges.json")
    outputs = []
    for graph in (inner, network, quantized):
        onnx.save(graph, tmp_path / "graph.onnx")
        outputs.append(open_session(tmp_path / "graph.onnx").run(images))
    values, exact, rounded = outputs
    ends = (values.min(), values.max())
    expected = ends if method == "minmax" else choose(method, np.float64(values))
    given = [np.ravel(end)[0] for end in found[logits].range_value]
    assert given == pytest.approx(expected, rel=1e-3)
    assert 0 < np.abs(rounded - exact).mean() < 0.08
