"""The types of the configuration's values, which Hydra checks, and all other checks of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass
from enum import StrEnum
from typing import Any

from omegaconf import MISSING, BooleanNode, FloatNode, IntegerNode, StringNode

from brainseg.benchmark.plan import TimingPlan, parse_threads
from brainseg.data.layouts.options import check_options
from brainseg.data.load import SHARED
from brainseg.deploy.options import check_chosen
from brainseg.errors import check_known
from brainseg.model.attention import ATTENTIONS, NoAttention
from brainseg.model.registry import check_model, check_size
from brainseg.model.unet import AttentionAt
from brainseg.tracking.wandb_run import tracking_mode
from brainseg.training.loss import LOSSES
from brainseg.training.schedule import check_schedule
from brainseg.training.values import check_values
from brainseg.vocabulary import MODES


@dataclass
class ResUNetSchema:
    """Types of `model=resunet`, beside its `attention`."""

    name: str = "resunet"
    attention_at: AttentionAt = AttentionAt.paper
    encoder: str = "resnetv2_50"
    encoder_args: dict[str, Any] = field(default_factory=dict)
    weights: str = "none"
    dropout: float = 0.2


@dataclass
class SmpUnetSchema:
    """Types of `model=smp_unet`."""

    name: str = "smp_unet"
    encoder: str = "tu-resnetv2_50"
    weights: str = "none"
    args: dict[str, Any] = field(default_factory=dict)


@dataclass
class OwnSchema:
    """Types of `model=own`."""

    name: str = "own"
    target: str = MISSING
    args: dict[str, Any] = field(default_factory=dict)


@dataclass
class OptimSchema:
    """Types of the `optim` group."""

    lr: float = 1e-3


@dataclass
class TrainerSchema:
    """Types of the `trainer` group; what is `Any` has several types, which Lightning checks."""

    max_epochs: int = 5
    early_stopping: int | None = None
    precision: Any = "auto"
    accelerator: str = "auto"
    devices: Any = 1
    compile: bool = False
    max_minutes: float | None = None


@dataclass
class DeploySchema:
    """Types of the `deploy` group; it has every option of every mode, `None` unless given."""

    modes: list[str] = field(default_factory=list)
    devices: list[str] = field(default_factory=list)
    runtimes: list[str] | None = None
    passes: int = 500
    threads: Any = None
    options: Any = field(
        default_factory=lambda: {
            name: dict.fromkeys(mode.options) for name, mode in MODES.items() if mode.options
        }
    )


SCHEMAS = {"optim": OptimSchema, "trainer": TrainerSchema, "deploy": DeploySchema}
"""Group → its schema, for groups whose choices have the same keys."""

MODEL_SCHEMAS = {"resunet": ResUNetSchema, "smp_unet": SmpUnetSchema, "own": OwnSchema}
"""Choice of the group `model` → its schema."""


def model_schemas() -> dict[str, type]:
    """`MODEL_SCHEMAS` with the attentions there are now; each named as its model is chosen.

    That name stands in Hydra's error messages. The attentions are an enumeration, so that a
    wrong one stops a sweep before its first job.
    """
    kinds = StrEnum("Attention", {name: name for name in ATTENTIONS})  # type: ignore[misc]
    added = {"resunet": [("attention", kinds, kinds(NoAttention.name))]}
    return {
        name: make_dataclass(f"model={name}", added.get(name, []), bases=(schema,))
        for name, schema in MODEL_SCHEMAS.items()
    }


def open_schema() -> dict[str, Any]:
    """Types of what stands in no such group; the choices of `data` and `split` add their keys."""
    return {
        "seed": IntegerNode(0, is_optional=False),
        "experiment_name": StringNode("demo", is_optional=False),
        "output_dir": StringNode("outputs", is_optional=False),
        "force": BooleanNode(False, is_optional=False),
        "split": {"seed": IntegerNode(0, is_optional=False)},
        "data": {
            "augmentation": FloatNode(1.0, is_optional=False),
            "image_size": IntegerNode(224, is_optional=False),
            "batch_size": IntegerNode(16, is_optional=False),
            "workers": IntegerNode(None),
        },
    }


def check_settings(config: Mapping[str, Any]) -> None:
    """Check the resolved configuration before any work.

    Raises:
        InputError: a value is not what it may be; or there is no such setting of the model or
            schedule, loss, mode, device or runtime to deploy in, or mode of tracking.
    """
    check_model(config["model"])
    check_known("loss", [config["loss"]["name"]], LOSSES)
    check_values(config)
    check_size(config["model"], config["data"]["image_size"])
    check_schedule(config["schedule"], config["optim"]["lr"])
    _check_options(config["data"])
    plan_timing(config["deploy"])
    check_chosen(config["deploy"]["options"] or {}, config["deploy"]["modes"])
    tracking_mode(config["tracking"])


def _check_options(data: Mapping[str, Any]) -> None:
    """Check what the reader of a data set is given."""
    options = {key: data[key] for key in data.keys() - SHARED if data[key] is not None}
    check_options(data["name"], options)


def plan_timing(deploy: Mapping[str, Any]) -> TimingPlan:
    """What the group `deploy` of a configuration asks to be timed.

    Raises:
        InputError: something has another name, or is too small a number.
    """
    runtimes, threads = deploy.get("runtimes"), deploy.get("threads")
    return TimingPlan(
        modes=tuple(deploy["modes"]),
        devices=tuple(deploy["devices"]),
        runtimes=None if runtimes is None else tuple(runtimes),
        passes=deploy["passes"],
        threads=parse_threads(threads if isinstance(threads, list) else [threads]),
    )
