import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from brainseg.deploy.quantize import quantize
from brainseg.model.checkpoint import load_network
from brainseg.model.summary import summarize
from brainseg.runtime import openvino
from brainseg.runtime.kernels import Kernel
from brainseg.runtime.open import open_session
from brainseg.runtime.placement import find_placement, multiply_adds
from brainseg.runtime.session import Session

attentions = pytest.mark.parametrize("attention", ["none", "ag", "se", "cbam"])
runtimes = pytest.mark.parametrize(
    "runtime",
    [
        "onnxruntime",
        pytest.param(
            "openvino",
            marks=pytest.mark.skipif(openvino.openvino is None, reason="not installed"),
        ),
    ],
)
PROVIDER = {"onnxruntime": "CPUExecutionProvider", "openvino": "CPU (OpenVINO)"}


def count_in_torch(run):
    return summarize(load_network(run)[0], 32)["multiply_adds"]


@attentions
@runtimes
def test_every_multiply_add_of_the_network_is_found(prepared, attention, runtime):
    run = prepared(attention)
    values = find_placement(open_session(run.onnx("fp32"), threads=1, runtime=runtime))
    expected = count_in_torch(run)
    assert list(values["placement"]) == [PROVIDER[runtime]]
    for shares in (values["placement"].values(), values["kernels"].values()):
        assert sum(each["multiply_adds"] for each in shares) == expected
        assert sum(each["multiply_adds_share"] for each in shares) == pytest.approx(1)
        assert sum(each["share"] for each in shares) == pytest.approx(1)
    assert list(values["kernels"]) == ["float"]
    assert values["kernels"]["float"]["nodes"] > 50
    assert values["memcpy_nodes"] == 0


@attentions
def test_dynamic_quantization_leaves_transposed_convolutions_in_float(prepared, attention):
    run = prepared(attention)
    kernels = find_placement(open_session(run.onnx("int8_dynamic"), threads=1))["kernels"]
    left = [
        count
        for name, count in multiply_adds(run.onnx("fp32")).items()
        if name.startswith("node_convolution")
    ]
    assert len(left) == 5
    assert kernels["float"]["multiply_adds"] == sum(left)
    assert sum(each["multiply_adds"] for each in kernels.values()) == count_in_torch(run)
    assert 0 < kernels["int8"]["share"] < 1


@runtimes
@pytest.mark.parametrize("mode", ["fp16", "int8_weights", "int8_static"])
def test_every_multiply_add_of_a_quantized_network_is_found(run, mode, runtime):
    quantize(run, mode)
    session = open_session(run.onnx(mode), threads=1, runtime=runtime)
    kernels = find_placement(session)["kernels"]
    total = sum(multiply_adds(run.onnx(mode)).values())
    assert sum(each["multiply_adds"] for each in kernels.values()) == total
    assert total >= count_in_torch(run)  # norms become convolutions
    # Stored weights are unfolded when the file is opened; CPUs compute 16 bits in 32.
    kind = "int8" if mode == "int8_static" else "float"
    assert kernels[kind]["multiply_adds_share"] > 0.9


def convolution(tmp_path, operator, weight, image, output, **attributes):
    """A file with one convolution of a free number of images."""
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "w"], ["y"], name="it", **attributes)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *image])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", *output])],
        [numpy_helper.from_array(np.zeros(weight, np.float32), "w")],
    )
    path = tmp_path / "convolution.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    return path


@pytest.mark.parametrize(
    ("operator", "weight", "image", "output", "attributes", "count"),
    [
        # Each of 6·4·4 results sums 3·3·3 products.
        ("Conv", (6, 3, 3, 3), (3, 8, 8), (6, 4, 4), {"strides": [2, 2], "pads": [1] * 4}, 2592),
        # Depthwise: 3·3 products each.
        ("Conv", (3, 1, 3, 3), (3, 8, 8), (3, 6, 6), {"group": 3}, 3 * 36 * 9),
        # Each of 3·4·4 values goes with 3·3 taps into 5 channels.
        ("ConvTranspose", (3, 5, 3, 3), (3, 4, 4), (5, 9, 9), {"strides": [2, 2]}, 48 * 45),
    ],
)
def test_multiply_adds_of_one_convolution(
    tmp_path, operator, weight, image, output, attributes, count
):
    path = convolution(tmp_path, operator, weight, image, output, **attributes)
    assert multiply_adds(path) == {"it": count}


def test_shares_between_providers_and_kinds(tmp_path):
    path = convolution(tmp_path, "Conv", (2, 1, 1, 1), (1, 4, 4), (2, 4, 4))
    kernels = [
        Kernel("CUDAExecutionProvider", "Conv", "fp16", ("it",)),
        Kernel("CUDAExecutionProvider", "MemcpyToHost", "float", ("copy",)),
        Kernel("CPUExecutionProvider", "QLinearAdd", "int8", ("sum",)),
        Kernel("CUDAExecutionProvider", "Relu", "float", ()),
    ]
    nothing = dict.fromkeys(Session.__dataclass_fields__)
    session = Session(**nothing | {"path": path, "find_kernels": lambda: kernels})
    everything = {"multiply_adds": 32, "multiply_adds_share": 1.0}
    none = {"multiply_adds": 0, "multiply_adds_share": 0.0}
    assert find_placement(session) == {
        "placement": {
            "CUDAExecutionProvider": {"nodes": 3, "share": 0.75, **everything},
            "CPUExecutionProvider": {"nodes": 1, "share": 0.25, **none},
        },
        "kernels": {
            "fp16": {"nodes": 1, "share": 0.25, **everything},
            "float": {"nodes": 2, "share": 0.5, **none},
            "int8": {"nodes": 1, "share": 0.25, **none},
        },
        "memcpy_nodes": 1,
    }


def test_finding_out_leaves_no_file_behind(prepared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = prepared("none")
    before = sorted(run.path.rglob("*"))
    find_placement(open_session(run.onnx("fp32"), threads=1))
    assert sorted(run.path.rglob("*")) == before
    assert list(tmp_path.iterdir()) == []
