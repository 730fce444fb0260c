"""A data set that a network is only tested on, without the images that its training knows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brainseg.data.cache import Slices, cache_folder
from brainseg.data.cases import check_ids, read_set
from brainseg.data.duplicates import find_clusters, find_pairs, make_thumbnail
from brainseg.data.image import hash_pixels
from brainseg.data.leakage import LEFT_OUT, find_leaks
from brainseg.data.load import load_data, tabulate
from brainseg.errors import InputError


@dataclass(frozen=True)
class External:
    """A data set to test on.

    Attributes:
        table: one row per image, from `brainseg.data.load.tabulate`.
        slices: in the same order.
        parts: `test`, or `left_out` where training or validation knows the image or the patient.
        leaks: for each one left out, a row of `brainseg.data.leakage.COLUMNS`.
        unchecked: why the data set could not be compared with the training's, `None` if it was.
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
    options: Mapping[str, Any] | None = None,
    cache: str | None,
    trained: Mapping[str, Any] | None,
    phantom_seed: int = 0,
    known: Mapping[str, str],
    same_patients: bool = True,
) -> External:
    """Load a data set at a network's image size, and find what its training knows of it.

    Where the training's data can no longer be read, the data set is loaded unchecked.

    Args:
        root: the data set's folder.
        layout: of `brainseg.data.cases.LAYOUTS`; `None` detects it.
        size: height and width of the slices, pixels.
        options: of the layout, see `brainseg.data.cases.read_set`.
        cache: folder of the caches; `None`: the user's.
        trained: the `data` group that the network was trained with; `None` where unknown.
        phantom_seed: seed of the phantoms, if it was trained on some.
        known: the part, `train` or `val`, of each case that training knows, by id.
        same_patients: whether a patient of the same name is the same person.

    Raises:
        InputError: the data set cannot be used, or training knows all of it.
    """
    folder = cache_folder(cache)
    cases = read_set(layout, root, folder, options)
    if not cases:
        raise InputError(f"The data folder {root} holds no images.")
    check_ids(cases)
    table, slices = tabulate({"test": cases}, size, folder)
    parts = pd.Series("test", index=table.index)
    own = {**trained, "image_size": size, "cache_dir": cache} if trained and known else None
    found = _find_leaks(table, slices, own, phantom_seed, known)
    if isinstance(found, str):
        return External(table, slices, parts, [], found)
    leaks = [leak for leak in found if same_patients or leak["shared"] == "image"]
    leaking = table["id"].isin({leak["id"] for leak in leaks})
    if leaking.all():
        raise InputError(
            f"All {len(table)} images of {root} are known from training or validation, so there is "
            "nothing to test on. Use a data set that the network was not trained on, or add "
            "--other-patients if only the names of the patients are the same."
        )
    return External(table, slices, parts.mask(leaking, LEFT_OUT), leaks, None)


def find_copies(external: External, own: Mapping[str, NDArray]) -> NDArray[np.bool_]:
    """Which images, a value per row of the table, duplicate or nearly duplicate a run's own.

    `own` has `images` (N×H×W, at the network's size) and `patients` (empty: unknown).
    """
    images = [*own["images"], *external.slices.images]
    patients = [*own["patients"].tolist(), *external.table["patient"].fillna("")]
    pairs = find_pairs(_shrink(images), [hash_pixels(image) for image in images], patients)
    clusters, count = find_clusters(len(images), pairs), len(own["images"])
    return np.isin(clusters[count:], clusters[:count])


def _find_leaks(
    table: pd.DataFrame,
    slices: Slices,
    own: Mapping[str, Any] | None,
    phantom_seed: int,
    known: Mapping[str, str],
) -> list[dict[str, Any]] | str:
    """What training knows of a data set, or why that is unknown."""
    if own is None:
        return "the file belongs to no run, so its training data are unknown"
    try:
        own_table, own_slices = load_data(own, phantom_seed)
    except (InputError, OSError) as error:
        reason = " ".join(str(error).split()).removesuffix(".")
        return f"the training's data can no longer be read ({reason})"
    if missing := set(known) - set(own_table["id"]):
        return f"the training's data have changed: {len(missing)} of its cases are gone"
    both = pd.concat([own_table, table], ignore_index=True)
    pairs = find_pairs(
        _shrink([*own_slices.images, *slices.images]),
        [*own_slices.content, *slices.content],
        both["patient"].fillna("").tolist(),
    )
    # The rest of the network's own data is neither trained on nor part of the other data set.
    parts = own_table["id"].map(known).fillna(LEFT_OUT).tolist() + ["test"] * len(table)
    clusters = find_clusters(len(both), pairs)
    return find_leaks(both.assign(cluster=clusters), pd.Series(parts), pairs)


def _shrink(images: Iterable[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    return np.stack([make_thumbnail(image) for image in images])
