"""The state of a run; where it was damaged, or is gone, the run's other files tell it."""

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from brainseg.errors import DamagedFile, InputError
from brainseg.files import write_json
from brainseg.run import Run, Stage
from brainseg.training.identity import identify
from brainseg.vocabulary import REFERENCE

logger = logging.getLogger(__name__)


def has_begun(run: Run) -> bool:
    """Whether a folder holds anything of a run."""
    return any(file.exists() for file in (run.state, run.config, *_networks(run)))


def read_state(run: Run) -> dict[str, Any]:
    """The state of a run, empty before its start; where it is lost, what its other files tell.

    Its identity is then that of its configuration. The state written then has no fingerprint of the
    data, see `mend.add_fingerprint`.

    Raises:
        InputError: the other files do not tell how far it has come, or of which run they are.
    """
    try:
        if state := run.read_state():
            return state
        if not has_begun(run):
            return {}
        logger.warning("%s is missing.", run.state)
    except DamagedFile as error:
        logger.warning("%s", error)
    state = {"stage": Stage.data, "identity": {}}
    if any(file.exists() for file in _networks(run)):
        config = _read_config(run)
        state = {"stage": _find_stage(config, run), "identity": identify(config)}
    write_json(run.state, {"status": "failed", "reason": "its state was damaged", **state})
    logger.info("%s is made again from the run's other files.", run.state)
    return run.read_state()


def _networks(run: Run) -> tuple[Path, ...]:
    """What another training would overwrite."""
    return (run.last, run.previous, run.best, run.onnx(REFERENCE))


def _read_config(run: Run) -> dict[str, Any]:
    try:
        return run.read_config()
    except InputError as error:
        raise InputError(
            f"Of which run {run.path} is cannot be told: {run.state.name} and {run.config.name} "
            "are damaged or missing. Restore one of them, choose another output_dir, or start over "
            "with force=true, which deletes what is there."
        ) from error


def _find_stage(config: Mapping[str, Any], run: Run) -> Stage:
    """How far a run with a network has come."""
    if run.last.exists() or run.previous.exists():
        return Stage.train
    if run.metrics.exists() or run.onnx(REFERENCE).exists():
        return Stage.deploy
    epochs = len(run.read(run.history)) if run.history.exists() else 0
    planned = config.get("trainer", {}).get("max_epochs", math.inf)
    if epochs < planned:
        raise InputError(
            f"Whether the training in {run.path} has ended cannot be told: {run.state.name} is "
            f"damaged or missing, and {run.history.name} has {epochs} of {planned} epochs. Restore "
            f"{run.state.name} or {run.last.name}, choose another output_dir, or start over with "
            "force=true, which deletes what is there."
        )
    return Stage.deploy
