"""The operators that a runtime really runs, and in which arithmetic."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kernel:
    """An operator as it runs.

    Attributes:
        provider: what runs it, such as `CPUExecutionProvider`.
        operator: its type, in the words of the runtime.
        kind: in what it computes: `int8`, `fp16`, `bf16` or `float`.
        nodes: names of the nodes of the ONNX file that it stands for, as far as they are known.
    """

    provider: str
    operator: str
    kind: str
    nodes: tuple[str, ...]


CONVERSIONS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast")
"""Operators that have 8 bits on one side only; what they compute is float."""

KINDS = {"uint8": "int8", "int8": "int8", "float16": "fp16", "bfloat16": "bf16"}
"""Type of a tensor in an onnxruntime profile → kind of the kernel that reads it."""

_TIMED = "_kernel_time"
_RENAMED = re.compile(r"_token_\d+$")  # what onnxruntime appends to the name of a fused node


def from_profile(events: Iterable[Mapping[str, Any]]) -> list[Kernel]:
    """The kernels of one pass, from the events of an onnxruntime profile."""
    return [
        Kernel(
            provider=event["args"]["provider"],
            operator=event["args"]["op_name"],
            kind=_kind(event["args"]),
            nodes=(_RENAMED.sub("", event["name"].removesuffix(_TIMED)),),
        )
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith(_TIMED)
    ]


def _kind(arguments: Mapping[str, Any]) -> str:
    if arguments["op_name"] in CONVERSIONS:
        return "float"
    read = {KINDS.get(name, "float") for each in arguments["input_type_shape"] for name in each}
    return next((kind for kind in ("int8", "fp16", "bf16") if kind in read), "float")
