import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from brainseg.data.parts import read_val, to_input
from brainseg.deploy.bias import correct_bias
from brainseg.deploy.ranges import calibrate
from brainseg.deploy.sensitivity import logits_of
from brainseg.deploy.static import insert_qdq, rewrite


@pytest.fixture(scope="module")
def images(prepared):
    return to_input(read_val(prepared("ag"))["images"])


@pytest.fixture(scope="module")
def exact(prepared):
    return rewrite(onnx.load(prepared("ag").onnx("fp32")))


@pytest.fixture(scope="module")
def ranges(exact, images, tmp_path_factory):
    target = tmp_path_factory.mktemp("ranges") / "ranges.json"
    calibrate(exact, images, "minmax", target)
    return target


def biases(model):
    return {
        each.name: numpy_helper.to_array(each)
        for each in model.graph.initializer
        if "bias" in each.name and not each.name.endswith(("_scale", "_zero_point"))
    }


def test_the_mean_logit_is_that_of_the_float_network(exact, ranges, images):
    """The last convolution's channel is the logit: onnxruntime tells its mean."""
    plain = insert_qdq(exact, ranges)
    # an error that rounding might leave, in the first convolution that has a bias
    stored = next(each for each in plain.graph.initializer if each.name.endswith("bias_quantized"))
    wrong = numpy_helper.to_array(stored) + 3000
    stored.CopyFrom(numpy_helper.from_array(wrong.astype(np.int32), stored.name))
    expected, before, after = (
        logits_of(model, images).mean()
        for model in (exact, plain, correct_bias(exact, plain, images))
    )
    assert abs(after - expected) < 0.25 * abs(before - expected)


def test_only_biases_change_and_the_given_graph_does_not(exact, ranges, images):
    plain = insert_qdq(exact, ranges)
    kept = plain.SerializeToString()
    corrected = correct_bias(exact, plain, images)
    assert plain.SerializeToString() == kept
    before, after = biases(plain), biases(corrected)
    assert before.keys() == after.keys()
    assert any((before[name] != after[name]).any() for name in before)
    assert {each.dtype for each in after.values()} == {np.dtype(np.int32)}
    others = [
        {each.name: each.SerializeToString() for each in model.graph.initializer}
        for model in (plain, corrected)
    ]
    assert {name for name in others[0] if others[0][name] != others[1][name]} <= before.keys()


def test_a_layer_in_float_is_corrected_in_float(exact, ranges, images):
    last = [node for node in exact.graph.node if node.op_type == "Conv"][-1]
    corrected = correct_bias(exact, insert_qdq(exact, ranges, [last.name]), images)
    found = biases(corrected)[last.input[2]]
    assert found.dtype == np.float32
    assert (found != biases(exact)[last.input[2]]).all()


def test_a_network_that_is_exact_already_stays_as_it_is(exact, images):
    assert biases(correct_bias(exact, exact, images)).keys() == biases(exact).keys()
    for name, value in biases(correct_bias(exact, exact, images)).items():
        np.testing.assert_allclose(value, biases(exact)[name], atol=1e-5)
