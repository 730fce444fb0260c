"""Where each operator really runs, in which arithmetic, and how much of the work that is."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import NodeProto

from brainseg.runtime.kernels import Kernel
from brainseg.runtime.session import Session

WEIGHTS = {"Conv": 1, "ConvInteger": 1, "ConvTranspose": 1, "QLinearConv": 3}
"""Kind of convolution → which of its inputs holds the weights."""

Shares = dict[str, dict[str, float]]


def find_placement(session: Session) -> dict[str, Any]:
    """What an opened network runs where: values of a row of `deploy.json`.

    Returns:
        `placement` (by provider) and `kernels` (by kind: `int8`, `fp16`, `bf16`, `float`), each
        with `nodes`, their `share`, the `multiply_adds` of one image's convolutions and their
        `multiply_adds_share` (shares 0..1); and `memcpy_nodes`, the copies between devices. Nothing
        where the runtime does not tell.
    """
    if session.find_kernels is None:
        return {}
    kernels, work = session.find_kernels(), multiply_adds(session.path)
    return {
        "placement": _shares(kernels, work, lambda kernel: kernel.provider),
        "kernels": _shares(kernels, work, lambda kernel: kernel.kind),
        "memcpy_nodes": sum(kernel.operator.startswith("Memcpy") for kernel in kernels),
    }


def multiply_adds(path: Path) -> dict[str, int]:
    """Multiply-adds of each convolution of an ONNX file for one image, by the node's name.

    Those of a convolution are the elements of its output times the weights of an output channel;
    those of a transposed one, elements of the input times weights of an input channel. Padding
    counts, as in `model.json`.
    """
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    del model.graph.value_info[:]  # shapes with a free batch
    graph = onnx.shape_inference.infer_shapes(model, data_prop=False).graph
    shapes = {each.name: list(each.dims) for each in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = [each.dim_value for each in value.type.tensor_type.shape.dim]
    return {
        node.name: _multiply_adds(node, shapes) for node in graph.node if node.op_type in WEIGHTS
    }


def _multiply_adds(node: NodeProto, shapes: Mapping[str, Sequence[int]]) -> int:
    weights = shapes[node.input[WEIGHTS[node.op_type]]]
    pixels = node.input[0] if node.op_type == "ConvTranspose" else node.output[0]
    return math.prod(shapes[pixels]) * math.prod(weights[1:])


def _shares(
    kernels: Sequence[Kernel], work: Mapping[str, int], group: Callable[[Kernel], str]
) -> Shares:
    nodes: Counter[str] = Counter()
    operations: Counter[str] = Counter()
    for kernel in kernels:
        nodes[group(kernel)] += 1
        operations[group(kernel)] += sum(work.get(name, 0) for name in kernel.nodes)
    return {
        name: {
            "nodes": count,
            "share": count / nodes.total(),
            "multiply_adds": operations[name],
            "multiply_adds_share": operations[name] / (operations.total() or 1),
        }
        for name, count in nodes.items()
    }
