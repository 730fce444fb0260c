import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from brainseg.data.parts import read_val, to_input
from brainseg.deploy import rounding
from brainseg.deploy.ranges import calibrate
from brainseg.deploy.rewrites import replace_constants
from brainseg.deploy.rounding import learn_rounding
from brainseg.deploy.static import insert_qdq, rewrite
from brainseg.runtime.open import open_session

STEP = 0.01


def arrays(model):
    return {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}


@pytest.fixture
def twins():
    """Two equal channels, of 50.4 and 50.45 steps of the second convolution, and one of 127.

    The nearest steps, 50 and 50, leave an error of 0.85 steps; 50 and 51 one of 0.15.
    """
    first = np.array([1, 1, 0.01], np.float32).reshape(3, 1, 1, 1)
    second = STEP * np.array([50.4, 50.45, 127], np.float32).reshape(1, 3, 1, 1)
    nodes = [
        helper.make_node("Conv", ["image", "first"], ["three"], name="one"),
        helper.make_node("Conv", ["three", "second"], ["logits"], name="two"),
        helper.make_node("Sigmoid", ["logits"], ["probability"], name="last"),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1, 4, 4])
        for name in ("image", "probability")
    ]
    constants = [numpy_helper.from_array(first, "first"), numpy_helper.from_array(second, "second")]
    graph = helper.make_graph(nodes, "twins", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def quantize(model, images, folder):
    calibrate(model, images, "minmax", folder / "ranges.json")
    return insert_qdq(model, folder / "ranges.json")


def test_errors_that_add_up_are_made_to_cancel(twins, tmp_path):
    images = np.random.default_rng(0).random((32, 1, 4, 4), np.float32)
    plain = quantize(twins, images, tmp_path)
    assert arrays(plain)["second_quantized"].ravel().tolist() == [50, 50, 127]
    learned = replace_constants(plain, learn_rounding(twins, plain, images, seed=0))
    found = arrays(learned)["second_quantized"].ravel().tolist()
    assert found == [50, 51, 127]
    assert arrays(plain)["second_quantized"].ravel().tolist() == [50, 50, 127]


def test_weights_go_to_a_step_beside_them_and_the_network_stays_as_close(
    prepared, tmp_path, monkeypatch
):
    monkeypatch.setattr(rounding, "STEPS", 20)
    run = prepared("se")
    exact, images = rewrite(onnx.load(run.onnx("fp32"))), to_input(read_val(run)["images"])
    plain = quantize(exact, images, tmp_path)
    integers = learn_rounding(exact, plain, images, seed=0)
    convolutions = sum(node.op_type == "Conv" for node in exact.graph.node)
    assert len(integers) == convolutions
    floats, stored = arrays(exact), arrays(plain)
    changed = 0
    for name, found in integers.items():
        weight = name.removesuffix("_quantized")
        exactly = floats[weight] / stored[f"{weight}_scale"].reshape(-1, 1, 1, 1)
        assert found.dtype == np.int8
        assert np.abs(found - exactly).max() < 1 + 1e-3
        changed += (found != stored[name]).sum()
    assert changed
    errors = []
    for name, model in (
        ("exact", exact),
        ("plain", plain),
        ("learned", replace_constants(plain, integers)),
    ):
        onnx.save(model, tmp_path / f"{name}.onnx")
        errors.append(open_session(tmp_path / f"{name}.onnx").run(images))
    assert np.square(errors[2] - errors[0]).mean() < 1.1 * np.square(errors[1] - errors[0]).mean()
