"""Plug-ins of this package for Hydra, which takes those of the package `hydra_plugins` only."""

from importlib.util import find_spec

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.plugin import Plugin
from omegaconf import OmegaConf


def register_plugins() -> None:
    """Register our sweeper, and what the extra `scale` brings, where that is installed.

    Call it before composing.
    """
    Plugins.instance()  # it loads the modules of Hydra's own plug-ins anew, so first of all
    from brainseg.training.sweeper import CheckingSweeper

    register_plugin(CheckingSweeper, "hydra/sweeper", "basic")
    if find_spec("hydra_plugins.hydra_submitit_launcher"):
        from brainseg.training.launchers import LocalLauncher, SubmititLauncher

        register_plugin(SubmititLauncher, "hydra/launcher", "submitit_slurm")
        register_plugin(LocalLauncher, "hydra/launcher", "submitit_local")
    if find_spec("optuna"):
        from brainseg.training.tuner import Tuner, TunerSettings

        ConfigStore.instance().store(group="hydra/sweeper", name="optuna", node=TunerSettings)
        register_plugin(Tuner, "hydra/sweeper", "optuna")


def register_plugin(plugin: type[Plugin], group: str, name: str) -> None:
    """Make `plugin` what the choice `name` of `group` stands for; call it before composing.

    Args:
        plugin: a launcher or sweeper.
        group: `hydra/launcher` or `hydra/sweeper`.
        name: of the choice, which has its settings already.
    """
    plugins, store = Plugins.instance(), ConfigStore.instance()
    plugins.register(plugin)
    plugins.is_in_toplevel_plugins_module = _is_allowed  # type: ignore[method-assign]
    node = OmegaConf.merge(store.load(f"{group}/{name}.yaml").node)
    node._target_ = f"{plugin.__module__}.{plugin.__name__}"
    store.store(group=group, name=name, node=node)


def _is_allowed(clazz: str) -> bool:
    return clazz.startswith("brainseg.") or Plugins.is_in_toplevel_plugins_module(clazz)
