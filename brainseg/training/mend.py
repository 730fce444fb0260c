"""Files of a run that were damaged, or are gone, and that training makes again without training."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import yaml

from brainseg.data.cache import Slices
from brainseg.data.parts import read_test
from brainseg.environment import hide_home
from brainseg.errors import DamagedFile, InputError
from brainseg.files import write_text
from brainseg.run import Run, Stage
from brainseg.training.identity import identify

logger = logging.getLogger(__name__)

FINGERPRINT = "data.fingerprint"


def write_config(config: Mapping[str, Any], run: Run) -> None:
    """Write the resolved configuration."""
    write_text(run.config, yaml.safe_dump(hide_home(config), sort_keys=False, allow_unicode=True))


def read_state(run: Run) -> dict[str, Any]:
    """The state of a run; where it is damaged, what its other files tell.

    Its identity is that of its configuration. The state written then has no fingerprint of the
    data, see `add_fingerprint`.

    Raises:
        InputError: the configuration is damaged, too.
    """
    try:
        return run.read_state()
    except DamagedFile as error:
        logger.warning("%s", error)
    left = run.last.exists() or run.previous.exists()
    stage = Stage.train if left else Stage.deploy if run.best.exists() else Stage.data
    state = {"stage": stage, "status": "failed", "reason": "its state was damaged"}
    run.state.unlink()
    run.update_state(**state, identity=identify(run.read_config()))
    logger.info("%s is made again from the run's other files.", run.state)
    return run.read_state()


def add_fingerprint(
    identity: Mapping[str, Any], run: Run, table: pd.DataFrame, slices: Slices
) -> dict[str, Any]:
    """An identity with the data's fingerprint; one that lost it gets that of the data in use.

    Raises:
        InputError: it lost it, and the run's test images are not those of the data.
    """
    if FINGERPRINT in identity:
        return dict(identity)
    test, rows = read_test(run), dict(zip(table["id"].astype(str), range(len(table)), strict=True))
    names = test["ids"].tolist()
    known = all(name in rows for name in names)
    same = known and np.array_equal(test["images"], slices.images[[rows[name] for name in names]])
    if not same:
        raise InputError(
            f"{run.path} was trained on other data than these, as {run.test.name} shows. Choose "
            "another output_dir, or start over with force=true."
        )
    return {**identity, FINGERPRINT: slices.fingerprint}


def mend_trained(config: Mapping[str, Any], run: Run, divide: Callable[[], Any]) -> None:
    """Make those files of a trained run again that follow from its settings and data.

    Args:
        config: the resolved configuration, of the run's identity.
        run: whose training has ended.
        divide: writes what is known of the data and their split.
    """
    damaged = run.find_damage()
    made = [run.split, run.leaks, run.data, run.val, run.test]
    lost = [file for file in (run.config, *made) if file in damaged or not file.exists()]
    if not lost:
        return
    if run.config in lost:
        write_config(config, run)
    if {*lost} & {*made}:
        divide()
    logger.info("Made again: %s.", ", ".join(file.name for file in lost))
    if "files" in run.read_state():
        run.update_state(files=run.read_state()["files"] | run.hash_files(made))
