import pytest

from brainseg.runtime.kernels import Kernel, from_profile

FLOAT, UINT8, SCALAR = {"float": [1, 4, 8, 8]}, {"uint8": [1, 4, 8, 8]}, {"float": []}


def event(name, operator, *inputs, provider="CPUExecutionProvider", **others):
    arguments = {"op_name": operator, "provider": provider, "input_type_shape": list(inputs)}
    return {"cat": "Node", "name": f"{name}_kernel_time", "args": arguments} | others


@pytest.mark.parametrize(
    ("operator", "inputs", "kind"),
    [
        ("QLinearConv", [UINT8, SCALAR, {"int8": [4, 4, 3, 3]}], "int8"),
        ("QLinearConcat", [SCALAR, {"uint8": []}, UINT8], "int8"),
        ("ConvInteger", [UINT8, {"uint8": [4, 4, 3, 3]}], "int8"),
        ("Transpose", [UINT8], "int8"),
        ("FusedConv", [FLOAT, {"float": [4, 4, 3, 3]}], "float"),
        ("ReduceMean", [FLOAT, {"int64": [2]}], "float"),
        ("QuantizeLinear", [FLOAT, SCALAR, {"uint8": []}], "float"),
        ("DequantizeLinear", [UINT8, SCALAR], "float"),
        ("DynamicQuantizeLinear", [FLOAT], "float"),
        ("Cast", [{"int32": [1, 4]}], "float"),
        ("Cast", [{"float16": [1, 4]}], "float"),
        ("Conv", [{"float16": [1, 4, 8, 8]}], "fp16"),
        ("Conv", [{"bfloat16": [1, 4, 8, 8]}], "bf16"),
    ],
)
def test_a_kernel_is_of_the_kind_that_it_computes_in(operator, inputs, kind):
    (kernel,) = from_profile([event("node_1", operator, *inputs)])
    assert kernel == Kernel("CPUExecutionProvider", operator, kind, ("node_1",))


def test_fused_nodes_have_the_name_of_the_node_in_the_file():
    (kernel,) = from_profile([event("node_conv2d_53_token_59", "QLinearConv", UINT8)])
    assert kernel.nodes == ("node_conv2d_53",)


def test_only_kernels_are_counted():
    events = [
        {"cat": "Session", "name": "model_run", "args": {}},
        event("a", "Conv", FLOAT, provider="CUDAExecutionProvider"),
        {"cat": "Node", "name": "a_fence_before", "args": {}},
    ]
    assert [each.provider for each in from_profile(events)] == ["CUDAExecutionProvider"]
