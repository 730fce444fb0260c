"""The composed configuration: its schema, what is missing, and the run that it describes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from brainseg.errors import InputError
from brainseg.run import Run
from brainseg.training.identity import IDENTITY, run_name
from brainseg.training.settings import SCHEMAS, model_schemas, open_schema


def register_schema() -> None:
    """Make the types of values known to Hydra; call it before composing."""
    store = ConfigStore.instance().store
    store(name="schema", node=open_schema())
    for group, node in SCHEMAS.items():
        store(group=group, name="schema", node=node)
    for name, node in model_schemas().items():
        store(group="model", name=f"{name}_schema", node=node)


def check_complete(config: DictConfig) -> None:
    """Check that every mandatory value is there.

    Raises:
        InputError: it names those that are missing, as they are typed.
    """
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        typed = " ".join(f"{key}=…" for key in missing)
        raise InputError(f"{', '.join(missing)} must be set. Add to the command: {typed}")


def to_plain(config: DictConfig) -> dict[str, Any]:
    """The resolved configuration as dictionaries, lists, strings and numbers.

    Enumerations become strings, so that what is saved loads without any code.
    """
    plain = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items() if key != "hydra"}


def find_run(config: Mapping[str, Any]) -> Run:
    """The run directory of the job that Hydra is running.

    Its name tells what differs from what the same experiment composes alone.
    """
    choices = HydraConfig.get().runtime.choices
    experiment = [f"experiment={choices['experiment']}"] if choices["experiment"] else []
    usual_choices = _compose(experiment).hydra.runtime.choices
    changed = {
        group: choices[group]
        for group in IDENTITY
        if group in choices and choices[group] != usual_choices[group]
    }
    usual = _compose([*experiment, *(f"{group}={choice}" for group, choice in changed.items())])
    name = run_name(config, to_plain(usual), list(changed.values()))
    return Run(Path(config["output_dir"]) / config["experiment_name"] / name)


def _compose(overrides: list[str]) -> DictConfig:
    return hydra.compose("train", overrides=overrides, return_hydra_config=True)
