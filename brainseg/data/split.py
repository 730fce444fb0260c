"""Splits into training, validation and test: by patient, in folds, or by slice as in the paper."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import DisjointSet

from brainseg.errors import InputError, check_known
from brainseg.vocabulary import NEGATIVE, PARTS

SHARES = dict(zip(PARTS, (0.6, 0.2, 0.2), strict=True))
"""The share of each part (paper, section II-F)."""

KINDS = ("patient", "random", "kfold")


def split_cases(table: pd.DataFrame, split: Mapping[str, Any]) -> pd.Series:
    """Assign each case to `train`, `val` or `test`, 60/20/20 in each class.

    `patient` keeps the slices of a patient together; `random`, the paper's split, does not. `kfold`
    distributes patients over `folds` folds: fold number `fold` is the test split, the next one is
    validation. If the data set has as many folds of its own (figshare's `cvind.mat`), those are
    used; a patient in several of them goes where most of the slices are. Duplicate images, which
    share a `cluster`, always stay in one part.

    Cases of the set `test` are the test split, whatever the kind; the others are then divided
    between training and validation.

    Args:
        table: one row per case with the columns `id`, `class`, `patient` (missing: unknown),
            `cluster`, and, where they are known, `set` (`root`, `negatives` or `test`) and `fold`.
        split: the configuration's `split`: `name` (of `KINDS`), `seed`, and for `kfold` the number
            `fold` out of `folds`.

    Returns:
        The part of each row.

    Raises:
        InputError: patients are unknown, a class has too few of them, or the split is unknown.
    """
    kind = split["name"]
    check_known("split", [kind], KINDS)
    given = table["set"] == "test" if "set" in table else pd.Series(False, table.index)
    parts = pd.Series("test", index=table.index)
    inner = table[~given]
    _check_patients(inner, kind)
    shares = {part: share for part, share in SHARES.items() if part != "test" or not given.any()}
    if kind == "kfold":
        folds, fold = _folds(inner, split), split["fold"]
        held = {fold: "test", (fold + 1) % split["folds"]: "val"}
        if given.any():
            held = {fold: "val"}
        parts[~given] = folds.map(held).fillna("train")
    else:
        parts[~given] = _deal_groups(inner, kind, split["seed"], shares)
    return parts


def _check_patients(table: pd.DataFrame, kind: str) -> None:
    tumor = table["class"] != NEGATIVE
    if kind != "random" and table.loc[tumor, "patient"].isna().any():
        raise InputError(
            f"The patients of this data set are unknown, so split={kind} cannot keep them "
            "together. Write labels.csv from the original files with `brainseg data labels ROOT "
            "--from-mat DIR`, or accept slices of one patient on both sides with split=random."
        )


def _folds(table: pd.DataFrame, split: Mapping[str, Any]) -> pd.Series:
    """The fold of each case, from 0."""
    count, fold = split["folds"], split["fold"]
    if not (isinstance(count, int) and count >= 3 and fold in range(count)):
        raise InputError(
            f"split.fold={fold} of split.folds={count}: expected 3 folds or more (one for test, "
            "one for validation, the rest for training) and a fold from 0 to folds - 1."
        )
    dealt = _deal_groups(table, "patient", split["seed"], dict.fromkeys(range(count), 1 / count))
    if "fold" not in table or set(table["fold"].dropna()) != set(range(count)):
        return dealt.astype(int)
    groups = _groups(table, "patient")
    published = table["fold"].groupby(groups).agg(_most_frequent)
    return groups.map(published).fillna(dealt).astype(int)


def _deal_groups(
    table: pd.DataFrame, kind: str, seed: int, shares: Mapping[Any, float]
) -> pd.Series:
    """Distribute patients (or single images), with all that is linked to them, class by class."""
    groups = _groups(table, kind)
    rng = np.random.default_rng([seed, 0])
    tumors = table["class"].where(table["class"] != NEGATIVE)
    group_class = tumors.groupby(groups).agg(_most_frequent).fillna(NEGATIVE)
    sizes = groups.value_counts()
    assigned: dict[int, Any] = {}
    for label in sorted(group_class.unique()):
        members = group_class.index[group_class == label].to_numpy()
        if len(members) < len(shares):
            patients = table.loc[groups.isin(members), "patient"].nunique()
            has, advice = f"{len(members)} patients", "Add data."
            if patients > len(members):
                has = f"{patients} patients, linked to {len(members)} by duplicate images"
                advice = "Add data (`brainseg data audit` shows the duplicates)."
            raise InputError(
                f"The class {label} has {has}; a split into {len(shares)} parts requires at least "
                f"{len(shares)}. {advice}"
            )
        assigned |= _deal(rng.permutation(members).tolist(), sizes, shares)
    return groups.map(assigned)


def _groups(table: pd.DataFrame, kind: str) -> pd.Series:
    """Number the groups that stay together: patients, and those linked by duplicate images."""
    known = table["patient"].notna() & (kind == "patient")
    clusters = table["cluster"].astype(str)
    groups = table["patient"].where(known, "cluster-" + clusters)
    linked = DisjointSet(groups)
    first_of: dict[str, str] = {}
    for group, cluster in zip(groups, clusters, strict=True):
        linked.merge(first_of.setdefault(cluster, group), group)
    numbers, _ = pd.factorize(pd.Series([linked[group] for group in groups], dtype=str))
    return pd.Series(numbers, index=table.index)


def _most_frequent(values: pd.Series) -> Any:
    modes = values.mode()
    return modes.iloc[0] if len(modes) else np.nan


def _deal(groups: Sequence[int], sizes: pd.Series, shares: Mapping[Any, float]) -> dict[int, Any]:
    """Assign each group to the part that lacks most of its share.

    Large groups come first, so that small ones even out the shares; no part stays empty.
    """
    total = sum(int(sizes[group]) for group in groups)
    have = dict.fromkeys(shares, 0)
    assigned: dict[int, Any] = {}
    for group in sorted(groups, key=lambda group: -int(sizes[group])):
        empty = [part for part in shares if have[part] == 0]
        lacking = empty if len(groups) - len(assigned) <= len(empty) else list(shares)
        part = max(lacking, key=lambda part: shares[part] - have[part] / total)
        assigned[group] = part
        have[part] += int(sizes[group])
    return assigned
