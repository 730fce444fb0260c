"""What the test split shares with training and validation, and what is done about it."""

import logging
from collections.abc import Container, Sequence
from typing import Any

import numpy as np
import pandas as pd

from brainseg.data.duplicates import Pair, invert
from brainseg.errors import InputError

POLICIES = ("refuse", "drop", "allow")
"""What happens to a test image that training or validation knows, or whose patient they know."""

LEFT_OUT = "left_out"
"""The part of cases that are neither trained on nor scored."""

COLUMNS = ["id", "shared", "other", "split", "kind", "transform", "distance"]

NAMED = 10
"""Leaks that a message names."""

logger = logging.getLogger(__name__)


def leave_out_copies(table: pd.DataFrame, duplicates: str) -> pd.Series:
    """Tell which cases to leave out so that each cluster stands once on each side.

    The data set that is trained on and its negatives are one side, a test set of its own the other.
    Of copies with and without a tumour, one with it stays.

    Args:
        table: one row per case with the columns `class`, `cluster` and `set`.
        duplicates: `keep` (none is left out) or `one_per_cluster`.

    Raises:
        InputError: `duplicates` is unknown.
    """
    if duplicates not in ("keep", "one_per_cluster"):
        raise InputError(f"data.duplicates={duplicates}: expected keep or one_per_cluster.")
    if duplicates == "keep":
        return pd.Series(False, index=table.index)
    sides = table.assign(given=table["set"] == "test", negative=table["class"] == "notumor")
    ordered = sides.sort_values("negative", kind="stable")
    return ordered.duplicated(["cluster", "given"]).reindex(table.index)


def warn_of_contradictions(table: pd.DataFrame, parts: pd.Series) -> None:
    """Warn of images that stand there with a tumour and without one: one of the two is wrong."""
    used = table[parts != LEFT_OUT]
    negative = used["class"] == "notumor"
    both = set(used.loc[negative, "cluster"]) & set(used.loc[~negative, "cluster"])
    wrong = used[used["cluster"].isin(both) & negative]
    if len(wrong):
        other = used[~negative].drop_duplicates("cluster").set_index("cluster")["id"]
        names = (wrong["id"] + " = " + wrong["cluster"].map(other)).head(3)
        logger.warning(
            "%d images without tumour show the same as images with one, such as %s: their masks "
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
    """Find the test cases that training or validation knows, by image or by patient.

    Args:
        table: one row per case with the columns `id`, `patient` and `cluster`, numbered from 0.
        parts: the part of each row.
        pairs: the images that stand twice, by their numbers.

    Returns:
        Rows of `COLUMNS`: `shared` is `image` or `patient`, `other` the case in training or
        validation; the transform turns the test image into that one.
    """
    known = set(np.flatnonzero(parts.isin(["train", "val"])).tolist())
    test = np.flatnonzero(parts == "test").tolist()
    direct = _direct_copies(pairs, known, set(test))
    of_cluster = {table["cluster"].iloc[row]: row for row in sorted(known, reverse=True)}
    of_patient = {table["patient"].iloc[row]: row for row in sorted(known, reverse=True)}
    leaks = []
    for here in test:
        cluster, patient = table["cluster"].iloc[here], table["patient"].iloc[here]
        how: tuple[Any, ...] = (None, None, None)
        if here in direct:
            other, how = direct[here][0], direct[here][1:]
        elif cluster in of_cluster:  # a copy of a copy
            other, how = of_cluster[cluster], ("near", None, None)
        elif pd.notna(patient) and patient in of_patient:
            other = of_patient[patient]
        else:
            continue
        shared = "image" if how[0] else "patient"
        ids = table["id"].iloc
        values = (ids[here], shared, ids[other], parts.iloc[other], *how)
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
    """Refuse leaks, leave the leaking test cases out, or let them be, and say so.

    Shared patients are what `split=random` is about: they are only warned of there.

    Args:
        table: one row per case with the columns `id` and `unmasked`.
        parts: the part of each case.
        leaks: from `find_leaks`.
        policy: of `POLICIES`.
        random: whether slices were split without regard to patients.

    Returns:
        The parts, with `left_out` where the policy is `drop`.

    Raises:
        InputError: the policy is `refuse` and there are leaks, or it is unknown.
    """
    if policy not in POLICIES:
        raise InputError(f"split.leaks={policy}: expected one of {', '.join(POLICIES)}.")
    images = [leak for leak in leaks if leak["shared"] == "image"]
    patients = [leak for leak in leaks if leak["shared"] == "patient"]
    total, told = int((parts == "test").sum()), []
    if images:
        told.append(
            f"{len(images)} of {total} test images also stand in training or validation, some "
            "flipped, turned, transposed or re-encoded:" + _name(images)
        )
    if patients and not random:
        told.append(
            f"{len(patients)} of {total} test images show patients who are also in training or "
            "validation:" + _name(patients)
        )
    known = table["id"].isin({leak["id"] for leak in (images if random else leaks)})
    leaking = known & (parts == "test")
    if told and policy == "refuse":
        bare = int(table.loc[leaking, "unmasked"].sum())
        accept = (
            f" ({bare} of them have no mask and could not be scored anyway)"
            if bare
            else ", or accept them with split.leaks=allow"
        )
        raise InputError(
            "\n".join(told) + "\nThe test scores would flatter the network. Leave these images "
            f"out of the test split with split.leaks=drop{accept}. The run's leaks.csv lists all "
            "of them."
        )
    for sentence in told:
        logger.warning("%s", sentence)
    if policy != "drop":
        return parts
    logger.info("%d test images are left out (split.leaks=drop).", leaking.sum())
    return parts.mask(leaking, LEFT_OUT)


def check_masked(table: pd.DataFrame, parts: pd.Series) -> None:
    """Refuse cases that show a tumour nobody outlined: they can be neither trained on nor scored.

    Raises:
        InputError: it names some.
    """
    bare = table.loc[table["unmasked"] & (parts != LEFT_OUT), "id"]
    if len(bare):
        raise InputError(
            f"{len(bare)} of {len(table)} images have no mask, such as "
            f"{', '.join(bare.iloc[:3])}: nothing can be learned from them or scored on them. Add "
            "masks; or use such a data set for its slices without tumour (data.negatives=…)."
        )


def _name(leaks: Sequence[dict[str, Any]]) -> str:
    lines = []
    for leak in leaks[:NAMED]:
        turned = "" if leak["transform"] in (None, "none") else f" ({leak['transform']})"
        lines.append(f"\n  {leak['id']} = {leak['other']} in {leak['split']}{turned}")
        if leak["shared"] == "patient":
            lines[-1] = f"\n  {leak['id']}: the patient of {leak['other']} in {leak['split']}"
    rest = len(leaks) - NAMED
    return "".join(lines) + (f"\n  … and {rest} more" if rest > 0 else "")
