"""The shapes of what training leaves: the entries that brainseg relies on.

They are TypedDicts for pydantic, which says what is wrong with a file, and where. Other entries may
be there too.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Required

from pydantic import AfterValidator
from typing_extensions import TypedDict

from brainseg.content.kinds import CASE, Count, Curve, check_maps, check_named


class State(TypedDict, total=False):
    """`state.json`.

    `files` are the hashes of what training left, see `Run.hash_trained`; `devices` how many trained
    at once, in each attempt that trained. That of a fine-tuning has `calibration`: the part and the
    ids of the images on which ranges were measured.
    """

    stage: Literal["data", "train", "deploy", "done"]
    status: Required[Literal["running", "finished", "failed"]]
    reason: str | None
    identity: dict[str, Any]
    attempts: int
    devices: list[int]
    files: dict[str, str]
    calibration: dict[str, Any]


class _Model(TypedDict, total=False):
    name: str
    target: str | None
    attention: str | None
    encoder: str | None
    weights: str | None


class _Data(TypedDict, total=False):
    name: str
    image_size: int
    batch_size: int
    root: str | None
    negatives: str | None
    test: str | None
    cache_dir: str | None
    duplicates: str


class _Split(TypedDict, total=False):
    name: str
    seed: int
    fold: int
    folds: int


class _Optim(TypedDict):
    lr: float


class _Named(TypedDict):
    name: str


class _Trainer(TypedDict):
    max_epochs: int


class _Settings(TypedDict, total=False):
    seed: int
    experiment_name: str
    model: _Model
    data: _Data
    split: _Split
    optim: _Optim
    schedule: _Named
    loss: _Named
    trainer: _Trainer
    tracking: dict[str, Any]


def _complete(settings: Any) -> Any:
    """What was trained says how."""
    told = ("seed", "model", "data", "optim", "schedule", "loss")
    if "trainer" in settings and (missing := [name for name in told if name not in settings]):
        raise ValueError(f"{', '.join(missing)} is missing")
    return settings


Config = Annotated[_Settings, AfterValidator(_complete)]
"""`config.yaml`."""


class _Cpu(TypedDict, total=False):
    model: str | None
    physical_cores: int | None
    flags: list[str]


class _Commit(TypedDict):
    hash: str
    dirty: bool


class Environment(TypedDict, total=False):
    """`environment.json`."""

    python: str
    os: str
    versions: dict[str, str | None]
    cpu: _Cpu
    gpus: list[_Named]
    commit: _Commit | None
    command: list[str]
    folder: str


class Facts(TypedDict):
    """`data.json`."""

    images: dict[str, dict[str, int]]
    leaks: dict[str, int]
    leaking_patients: int | None
    shortcut_auc: float | None


class _Part(TypedDict):
    parameters: int
    multiply_adds: int
    output_shape: list[int] | None


class Network(TypedDict):
    """`model.json`."""

    parameters: int
    multiply_adds: int
    parts: dict[str, _Part]


_Divided = TypedDict("_Divided", {**CASE, "split": str})  # type: ignore[misc]
Split = list[_Divided]
"""`split.csv`."""


class _Leak(TypedDict):
    id: str
    shared: str
    other: str


Leaks = list[_Leak]
"""`leaks.csv`."""


class _Epoch(TypedDict, total=False):
    epoch: Required[Count]
    train_loss: Curve
    val_loss: Curve
    val_mean_iou: Curve
    val_tumor_iou: Curve


def _in_order(rows: Any) -> Any:
    if [row["epoch"] for row in rows] != list(range(len(rows))):
        raise ValueError("epochs are missing")
    return rows


History = Annotated[list[_Epoch], AfterValidator(_in_order)]
"""`history.csv`."""


def _slices(arrays: Mapping[str, Any]) -> Mapping[str, Any]:
    check_named(arrays, "classes", "patients")
    check_maps(arrays, "images")
    check_maps(arrays, "masks")
    if arrays["images"].shape != arrays["masks"].shape:
        raise ValueError("images and masks differ in their shape")
    if "unmasked" in arrays and arrays["unmasked"].dtype != bool:
        raise ValueError("unmasked: expected true or false")
    return arrays


Slices = Annotated[Any, AfterValidator(_slices)]
"""`test.npz` and `val.npz`."""
