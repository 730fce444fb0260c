"""How far the rounding of each activation moves the logits: what to keep in float first.

Measured on a trained network, rounding the weights makes 2 % of the squared error of the logits,
and rounding the activations 98 %. So activations are ranked, and a layer that computes in float
gains something only where the activations around it stay float with it.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import ModelProto
from onnx_ir.tape import Tape

from brainseg.deploy.opened import opened_inside
from brainseg.terminal import bar

LOGITS, SWITCHES = "logits", "switches"

ABSORBED = "Relu"
"""What onnxruntime leaves out where the rounding of its output clips at zero all the same."""


def rank_activations(
    model: ModelProto, quantized: ModelProto, images: NDArray[np.float32]
) -> dict[str, float]:
    """Mean squared error of the logits when an activation alone is rounded, the largest first.

    One session measures all: the float network, in which each rounding can be switched on.

    Args:
        model: the float network, with names for its nodes.
        quantized: the same with Q and DQ.
        images: N×1×H×W in [0, 1].

    Returns:
        Names of activations in `model`, with their errors.
    """
    switched, names = add_switches(model, quantized)
    session = opened_inside(switched)

    def run(on: NDArray[np.bool_]) -> NDArray[np.float32]:
        return session.run([LOGITS], {"image": images, SWITCHES: on})[0]

    exact = run(np.zeros(len(names), bool))
    singles = bar(
        np.eye(len(names), dtype=bool), "Rounding each activation alone", total=len(names)
    )
    errors = [float(np.mean((run(single) - exact) ** 2)) for single in singles]
    found = dict(zip(names, errors, strict=True))
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def add_switches(model: ModelProto, quantized: ModelProto) -> tuple[ModelProto, list[str]]:
    """The float network with the roundings of its activations, each behind a switch.

    Args:
        model: the float network.
        quantized: the same with Q and DQ.

    Returns:
        A network with another input, `switches` (bool, one per activation), and another output,
        `logits`; and the names of the activations in their order.
    """
    changed = ir.from_proto(model)
    graph, rounded = changed.graph, ir.from_proto(quantized).graph
    switches = ir.Value(name=SWITCHES, type=ir.TensorType(ir.DataType.BOOL), shape=ir.Shape([None]))
    values = {value.name: value for value in graph.inputs}
    values |= {value.name: value for node in graph for value in node.outputs}
    kept = {node.name for node in rounded}
    names: list[str] = []
    rounding: Any
    for rounding in rounded:
        if rounding.op_type == "QuantizeLinear" and rounding.inputs[0].name in values:
            value = _after_absorbed(values[rounding.inputs[0].name], kept)
            _switch(graph, value, rounding, switches, len(names))
            names.append(str(value.name))
    graph.inputs.append(switches)
    return expose_logits(ir.to_proto(changed)), names


def expose_logits(model: ModelProto) -> ModelProto:
    """The network with another output, `logits`: what the last sigmoid takes."""
    changed = ir.from_proto(model)
    graph = changed.graph
    sigmoid: Any = graph.outputs[0].producer()
    tape = Tape(graph)
    logits = tape.op("Identity", [sigmoid.inputs[0]])
    logits.name, logits.type = LOGITS, ir.TensorType(ir.DataType.FLOAT)
    graph.extend(tape.nodes)
    graph.outputs.append(logits)
    return ir.to_proto(changed)


def logits_of(model: ModelProto, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the last sigmoid of a network takes, N×1×H×W."""
    return opened_inside(expose_logits(model)).run([LOGITS], {"image": images})[0]


def nodes_around(model: ModelProto, activations: Iterable[str]) -> set[str]:
    """The nodes that must stay float so that activations are not rounded: before and after each."""
    graph = ir.from_proto(model).graph
    values = {value.name: value for node in graph for value in node.outputs}
    values |= {value.name: value for value in graph.inputs}
    found: set[str] = set()
    for name in activations:
        found |= {str(node.name) for node, _ in values[name].uses()}
        before: Any = values[name].producer()
        while before is not None:
            found.add(str(before.name))
            before = before.inputs[0].producer() if before.op_type == ABSORBED else None
    return found


def _after_absorbed(value: ir.Value, kept: set[str | None]) -> ir.Value:
    """Where the float network has what the other one rounds: after the node that was left out."""
    uses = [node for node, _ in value.uses()]
    absorbed = len(uses) == 1 and uses[0].op_type == ABSORBED and uses[0].name not in kept
    return uses[0].outputs[0] if absorbed else value


def _switch(
    graph: ir.Graph, value: ir.Value, rounding: ir.Node, switches: ir.Value, place: int
) -> None:
    uses, tape = list(value.uses()), Tape(graph)

    def constant(name: str, array: NDArray) -> ir.Value:
        return tape.initializer(ir.tensor(array, name=f"{value.name}.switch.{name}"))

    parts = [
        constant(str(index), each.const_value.numpy())  # type: ignore[union-attr]
        for index, each in enumerate(rounding.inputs[1:])
    ]
    levels = tape.op("QuantizeLinear", [value, *parts])
    rounded = tape.op("DequantizeLinear", [levels, *parts])
    on = tape.op("Gather", [switches, constant("place", np.array(place))], {"axis": 0})
    either = tape.op("Where", [on, rounded, value])
    producer = value.producer()
    if producer is None:
        graph.insert_before(graph[0], tape.nodes)
    else:
        graph.insert_after(producer, tape.nodes)
    for user, index in uses:
        user.replace_input_with(index, either)
