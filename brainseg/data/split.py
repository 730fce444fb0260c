"""Splits into training, validation and test: by patient, or by slice as in the paper."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pandas as pd

from brainseg.errors import InputError

PARTS = {"train": 0.6, "val": 0.2, "test": 0.2}
"""Parts and their shares (paper, section II-F)."""

KINDS = ("patient", "random")


def split_cases(table: pd.DataFrame, kind: str, seed: int) -> pd.Series:
    """Assign each case to `train`, `val` or `test`, 60/20/20 in each class.

    `patient` keeps the slices of a patient together; `random`, the paper's, does not. Equal
    images never straddle the parts: they share a `content`.

    Args:
        table: one row per case with the columns `id`, `class`, `patient` (missing: unknown) and
            `content`.
        kind: `patient` or `random`.
        seed: makes the split.

    Returns:
        The part of each row.

    Raises:
        InputError: patients are unknown, a class has fewer than three patients, or `kind` is
            unknown.
    """
    if kind not in KINDS:
        raise InputError(f"split={kind} is unknown. Expected one of {', '.join(KINDS)}.")
    tumor = table["class"] != "notumor"
    if kind == "patient" and table.loc[tumor, "patient"].isna().any():
        raise InputError(
            "The patients of this data set are unknown, so split=patient cannot keep them "
            "together. Write labels.csv from the original files with `brainseg data labels ROOT "
            "--from-mat DIR`, or accept slices of one patient on both sides with split=random."
        )
    known = table["patient"].notna() & (kind == "patient")
    groups = table["patient"].where(known, "content-" + table["content"])
    linked = _link(groups.tolist(), table["content"].tolist())
    rng = np.random.default_rng([seed, 0])
    group_class = table.groupby(linked)["class"].agg(lambda labels: labels.mode().iloc[0])
    sizes = pd.Series(linked).value_counts()
    assigned: dict[int, str] = {}
    for label in sorted(group_class.unique()):
        members = group_class.index[group_class == label].to_numpy()
        if len(members) < len(PARTS):
            raise InputError(
                f"The class {label} has {len(members)} patients; a split into "
                f"{', '.join(PARTS)} needs at least {len(PARTS)}. Add data or use split=random."
            )
        assigned |= _deal(rng.permutation(members).tolist(), sizes)
    return pd.Series([assigned[group] for group in linked], index=table.index)


def leaking_slices(table: pd.DataFrame, parts: pd.Series) -> int:
    """Number of test slices whose patient also has slices in training or validation."""
    test = parts == "test"
    others = set(table.loc[~test, "patient"].dropna())
    return int(table.loc[test, "patient"].isin(others).sum())


def _deal(groups: Sequence[int], sizes: pd.Series) -> dict[int, str]:
    """Deal groups to the parts, each to the part that lacks most of its share.

    Large groups come first, so that the small ones even out the shares; the first three go to
    different parts, so that none stays empty.
    """
    total = sum(int(sizes[group]) for group in groups)
    have = dict.fromkeys(PARTS, 0)
    assigned: dict[int, str] = {}
    for group in sorted(groups, key=lambda group: -int(sizes[group])):
        empty = [part for part in PARTS if have[part] == 0]
        lacking = empty if len(groups) - len(assigned) <= len(empty) else list(PARTS)
        part = max(lacking, key=lambda part: PARTS[part] - have[part] / total)
        assigned[group] = part
        have[part] += int(sizes[group])
    return assigned


def _link(groups: Sequence[str], contents: Sequence[str]) -> list[int]:
    """Number the groups; groups that share an equal image become one (union-find)."""
    parent: dict[str, str] = {}

    def root(node: str) -> str:
        while parent.setdefault(node, node) != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    first_of: dict[str, str] = {}
    for group, content in zip(groups, contents, strict=True):
        parent[root(group)] = root(first_of.setdefault(content, group))
    numbers: dict[str, int] = defaultdict(lambda: len(numbers))
    return [numbers[root(group)] for group in groups]
