"""From the `data` group of a configuration to a table of cases and their slices."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from brainseg.data.cache import Slices, cache_folder, load_slices
from brainseg.data.case import Case, name_some
from brainseg.data.cases import read_cases
from brainseg.data.duplicates import find_clusters
from brainseg.data.leakage import (
    LEFT_OUT,
    check_masked,
    find_leaks,
    leave_out_copies,
    settle_leaks,
    warn_of_contradictions,
)
from brainseg.data.phantom.write import write_phantom
from brainseg.data.split import split_cases
from brainseg.errors import InputError
from brainseg.run import Run
from brainseg.vocabulary import NEGATIVE, PARTS

PHANTOM_FORMAT = 3
"""Part of the folder's name: raise it when the phantoms change."""

RECIPE = ("patients", "slices", "difficulty", "healthy_slices")
"""Keys of the `data` group that describe phantoms."""

SHARED = frozenset(
    {
        *("name", "root", "negatives", "test", "duplicates"),
        *("image_size", "batch_size", "workers", "augmentation", "cache_dir", *RECIPE),
        "harmonize",  # of older runs; it no longer means anything
    }
)
"""Keys of the `data` group that are not options of a layout's reader."""

logger = logging.getLogger(__name__)


def data_of(run: Run) -> dict[str, Any]:
    """The group `data` of a run's configuration, with its paths as seen from here.

    Raises:
        InputError: the run has no configuration.
    """
    folder = Path(run.read_environment().get("folder") or ".").expanduser()
    data: dict[str, Any] = {"cache_dir": None} | run.read_config()["data"]
    for key in ("root", "negatives", "test", "cache_dir"):
        if data.get(key):
            data[key] = str(folder / Path(data[key]).expanduser())
    return data


def load_data(data: Mapping[str, Any], phantom_seed: int) -> tuple[pd.DataFrame, Slices]:
    """Read a data set as `tabulate` returns it; phantoms are drawn first if necessary.

    Args:
        data: the configuration's `data`: `name`, `image_size`, `cache_dir`, and what the data set
            requires (`root`, `negatives`, `test`, options of its reader, `RECIPE` of phantoms).
        phantom_seed: seed of the phantoms.

    Raises:
        InputError: the data cannot be used.
    """
    folder = cache_folder(data["cache_dir"])
    size = data["image_size"]
    if data["name"] == "phantom":
        recipe = {key: data[key] for key in RECIPE}
        described = "-".join(map(str, recipe.values()))
        root = folder / f"phantom-{described}-{size}-seed{phantom_seed}-v{PHANTOM_FORMAT}"
        if not root.is_dir():
            write_phantom(root, **recipe, size=size, seed=phantom_seed)
    else:
        root = Path(data["root"])
    joining = {key: Path(data[key]) for key in ("negatives", "test") if data.get(key)}
    options = {key: data[key] for key in data.keys() - SHARED if data[key] is not None}
    sets = read_cases(data["name"], root, cache=folder, options=options, **joining)
    return tabulate(sets, size, folder)


def tabulate(
    sets: Mapping[str, Sequence[Case]], size: int, folder: Path
) -> tuple[pd.DataFrame, Slices]:
    """Decode and resize the cases of some data sets.

    Args:
        sets: cases by the role of their data set: `root`, `negatives`, `test`.
        size: height and width of the slices, pixels.
        folder: of the caches.

    Returns:
        A row per case with `id`, `class`, `patient` (missing where unknown), `cluster` (shared by
        duplicate and near-duplicate images), `set` (`root`, `negatives` or `test`), `fold` (of the
        data set's authors) and `unmasked` (a tumour without outline); and the slices in the same
        order.

    Raises:
        InputError: files cannot be used, or a mask contradicts its class.
    """
    cases = [case for joined in sets.values() for case in joined]
    slices = load_slices(cases, size, folder)
    _check_labels(cases, slices)
    table = pd.DataFrame(
        {
            "id": [case.id for case in cases],
            "class": [case.label for case in cases],
            "patient": [case.patient for case in cases],
            "cluster": find_clusters(len(cases), slices.pairs),
            "set": [name for name, joined in sets.items() for _ in joined],
            "fold": pd.Series([case.fold for case in cases], dtype="Int64"),
            "unmasked": [case.unmasked for case in cases],
        }
    )
    drawn = pd.Series(slices.masks.any(axis=(1, 2)))
    _check_classes(table, drawn, size)
    table["class"] = table["class"].fillna(drawn.map({True: "tumor", False: NEGATIVE}))
    roles = json.dumps({name: len(joined) for name, joined in sets.items()})
    identity = hashlib.sha256((slices.fingerprint + roles).encode()).hexdigest()
    return table, replace(slices, fingerprint=identity)


def _check_labels(cases: Sequence[Case], slices: Slices) -> None:
    chosen = [number for number, case in enumerate(cases) if case.labels is not None]
    if chosen and not slices.masks[chosen].any():
        listed = ",".join(f"{label:g}" for label in cases[chosen[0]].labels or ())
        raise InputError(
            f"None of the {len(chosen)} masks holds a label of data.labels=[{listed}], or only in "
            "parts too small to see. Choose values that the masks have."
        )


def _check_classes(table: pd.DataFrame, drawn: pd.Series, size: int) -> None:
    """Compare classes with masks; `drawn` tells which masks show a tumour at size×size."""
    negative = table["class"] == NEGATIVE
    if len(wrong := table.loc[negative & drawn, "id"]):
        raise InputError(
            f"{len(wrong)} cases are of the class {NEGATIVE} but their masks show a tumour, such "
            f"as {name_some(wrong)}. Correct labels.csv or the masks."
        )
    tumor = table["class"].notna() & ~negative & ~table["unmasked"]
    if len(gone := table.loc[tumor & ~drawn, "id"]):
        logger.warning(
            "%d cases of a tumour class show no tumour at %d×%d pixels, such as %s: it is too "
            "small, or the mask is empty. They count as slices without tumour.",
            *(len(gone), size, size, name_some(gone)),
        )


def divide(
    table: pd.DataFrame,
    slices: Slices,
    split: Mapping[str, Any],
    duplicates: str,
    on_leaks: Callable[[list[dict[str, Any]]], None],
) -> pd.Series:
    """Assign each case of `load_data` to `train`, `val`, `test` or `left_out`; check for leaks.

    `split` and `duplicates` are the configuration's `split` and `data.duplicates`. `on_leaks`
    receives what the test split shares with the others, before it is refused.

    Raises:
        InputError: the data cannot be split this way, the test split leaks, a mask is missing, or
            a part is empty.
    """
    # Copies are left out after the split: they still link the patients whose image they show.
    parts = split_cases(table, split).mask(leave_out_copies(table, duplicates), LEFT_OUT)
    leaks = find_leaks(table, parts, slices.pairs)
    on_leaks(leaks)
    parts = settle_leaks(table, parts, leaks, split["leaks"], random=split["name"] == "random")
    check_masked(table, parts)
    warn_of_contradictions(table, parts)
    if empty := [part for part in PARTS if not (parts == part).any()]:
        raise InputError(
            f"No case is left for {', '.join(empty)}. Add data, or choose another split (or "
            "split.leaks, data.duplicates)."
        )
    return parts
