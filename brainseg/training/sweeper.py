"""Hydra's own sweeper, which checks all jobs before the first one starts."""

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from brainseg.errors import InputError
from brainseg.training.config import read_settings


class CheckingSweeper(BasicSweeper):
    """Composes each job of a sweep, as the launcher will, and checks its settings."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Refuse the sweep if a job cannot be composed, or cannot use its settings.

        Raises:
            InputError: as `read_settings`.
        """
        assert self.hydra_context
        assert self.config
        before = HydraConfig.instance().cfg
        try:
            for number, overrides in enumerate(batch):
                loader = self.hydra_context.config_loader
                config = loader.load_sweep_config(self.config, list(overrides))
                _check_job(config, number)
        finally:
            HydraConfig.instance().cfg = before


def _check_job(config: DictConfig, number: int) -> None:
    with open_dict(config):
        config.hydra.job.id = config.hydra.job.num = number
        HydraConfig.instance().set_config(config)
        if config.hydra.launcher.get("n_jobs") == 0:
            raise InputError(
                "hydra.launcher.n_jobs=0 cannot be used. Expected 1 or more, or -1 for all cores."
            )
        choices = config.hydra.runtime.choices
        del config["hydra"]
    read_settings(config, choices)
