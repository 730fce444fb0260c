"""What the configuration's values may be: types, which Hydra checks, and ranges."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass
from enum import StrEnum
from typing import Any

from omegaconf import MISSING, BooleanNode, IntegerNode, StringNode

from brainseg.benchmark.plan import TimingPlan, parse_threads
from brainseg.data.mask import parse_labels
from brainseg.deploy.options import check_chosen
from brainseg.errors import InputError, check_known
from brainseg.model.attention import ATTENTIONS, NoAttention
from brainseg.model.registry import check_model
from brainseg.model.unet import AttentionAt
from brainseg.tracking.wandb_run import tracking_mode
from brainseg.training.identity import flatten
from brainseg.training.loss import LOSSES
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
            "image_size": IntegerNode(224, is_optional=False),
            "batch_size": IntegerNode(16, is_optional=False),
            "workers": IntegerNode(None),
        },
    }


@dataclass(frozen=True)
class Range:
    """Numbers of at least `low` and less than `below`; `None` may stand instead if `nullable`."""

    low: float
    below: float = math.inf
    whole: bool = True
    nullable: bool = False

    def __contains__(self, value: Any) -> bool:
        if value is None:
            return self.nullable
        number = isinstance(value, int if self.whole else (int, float))
        return number and not isinstance(value, bool) and self.low <= value < self.below

    def __str__(self) -> str:
        number = "a whole number" if self.whole else "a number"
        bound = f" and below {self.below}" if self.below < math.inf else ""
        return f"{number} of at least {self.low}{bound}{', or null' if self.nullable else ''}"


RANGES = {
    "seed": Range(0, 2**63),
    "split.seed": Range(0, 2**63),
    "data.image_size": Range(1),
    "data.batch_size": Range(1),
    "data.workers": Range(0, nullable=True),
    "data.patients": Range(1),
    "data.slices": Range(1),
    "data.healthy_slices": Range(0),
    "model.dropout": Range(0, 1, whole=False),
    "optim.lr": Range(0, whole=False),
    "schedule.factor": Range(0, 1, whole=False),
    "schedule.patience": Range(0),
    "schedule.min_lr": Range(0, whole=False),
    "trainer.max_epochs": Range(1),
    "trainer.early_stopping": Range(0, nullable=True),
    "trainer.max_minutes": Range(0.01, whole=False, nullable=True),
    "deploy.passes": Range(1),
}
"""Setting → what it may be."""


def check_settings(config: Mapping[str, Any]) -> None:
    """Check the resolved configuration before any work.

    Raises:
        InputError: a number is out of its range; or there is no such setting of the model, loss,
            mode, device or runtime to deploy in, or mode of tracking.
    """
    check_model(config["model"])
    check_known("loss", [config["loss"]["name"]], LOSSES)
    for key, value in flatten(config):
        if key in RANGES and value not in RANGES[key]:
            raise InputError(f"{key}={value} cannot be used. Expected {RANGES[key]}.")
    parse_labels(config["data"].get("labels"))
    plan_timing(config["deploy"])
    check_chosen(config["deploy"]["options"] or {}, config["deploy"]["modes"])
    tracking_mode(config["tracking"])


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
