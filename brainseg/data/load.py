"""From the `data` group of a configuration to a table of cases and their slices."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from brainseg.data.cache import Slices, cache_folder, load_slices
from brainseg.data.cases import read_cases
from brainseg.data.phantom import write_phantom

PHANTOM_FORMAT = 1
"""Part of the folder's name: raise it when the phantoms change."""


def load_data(data: Mapping[str, Any], phantom_seed: int) -> tuple[pd.DataFrame, Slices]:
    """Read, decode and resize a data set; phantoms are made first where they are not there yet.

    Args:
        data: `name`, `image_size`, `cache_dir`, and what the data set needs (`root`,
            `negatives`, `patient_pattern`; `patients`, `slices`, `difficulty` of phantoms).
        phantom_seed: makes the phantoms.

    Returns:
        A row per case with `id`, `class`, `patient` (missing where unknown) and `content`, and
        the slices in the same order.

    Raises:
        InputError: the data cannot be used.
    """
    folder = cache_folder(data["cache_dir"])
    size = data["image_size"]
    if data["name"] == "phantom":
        recipe = {key: data[key] for key in ("patients", "slices", "difficulty")}
        described = "-".join(map(str, recipe.values()))
        root = folder / f"phantom-{described}-{size}-seed{phantom_seed}-v{PHANTOM_FORMAT}"
        if not root.is_dir():
            write_phantom(root, **recipe, size=size, seed=phantom_seed)
    else:
        root = Path(data["root"])
    negatives = data.get("negatives")
    cases = read_cases(
        data["name"], root, Path(negatives) if negatives else None, data.get("patient_pattern")
    )
    slices = load_slices(cases, size, folder)
    table = pd.DataFrame(
        {
            "id": [case.id for case in cases],
            "class": [case.label for case in cases],
            "patient": [case.patient for case in cases],
            "content": slices.content,
        }
    )
    seen = pd.Series(slices.masks.any(axis=(1, 2))).map({True: "tumor", False: "notumor"})
    table["class"] = table["class"].fillna(seen)
    return table, slices
