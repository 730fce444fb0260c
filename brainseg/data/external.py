"""A data set that a network is only tested on, without the images that its training knows."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brainseg.data.cache import Slices, cache_folder
from brainseg.data.case import Case
from brainseg.data.cases import read_set
from brainseg.data.duplicates import find_clusters, find_pairs, make_thumbnail
from brainseg.data.image import hash_pixels
from brainseg.data.leakage import LEFT_OUT, find_leaks
from brainseg.data.load import load_data, tabulate
from brainseg.errors import InputError


@dataclass(frozen=True)
class External:
    """A data set to test on.

    Attributes:
        table: one row per image, as `brainseg.data.load.tabulate` makes them.
        slices: in the same order.
        parts: `test`, or `left_out` where training or validation knows the image or the patient.
        leaks: a row of `brainseg.data.leakage.COLUMNS` for each that is left out.
        unchecked: why it is not known what training knows, if that is so.
    """

    table: pd.DataFrame
    slices: Slices
    parts: pd.Series
    leaks: list[dict[str, Any]]
    unchecked: str | None


def load_external(
    root: Path,
    layout: str | None,
    size: int,
    *,
    cache: str | None,
    trained: Mapping[str, Any] | None,
    phantom_seed: int = 0,
    known: Mapping[str, str],
    same_patients: bool = True,
) -> External:
    """Load a data set at a network's image size, and find what its training knows of it.

    Where the training's data cannot be read any more, the data set is loaded unchecked.

    Args:
        root: the data set's folder.
        layout: how it lies there; `None` detects it.
        size: height and width of the slices, pixels.
        cache: folder of the caches; `None`: the user's.
        trained: the `data` group that the network was trained with; `None` where nobody knows.
        phantom_seed: made the phantoms, if it was trained on some.
        known: the part, `train` or `val`, of each case that training knows, by id.
        same_patients: whether a patient of the same name is the same person.

    Raises:
        InputError: the data set cannot be used, or all of it is known.
    """
    folder = cache_folder(cache)
    cases = read_set(layout, root, folder)
    if not cases:
        raise InputError(f"The data folder {root} holds no images.")
    unchecked = _why_not(trained, known)
    if unchecked or trained is None:
        return _alone(cases, size, folder, unchecked)
    own = {**trained, "image_size": size, "cache_dir": cache, "test": None}
    try:
        joined = {**own, "test": str(root), "test_layout": layout}
        table, slices = load_data(joined, phantom_seed)
    except (InputError, OSError):
        unchecked = _why_unreadable(own, phantom_seed)
        if not unchecked:
            raise
        return _alone(cases, size, folder, unchecked)
    missing = set(known) - set(table["id"])
    if missing:
        unchecked = f"the training's data have changed: {len(missing)} of its cases are gone"
        return _alone(cases, size, folder, unchecked)
    external = table["set"] == "test"
    # The rest of the network's own data was not trained on, nor does it belong to the other set.
    parts = table["id"].map(known).fillna(LEFT_OUT).mask(external, "test")
    leaks = find_leaks(table, parts, slices.pairs)
    if not same_patients:
        leaks = [leak for leak in leaks if leak["shared"] == "image"]
    table, slices = _select(table, slices, np.flatnonzero(external))
    leaking = table["id"].isin({leak["id"] for leak in leaks})
    if leaking.all():
        raise InputError(
            f"All {len(table)} images of {root} are known from training or validation: nothing is "
            "left to test on. Give a data set that the network was not trained on; or say "
            "--other-patients where only names of patients are the same."
        )
    return External(table, slices, _parts(table).mask(leaking, LEFT_OUT), leaks, None)


def find_copies(external: External, own: Mapping[str, NDArray]) -> NDArray[np.bool_]:
    """Tell which images are the same as, or near-duplicates of, some that a network has.

    Args:
        external: from `load_external`.
        own: `images` (N×H×W, at the network's size) and `patients` (empty: unknown).

    Returns:
        A value per row of the table.
    """
    images = [*own["images"], *external.slices.images]
    patients = [*own["patients"].tolist(), *external.table["patient"].fillna("")]
    thumbnails = np.stack([make_thumbnail(image) for image in images])
    pairs = find_pairs(thumbnails, [hash_pixels(image) for image in images], patients)
    clusters, count = find_clusters(len(images), pairs), len(own["images"])
    return np.isin(clusters[count:], clusters[:count])


def _why_not(trained: Mapping[str, Any] | None, known: Mapping[str, str]) -> str | None:
    """Why the training's data cannot be looked at, if that is so."""
    if trained is None or not known:
        return "the file belongs to no run that could tell"
    roots = [trained.get("negatives")]
    if trained["name"] != "phantom":
        roots.append(trained["root"])
    missing = [root for root in roots if root and not Path(root).is_dir()]
    return f"the training's data are not there any more ({missing[0]})" if missing else None


def _why_unreadable(own: Mapping[str, Any], phantom_seed: int) -> str | None:
    """What is wrong with the training's data; `None` where it must be the other data set."""
    try:
        load_data(own, phantom_seed)
    except (InputError, OSError) as error:
        told = " ".join(str(error).split()).removesuffix(".")
        return f"the training's data cannot be read any more ({told})"
    return None


def _alone(cases: list[Case], size: int, folder: Path, unchecked: str | None) -> External:
    table, slices = tabulate({"test": cases}, size, folder)
    return External(table, slices, _parts(table), [], unchecked)


def _parts(table: pd.DataFrame) -> pd.Series:
    return pd.Series("test", index=table.index)


def _select(table: pd.DataFrame, slices: Slices, rows: np.ndarray) -> tuple[pd.DataFrame, Slices]:
    """Some of the cases, numbered from 0."""
    numbers = {row: number for number, row in enumerate(rows.tolist())}
    pairs = [
        replace(pair, a=numbers[pair.a], b=numbers[pair.b])
        for pair in slices.pairs
        if pair.a in numbers and pair.b in numbers
    ]
    return table.iloc[rows].reset_index(drop=True), replace(
        slices,
        images=slices.images[rows],
        masks=slices.masks[rows],
        content=[slices.content[row] for row in rows],
        shapes=[slices.shapes[row] for row in rows],
        pairs=pairs,
    )
