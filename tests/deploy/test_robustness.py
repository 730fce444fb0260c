import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from brainseg.data.parts import read_test, to_input
from brainseg.deploy import robustness
from brainseg.deploy.robustness import measure_robustness, parse_bits, round_weights
from brainseg.errors import InputError
from brainseg.files import hash_file, read_json
from brainseg.runtime.open import open_session
from brainseg.vocabulary import MAPPINGS


def weights_of(model):
    """Weight and axis of its output channels, of each convolution."""
    arrays = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    axes = {"Conv": 0, "ConvTranspose": 1}
    return {
        node.input[1]: (arrays[node.input[1]], axes[node.op_type])
        for node in model.graph.node
        if node.op_type in axes
    }


@pytest.fixture(scope="module")
def exported(prepared):
    return onnx.load(prepared("none").onnx("fp32"))


@pytest.mark.parametrize("bits", [8, 6, 4, 2])
def test_each_channel_is_rounded_to_its_own_scale(exported, bits):
    before, after = weights_of(exported), weights_of(round_weights(exported, "symmetric", bits))
    assert {axis for _, axis in before.values()} == {0, 1}
    most = 2 ** (bits - 1) - 1
    for name, (weight, axis) in before.items():
        for exact, rounded in zip(
            np.moveaxis(weight, axis, 0), np.moveaxis(after[name][0], axis, 0), strict=True
        ):
            scale = np.abs(exact).max() / most or 1
            np.testing.assert_allclose(rounded, np.round(exact / scale) * scale, atol=1e-6)
            assert len(np.unique(rounded)) <= 2 * most + 1  # 15 with 4 bits


@pytest.mark.parametrize("bits", [8, 4])
def test_the_papers_mapping_has_one_range_a_tensor(exported, bits):
    before, after = weights_of(exported), weights_of(round_weights(exported, "asymmetric", bits))
    steps = 2**bits - 2
    for name, (exact, _) in before.items():
        low, high = exact.min(), exact.max()
        step = (high - low) / steps or 1
        rounded = after[name][0]
        assert np.abs(rounded - exact).max() <= 0.5001 * step + 1e-6
        assert len(np.unique(rounded)) <= steps + 1
        np.testing.assert_allclose([rounded.min(), rounded.max()], [low, high], atol=1e-5)


def test_only_weights_of_convolutions_change(exported):
    rounded = round_weights(exported, "symmetric", 4)
    weights = weights_of(exported)
    before, after = (
        {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
        for model in (exported, rounded)
    )
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before.keys() - weights.keys())
    onnx.checker.check_model(rounded)


def test_the_scores_are_those_of_the_rounded_network(run, tmp_path):
    done = measure_robustness(run, [8, 3])
    assert len(done) == 2 * len(MAPPINGS)
    found = read_json(run.robustness)
    assert found["export"] == hash_file(run.onnx("fp32"))
    assert found["exact"]["test"]["patients"] == ["patient0", "patient1", "patient2"]
    test, file = read_test(run), tmp_path / "rounded.onnx"
    onnx.save(round_weights(onnx.load(run.onnx("fp32")), "asymmetric", 3), file)
    before, after = (
        open_session(path).run(to_input(test["images"]))[:, 0] >= 0.5
        for path in (run.onnx("fp32"), file)
    )
    (scored,) = (e for e in found["rounded"] if (e["mapping"], e["bits"]) == ("asymmetric", 3))
    truth = test["masks"] > 0

    def mean_iou(masks):
        ious = [(m & t).sum() / (m | t).sum() for m, t in ((masks, truth), (~masks, ~truth))]
        return np.mean(ious)

    assert scored["test"]["mean_iou"] == pytest.approx(mean_iou(after))
    assert scored["test"]["change"] == pytest.approx(mean_iou(after) - mean_iou(before))
    assert scored["test"]["flipped"] == pytest.approx(np.mean(before != after))
    hits = [(after & truth)[test["patients"] == name].sum() for name in np.unique(test["patients"])]
    assert [counts[0] for counts in scored["test"]["counts"]] == hits
    assert scored["test"]["interval"] is None  # three patients are too few


def test_fewer_bits_lose_more_and_nothing_is_scored_twice(run, monkeypatch):
    measure_robustness(run, [8, 2])
    flipped = {
        (each["mapping"], each["bits"]): each["val"]["flipped"]
        for each in run.read(run.robustness)["rounded"]
    }
    assert all(flipped[mapping, 8] < flipped[mapping, 2] for mapping in MAPPINGS)
    monkeypatch.setattr(robustness, "predict_part", None)
    before = run.robustness.stat().st_mtime_ns
    assert measure_robustness(run, [2, 8]) == []
    assert run.robustness.stat().st_mtime_ns == before


def test_an_interrupted_measurement_goes_on(run, monkeypatch):
    rounding, calls = robustness.round_weights, []

    def interrupted(*given):
        calls.append(given[1:])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return rounding(*given)

    monkeypatch.setattr(robustness, "round_weights", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure_robustness(run, [4])
    assert len(measure_robustness(run, [4])) == 1
    assert calls == [("symmetric", 4), ("asymmetric", 4), ("asymmetric", 4)]


def test_another_export_is_measured_anew(run, change_graph):
    measure_robustness(run, [4])
    change_graph(run.onnx("fp32"))
    assert len(measure_robustness(run, [4])) == 2


@pytest.mark.parametrize("text", ["", "9", "1", "4.5", "four", "8,,4"])
def test_bits_that_cannot_be_used_are_refused(text):
    with pytest.raises(InputError, match="whole numbers from 2 to 8"):
        parse_bits(text)


def test_bits_are_read():
    assert parse_bits("8, 4,8") == [8, 4]


def test_a_run_without_export_says_what_to_do(trained):
    with pytest.raises(InputError, match="brainseg export"):
        measure_robustness(trained)
