"""What the test split shares with training and validation, and what is done about it."""

import logging
from collections.abc import Container, Sequence
from typing import Any

import pandas as pd

from brainseg.data.case import name_some
from brainseg.data.duplicates import Pair, invert
from brainseg.errors import InputError, check_known
from brainseg.vocabulary import NEGATIVE

POLICIES = ("refuse", "drop", "allow")
"""What happens to a test image whose content or patient is in training or validation."""

LEFT_OUT = "left_out"
"""The part of cases that are neither trained on nor scored."""

COLUMNS = ["id", "shared", "other", "split", "kind", "transform", "distance"]

NAMED = 10
"""Leaks that a message names."""

logger = logging.getLogger(__name__)


def leave_out_copies(table: pd.DataFrame, duplicates: str) -> pd.Series:
    """Choose the cases to leave out so that each side has one image of each cluster.

    The data set to train on and its negatives are one side, a test set of its own the other. Of
    copies with and without a tumour, one with a tumour stays.

    Args:
        table: one row per case with the columns `class`, `cluster` and `set`.
        duplicates: `keep` (none is left out) or `one_per_cluster`.

    Raises:
        InputError: `duplicates` is unknown.
    """
    check_known("data.duplicates", [duplicates], ("keep", "one_per_cluster"))
    if duplicates == "keep":
        return pd.Series(False, index=table.index)
    sides = table.assign(given=table["set"] == "test", negative=table["class"] == NEGATIVE)
    ordered = sides.sort_values("negative", kind="stable")
    return ordered.duplicated(["cluster", "given"]).reindex(table.index)


def warn_of_contradictions(table: pd.DataFrame, parts: pd.Series) -> None:
    """Warn of images that occur both with and without a tumour: one of the two is wrong."""
    used = table[parts != LEFT_OUT]
    negative = used["class"] == NEGATIVE
    tumors = used[~negative].drop_duplicates("cluster").set_index("cluster")["id"]
    wrong = used[negative & used["cluster"].isin(tumors.index)]
    if len(wrong):
        names = (wrong["id"] + " = " + wrong["cluster"].map(tumors)).head(3)
        logger.warning(
            "%d images without tumour are copies of images with one, such as %s: their masks "
            "contradict each other. data.duplicates=one_per_cluster keeps the ones with tumour.",
            *(len(wrong), ", ".join(names)),
        )


def leaking_slices(table: pd.DataFrame, parts: pd.Series) -> int:
    """Number of test slices whose patient also has slices in training or validation."""
    known = set(table.loc[parts.isin(["train", "val"]), "patient"].dropna())
    return int((table["patient"].isin(known) & (parts == "test")).sum())


def find_leaks(
    table: pd.DataFrame, parts: pd.Series, pairs: Sequence[Pair]
) -> list[dict[str, Any]]:
    """Find the test cases whose image or patient is also in training or validation.

    Args:
        table: one row per case with the columns `id`, `patient` and `cluster`, numbered from 0.
        parts: the part of each row.
        pairs: duplicate images, by their numbers.

    Returns:
        Rows of `COLUMNS`: `shared` is `image` or `patient`, `other` the case in training or
        validation; the transform turns the test image into that one.
    """
    known = parts[parts.isin(["train", "val"])].index
    test = parts[parts == "test"].index
    direct = _direct_copies(pairs, set(known), set(test))
    first_of = {
        name: pd.Series(known, table.loc[known, name]).groupby(level=0).first()
        for name in ("cluster", "patient")
    }
    leaks = []
    for here, cluster, patient in table.loc[test, ["cluster", "patient"]].itertuples():
        how: tuple[Any, ...] = (None, None, None)
        if here in direct:
            other, how = direct[here][0], direct[here][1:]
        elif cluster in first_of["cluster"]:  # a copy of a copy
            other, how = first_of["cluster"][cluster], ("near", None, None)
        elif pd.notna(patient) and patient in first_of["patient"]:
            other = first_of["patient"][patient]
        else:
            continue
        shared = "image" if how[0] else "patient"
        values = (table.at[here, "id"], shared, table.at[other, "id"], parts[other], *how)
        leaks.append(dict(zip(COLUMNS, values, strict=True)))
    return leaks


