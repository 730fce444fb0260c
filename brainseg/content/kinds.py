"""Kinds of values in the files of a run, as pydantic checks them."""

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field, FiniteFloat, StringConstraints

Key = Annotated[str, StringConstraints(pattern=r"^\w[\w.\-]*(/\w[\w.\-]*)?$")]
"""One name of a file, or two, as `row.Name` is one."""

Pair = Annotated[list[float], Field(min_length=2, max_length=2)]
Count = Annotated[int, Field(ge=0, lt=2**48)]
Counts = Annotated[list[Count], Field(min_length=4, max_length=4)]
Numeral = Annotated[FiniteFloat | None, BeforeValidator(lambda text: text or None)]
"""A cell of a CSV that may be empty."""

Curve = Annotated[float | None, BeforeValidator(lambda text: text or None)]
"""The same, where the number may be NaN: a loss that diverged."""

CASE: Any = {"id": str, "class": str, "patient": str}
"""What names a case, in every table of cases."""


def check_named(arrays: Mapping[str, Any], *others: str) -> Mapping[str, Any]:
    """Refuse arrays without ids as text, N, or of another length."""
    for name in ("ids", *others):
        if name not in arrays or arrays[name].ndim != 1 or arrays[name].dtype.kind != "U":
            raise ValueError(f"{name}: expected a list of texts")
    if len({values.shape[:1] for values in arrays.values()}) > 1:
        raise ValueError("its arrays differ in their length")
    return arrays


def check_maps(arrays: Mapping[str, Any], name: str) -> None:
    """Refuse an array that is missing, or not N×H×W of 8 bits."""
    if name not in arrays or arrays[name].ndim != 3 or arrays[name].dtype != np.uint8:
        raise ValueError(f"{name}: expected N×H×W integers of 8 bits")
