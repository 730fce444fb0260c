"""From the `data` group of a configuration to a table of cases and their slices."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainseg.data.cache import Slices, cache_folder, load_slices
from brainseg.data.case import Case
from brainseg.data.cases import read_cases
from brainseg.data.duplicates import find_clusters
from brainseg.data.layouts.folder import name_some
from brainseg.data.leakage import (
    LEFT_OUT,
    check_masked,
    find_leaks,
    leave_out_copies,
    settle_leaks,
    warn_of_contradictions,
)
from brainseg.data.phantom.write import write_phantom
from brainseg.data.split import PARTS, split_cases
from brainseg.errors import InputError

PHANTOM_FORMAT = 2
"""Part of the folder's name: raise it when the phantoms change."""

logger = logging.getLogger(__name__)

SHARED = frozenset(
    {
        *("name", "root", "negatives", "test", "test_layout", "duplicates", "harmonize"),
        *("image_size", "batch_size", "workers", "cache_dir"),
        *("patients", "slices", "healthy_slices", "difficulty"),
    }
)
"""Keys of the `data` group that are not options of a layout's reader."""


def load_data(data: Mapping[str, Any], phantom_seed: int) -> tuple[pd.DataFrame, Slices]:
    """Read, decode and resize a data set; phantoms are made first where they are not there yet.

    Args:
        data: the configuration's `data`: `name`, `image_size`, `cache_dir`, and what the data set
            needs (`root`, `negatives`, `test`, options of its reader; `patients`, `slices`,
            `healthy_slices`, `difficulty` of phantoms).
        phantom_seed: makes the phantoms.

    Returns:
        Table and slices as `tabulate` makes them.

    Raises:
        InputError: the data cannot be used.
    """
    folder = cache_folder(data["cache_dir"])
    size = data["image_size"]
    if data["name"] == "phantom":
        recipe = {key: data[key] for key in ("patients", "slices", "difficulty", "healthy_slices")}
        described = "-".join(map(str, recipe.values()))
        root = folder / f"phantom-{described}-{size}-seed{phantom_seed}-v{PHANTOM_FORMAT}"
        if not root.is_dir():
            write_phantom(root, **recipe, size=size, seed=phantom_seed)
    else:
        root = Path(data["root"])
    sets = read_cases(
        data["name"],
        root,
        cache=folder,
        negatives=_path(data.get("negatives")),
        test=_path(data.get("test")),
        test_layout=data.get("test_layout"),
        options=_reader_options(data),
    )
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
        A row per case with `id`, `class`, `patient` (missing where unknown), `content` and
        `cluster` (equal where images are equal, or near-duplicates), `set` (`root`, `negatives`
        or `test`), `fold` (of the data set's authors), `unmasked` (a tumour without outline),
        `row_mm` and `column_mm` (size of a pixel, NaN where unknown); and the slices in the same
        order.

    Raises:
        InputError: files cannot be used, or a mask contradicts its class.
    """
    cases = [case for joined in sets.values() for case in joined]
    slices = load_slices(cases, size, folder)
    spacing = np.array([case.spacing or (np.nan, np.nan) for case in cases])
    shapes = np.array(slices.shapes)
    table = pd.DataFrame(
        {
            "id": [case.id for case in cases],
            "class": [case.label for case in cases],
            "patient": [case.patient for case in cases],
            "content": slices.content,
            "cluster": find_clusters(len(cases), slices.pairs),
            "set": [name for name, joined in sets.items() for _ in joined],
            "fold": pd.Series([case.fold for case in cases], dtype="Int64"),
            "unmasked": [case.unmasked for case in cases],
            "row_mm": spacing[:, 0] * shapes[:, 0] / size,
            "column_mm": spacing[:, 1] * shapes[:, 1] / size,
        }
    )
    drawn = pd.Series(slices.masks.any(axis=(1, 2)))
    wrong = table.loc[(table["class"] == "notumor") & drawn, "id"]
    if len(wrong):
        raise InputError(
            f"{len(wrong)} cases are of the class notumor but their masks show a tumour, such as "
            f"{name_some(wrong)}. Correct labels.csv or the masks."
        )
    tumor = table["class"].notna() & (table["class"] != "notumor") & ~table["unmasked"]
    gone = table.loc[tumor & ~drawn, "id"]
    if len(gone):
        logger.warning(
            "%d cases of a tumour's class show no tumour at %d×%d pixels, such as %s: it is too "
            "small there, or the mask is empty. They count as slices without tumour.",
            *(len(gone), size, size, name_some(gone)),
        )
    table["class"] = table["class"].fillna(drawn.map({True: "tumor", False: "notumor"}))
    roles = json.dumps({name: len(joined) for name, joined in sets.items()})
    identity = hashlib.sha256((slices.fingerprint + roles).encode()).hexdigest()
    return table, replace(slices, fingerprint=identity)


def divide(
    table: pd.DataFrame,
    slices: Slices,
    split: Mapping[str, Any],
    duplicates: str,
    on_leaks: Callable[[list[dict[str, Any]]], None],
) -> pd.Series:
    """Assign each case to `train`, `val`, `test` or `left_out`, and let nothing leak unnoticed.

    Args:
        table: from `load_data`.
        slices: likewise.
        split: the configuration's `split`.
        duplicates: the configuration's `data.duplicates`.
        on_leaks: is given what the test split shares with the others, before it is refused.

    Returns:
        The part of each row.

    Raises:
        InputError: the data cannot be split this way, the test split leaks, a mask is missing, or
            nothing is left for a part.
    """
    # Copies are left out after the split: they link the patients whose image they show.
    parts = split_cases(table, split).mask(leave_out_copies(table, duplicates), LEFT_OUT)
    leaks = find_leaks(table, parts, slices.pairs)
    on_leaks(leaks)
    by_slice = split["name"] == "random"
    parts = settle_leaks(table, parts, leaks, split["leaks"], random=by_slice)
    check_masked(table, parts)
    warn_of_contradictions(table, parts)
    empty = [part for part in PARTS if not (parts == part).any()]
    if empty:
        raise InputError(
            f"No case is left for {', '.join(empty)}. Add data, or choose another split (or "
            "split.leaks, data.duplicates)."
        )
    return parts


def _path(given: str | None) -> Path | None:
    return Path(given) if given else None


def _reader_options(data: Mapping[str, Any]) -> dict[str, Any]:
    """What a layout's configuration says beside the keys that every layout has."""
    return {key: value for key, value in data.items() if key not in SHARED and value is not None}
