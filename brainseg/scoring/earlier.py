"""An evaluation that stands where another one is to be written: kept, removed or refused."""

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from brainseg.data.external import External
from brainseg.data.parts import read_test
from brainseg.environment import hide_home
from brainseg.errors import DamagedFile, InputError
from brainseg.files import write_json
from brainseg.lock import NAME as LOCK
from brainseg.run import Run
from brainseg.scoring.kept import files_of
from brainseg.scoring.models import Model
from brainseg.vocabulary import CHECKPOINT

logger = logging.getLogger(__name__)


def check_place(target: Run, root: Path) -> None:
    """Refuse a folder that holds anything but an evaluation of this data set.

    Args:
        target: the folder that is to be written.
        root: the data set's.

    Raises:
        InputError: it holds something else.
    """
    if target.evaluation.exists():
        facts = _read(target)
        if facts is None:
            return  # it is this run's, and is written anew
        there = hide_home(facts["data"]["folder"])
        if there != hide_home(str(root.resolve())):
            raise InputError(
                f"{target.path} holds an evaluation of other data, {there}. Choose another place "
                "with --out."
            )
    elif target.path.exists() and {path.name for path in target.path.iterdir()} - {LOCK}:
        raise InputError(
            f"{target.path} is not empty and holds no evaluation. Choose a new folder with --out."
        )


def find_kept(target: Run, model: Model, external: External) -> dict[str, str]:
    """Modes that an earlier evaluation scored on these images with the same networks.

    Args:
        target: the folder that is to be written.
        model: what is evaluated now; its own modes are scored again.
        external: the images.

    Returns:
        The hash of the network by mode. What is not among them, and so goes, is told.
    """
    there = _read(target)
    if there is None:
        return {}
    damaged = target.find_damage().keys()
    others = [
        mode
        for mode in there["modes"]
        if mode not in model.modes and target.cases(mode).exists()  # the last that is written
    ]
    networks = there.get("networks", {}) if _has_images(target, external) else {}
    kept = {
        mode: networks[mode]
        for mode in others
        if mode in networks
        and networks[mode] == model.hash_network(mode)
        and not damaged & {*files_of(target, mode)}
    }
    if len(kept) < len(others):
        logger.info(
            "The scores of %s in %s are removed: they belong to other images or another network.",
            *(", ".join(mode for mode in others if mode not in kept), target.path),
        )
    return kept


def clear(target: Run, kept: Collection[str]) -> None:
    """Remove what an earlier evaluation found there of other modes, or on other images.

    First of all it is no longer finished.
    """
    if facts := _read(target):
        write_json(target.evaluation, facts | {"status": "running"})
    for made in (target.cases, target.predictions, target.metrics_of, target.appropriateness):
        spared = {made(mode) for mode in kept}
        for file in {*target.path.glob(made("*").name), made(CHECKPOINT)} - spared:
            file.unlink(missing_ok=True)


def _read(target: Run) -> dict[str, Any] | None:
    """What an earlier evaluation says of itself; `None` where there is none, or a damaged one."""
    if not target.evaluation.exists():
        return None
    try:
        return target.read(target.evaluation)
    except DamagedFile as error:
        logger.warning("%s", error)
        return None


def _has_images(target: Run, external: External) -> bool:
    """Whether an evaluation's images, and all that is known of them, are those of this one."""
    if not target.test.exists() or target.test in target.find_damage():
        return False
    there, rows = read_test(target), np.flatnonzero(external.parts == "test")
    table, slices = external.table.iloc[rows], external.slices
    here: dict[str, Any] = {
        "ids": table["id"],
        "classes": table["class"],
        "patients": table["patient"].fillna(""),
        "unmasked": table["unmasked"],
        "images": slices.images[rows],
        "masks": slices.masks[rows],
    }
    return all(np.array_equal(there[name], values) for name, values in here.items())