def _direct_copies(
    pairs: Sequence[Pair], known: Container[int], test: Container[int]
) -> dict[int, tuple[int, str, str, float]]:
    """The closest known copy of each test image: its number, kind, transform and distance."""
    copies: dict[int, tuple[int, str, str, float]] = {}
    for pair in sorted(pairs, key=lambda pair: pair.distance):
        there = invert(pair.transform)
        for here, other, turn in ((pair.a, pair.b, pair.transform), (pair.b, pair.a, there)):
            if here in test and other in known:
                copies.setdefault(here, (other, pair.kind, turn, pair.distance))
    return copies


def settle_leaks(
    table: pd.DataFrame,
    parts: pd.Series,
    leaks: Sequence[dict[str, Any]],
    policy: str,
    *,
    random: bool,
) -> pd.Series:
    """Refuse leaks, leave the leaking test cases out, or allow them, and say so.

    `split=random` shares patients by design, so there they are no reason to refuse.

    Args:
        table: one row per case with the columns `id` and `unmasked`.
        parts: of each case; returned with `left_out` where the policy is `drop`.
        leaks: from `find_leaks`.
        policy: of `POLICIES`.
        random: whether slices were split without regard to patients.

    Raises:
        InputError: the policy is `refuse` and there are leaks, or it is unknown.
    """
    check_known("split.leaks", [policy], POLICIES)
    shared = {
        "image": "are also in training or validation, some flipped, turned, transposed or "
        "re-encoded",
        "patient": "show patients who are also in training or validation",
    }
    if random:
        del shared["patient"]
    total, found = (parts == "test").sum(), []
    for what, sentence in shared.items():
        if some := [leak for leak in leaks if leak["shared"] == what]:
            found.append(f"{len(some)} of {total} test images {sentence}:{_name(some)}")
    known = {leak["id"] for leak in leaks if leak["shared"] in shared}
    leaking = table["id"].isin(known) & (parts == "test")
    if found and policy == "refuse":
        bare = table.loc[leaking, "unmasked"].sum()
        accept = ", or accept them with split.leaks=allow"
        if bare:
            accept = f" ({bare} of them have no mask and could not be scored anyway)"
        raise InputError(
            "\n".join(found) + "\nThe test scores would be too good. Leave these images out of "
            f"the test split with split.leaks=drop{accept}. The run's leaks.csv lists all of them."
        )
    for sentence in found:
        logger.warning("%s", sentence)
    if policy != "drop":
        return parts
    logger.info("%d test images are left out (split.leaks=drop).", leaking.sum())
    return parts.mask(leaking, LEFT_OUT)


def check_masked(table: pd.DataFrame, parts: pd.Series) -> None:
    """Check that each tumour has an outline: others can be neither trained on nor scored.

    Raises:
        InputError: some have none; it names them.
    """
    if len(bare := table.loc[table["unmasked"] & (parts != LEFT_OUT), "id"]):
        raise InputError(
            f"{len(bare)} of {len(table)} images have no mask, such as {name_some(bare)}. They can "
            "be neither trained on nor scored. Add masks, or use only the data set's slices "
            "without tumour (data.negatives=…)."
        )


def _name(leaks: Sequence[dict[str, Any]]) -> str:
    lines = []
    for leak in leaks[:NAMED]:
        turned = "" if leak["transform"] in (None, "none") else f" ({leak['transform']})"
        how = "=" if leak["shared"] == "image" else "is of the same patient as"
        lines.append(f"\n  {leak['id']} {how} {leak['other']} in {leak['split']}{turned}")
    rest = len(leaks) - NAMED
    return "".join(lines) + (f"\n  … and {rest} more" if rest > 0 else "")
