"""Files of a run that were damaged, or are gone, and that training makes again without training."""

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from brainseg.content.read import read_content
from brainseg.data.cache import Slices
from brainseg.data.parts import read_test
from brainseg.environment import hide_home
from brainseg.errors import InputError
from brainseg.files import write_text
from brainseg.run import Run

logger = logging.getLogger(__name__)

FINGERPRINT = "data.fingerprint"


def write_config(config: Mapping[str, Any], run: Run) -> None:
    """Write the resolved configuration."""
    write_text(run.config, yaml.safe_dump(hide_home(config), sort_keys=False, allow_unicode=True))


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


def mend_trained(config: Mapping[str, Any], run: Run, divide: Callable[[Run], Any]) -> None:
    """Make those files of a trained run again that follow from its settings and data.

    Args:
        config: the resolved configuration, of the run's identity.
        run: whose training has ended.
        divide: writes into a run what is known of the data and their split.

    Raises:
        InputError: a file that is lost would not fit to one that is there.
    """
    damaged = run.find_damage()
    made = [run.split, run.leaks, run.data, run.val, run.test]
    lost = [file for file in (run.config, *made) if file in damaged or not file.exists()]
    if not lost:
        return
    if {*lost} & {*made}:
        staged = Run(run.path / ".new")
        shutil.rmtree(staged.path, ignore_errors=True)  # left by a process that was killed
        try:
            divide(staged)
            for file in made:
                if file not in lost:
                    _check_fits(run, lost, file, staged.path / file.name)
            for file in {*lost} & {*made}:
                (staged.path / file.name).replace(file)
        finally:
            shutil.rmtree(staged.path, ignore_errors=True)
    if run.config in lost:
        write_config(config, run)
    logger.info("Made again: %s.", ", ".join(file.name for file in lost))
    if "files" in run.read_state():
        run.update_state(files=run.read_state()["files"] | run.hash_files(made))


def _check_fits(run: Run, lost: Sequence[Path], kept: Path, made: Path) -> None:
    """Refuse to make files again where one that is there would be made otherwise today.

    Entries that an older version did not write are no difference.
    """
    before, now = run.read(kept), read_content(made)
    if isinstance(before, Mapping):
        same = all(np.array_equal(before[key], now[key]) for key in before.keys() & now.keys())
    else:
        same = before == now
    if not same:
        names = ", ".join(file.name for file in lost)
        raise InputError(
            f"{names} in {run.path} cannot be made again to fit to the rest: {kept.name} would be "
            "another one today. Restore what is lost from a copy, or start over with force=true."
        )
