"""The composed configuration: its schema, what is missing, and the run that it describes."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from brainseg.errors import InputError
from brainseg.run import Run
from brainseg.training.identity import IDENTITY, run_name
from brainseg.training.keys import check_keys
from brainseg.training.settings import SCHEMAS, check_settings, model_schemas, open_schema

PARALLEL = {"n_jobs": 2, "batch_size": "1"}
"""Other defaults of `hydra/launcher=joblib`: its own take a job per core, whose shares would then
be a core each, and may hand several jobs to one process while another has none."""


def register_schema() -> None:
    """Make the types of values known to Hydra; call it before composing."""
    Plugins.instance()  # they bring theirs
    registered = ConfigStore.instance()
    store = registered.store
    launcher = registered.load("hydra/launcher/joblib.yaml").node
    store(group="hydra/launcher", name="joblib", node=OmegaConf.merge(launcher, PARALLEL))
    store(name="schema", node=open_schema())
    for group, node in SCHEMAS.items():
        store(group=group, name="schema", node=node)
    for name, node in model_schemas().items():
        store(group="model", name=f"{name}_schema", node=node)


def read_settings(config: DictConfig, choices: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a job, resolved and checked.

    Args:
        config: as Hydra composes it, without its own part.
        choices: the choice of each group.

    Raises:
        InputError: a mandatory value is missing, nothing reads a key, or a value cannot be used.
        OmegaConfBaseException: an interpolation cannot be resolved.
    """
    check_complete(config)
    plain = to_plain(config)
    chosen = [f"{group}={choice}" for group, choice in choices.items() if group in plain and choice]
    check_keys(plain, _plain(_compose(chosen), resolve=False))
    check_settings(plain)
    return plain


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
    return _plain(config, resolve=True)


def _plain(config: DictConfig, *, resolve: bool) -> dict[str, Any]:
    plain = OmegaConf.to_container(config, resolve=resolve, enum_to_str=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items() if key != "hydra"}


def job_choices() -> Mapping[str, Any]:
    """The choice of each group, of the job that Hydra is running."""
    return HydraConfig.get().runtime.choices


def job_number() -> int:
    """The place of the job that Hydra is running in its sweep, from 0."""
    hydra_config = HydraConfig.get()
    return hydra_config.job.num if hydra_config.mode == RunMode.MULTIRUN else 0


def jobs_at_once() -> int:
    """How many jobs of the sweep run side by side, each in a process of its own.

    A negative number counts from all cores, as in joblib.
    """
    hydra_config = HydraConfig.get()
    sweeping = hydra_config.mode == RunMode.MULTIRUN
    jobs = hydra_config.launcher.get("n_jobs", 1) if sweeping else 1
    # Not joblib's count, which heeds the share of the cores that a job has taken.
    return jobs if jobs > 0 else max(1, (os.cpu_count() or 1) + 1 + jobs)


def trial_watch(run: Run) -> Callable[[dict[str, Any]], None]:
    """What is called with each row of the history: Optuna's trials may end early."""
    sweeper = HydraConfig.get().sweeper
    if sweeper.get("trial") is None:
        return lambda row: None
    from brainseg.training.pruning import watch  # of the extra `scale`

    return watch(run, sweeper.trial, sweeper.startup_trials)


def find_run(config: Mapping[str, Any]) -> Run:
    """The run directory of the job that Hydra is running.

    Its name tells what differs from what the same experiment composes alone.
    """
    choices = job_choices()
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
