"""The shapes of what is known of exported networks: how they were made, and their timings."""

from typing import Any

from typing_extensions import TypedDict

from brainseg.content.kinds import Pair
from brainseg.content.training import Environment
from brainseg.row import Row


class _Point(TypedDict):
    activations: int
    float_layers: list[str]
    loss: float
    logit_error: float
    time: float
    time_interval: Pair
    speedup: float


class Made(TypedDict, total=False):
    """`model.<mode>.json`; see `Run.read_made`."""

    options: dict[str, Any]
    network: str
    checkpoint: str | None
    export: str | None
    parity: float | None
    curve: list[_Point]
    float_layers: list[str]


class _Control(TypedDict):
    mode: str
    runtime: str
    ratio: float
    interval: Pair


class _Session(TypedDict):
    started_at: str
    device: str
    threads: int | list[int]
    passes: int
    other_cpu_share: float | None
    control: _Control | None
    environment: Environment


Sessions = dict[str, _Session]
"""`benchmarks.json`."""

Rows = list[Row]
"""`deploy.json`."""

Ranges = dict[str, Any]
"""`ranges.json` of a fine-tuning, as onnxruntime writes it."""
