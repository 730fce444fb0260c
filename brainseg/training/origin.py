"""The images that a run was trained on, read again."""

import numpy as np
import pandas as pd

from brainseg.data.cache import Slices
from brainseg.data.load import data_of, load_data
from brainseg.data.parts import read_val
from brainseg.errors import DamagedFile, InputError
from brainseg.run import Run
from brainseg.training.mend import FINGERPRINT

SAME = 2.0
"""Grey levels by which an image may differ in the mean, having been resized on another machine."""


def load_origin(run: Run) -> tuple[Slices, pd.Series]:
    """The slices of a run's data set, and the part of each: missing where it was in none.

    Data with another fingerprint, as those on another machine may have, are told by the validation
    images, which the run keeps.

    Raises:
        InputError: the images are gone, or others are in their place.
    """
    needed = (
        f"int8_qat fine-tunes {run.path} on the images that it was trained on, and they cannot be "
        "used: {} Every other mode is made without them."
    )
    data, split_settings = data_of(run), run.read_config().get("split", {})
    try:
        table, slices = load_data(data, split_settings.get("seed", 0))
    except InputError as error:
        raise InputError(needed.format(error)) from error
    split = pd.DataFrame(run.read(run.split)).set_index("id")["split"]
    parts, used = table["id"].map(split), ("train", "val")
    missing = split.isin(used).sum() - parts.isin(used).sum()
    if missing:
        where = data.get("root") or "the phantoms"
        raise InputError(needed.format(f"{missing} of them are not in {where}."))
    if _fingerprint(run) != slices.fingerprint and (count := _count_others(run, table, slices)):
        others = f"{count} of the validation images are not what they were."
        raise InputError(needed.format(others))
    return slices, parts


def _fingerprint(run: Run) -> str | None:
    """That of the data in training, where it is known."""
    try:
        return run.read_state().get("identity", {}).get(FINGERPRINT)
    except DamagedFile:
        return None


def _count_others(run: Run, table: pd.DataFrame, slices: Slices) -> int:
    """How many validation images are not those that the run has."""
    val = read_val(run)
    found = slices.images[[*pd.Series(table.index, table["id"]).loc[val["ids"]]]]
    if found.shape != val["images"].shape:
        return len(found)
    differences = [
        np.abs(one.astype(float) - other).mean()
        for one, other in zip(found, val["images"], strict=True)
    ]
    return sum(difference > SAME for difference in differences)
