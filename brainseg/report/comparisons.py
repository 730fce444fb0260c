"""Which differences between variants, and between modes, are beyond chance."""

from collections.abc import Mapping, Sequence
from itertools import combinations, product
from statistics import fmean
from typing import Any

import numpy as np

from brainseg.evaluation.cases import counts_of
from brainseg.evaluation.differences import holm, paired_interval, paired_test, training_test
from brainseg.evaluation.equivalence import MARGIN, TOST_LEVEL, judge
from brainseg.evaluation.metrics import mean_ious
from brainseg.run import Run
from brainseg.vocabulary import REFERENCE

VARIANTS, MODES = "variants", "modes"
"""The two families of comparisons; p-values are corrected within each."""

LEVEL = 0.05
"""Corrected p-value below which a difference is called beyond chance."""

Comparison = dict[str, Any]
"""A row of `comparisons.json`: mean IoU of `second` minus that of `first`."""

Marks = Mapping[tuple[str, str], str]
"""A mark of a variant in a mode."""

Seeds = Mapping[Any, list[dict[str, Any]]]
"""The cases of one network in one mode, by seed."""


def compare_all(
    runs: Mapping[str, Sequence[Run]], modes: Sequence[str] = (), margin: float = MARGIN
) -> list[Comparison]:
    """Compare every pair of variants, and every mode of a variant with its fp32.

    Each pair is compared on the same test images, with a paired interval and a permutation test
    over patients, corrected for the number of comparisons in each family (Holm's method);
    `joint_interval` is corrected too (Bonferroni). `tost` is the 90 % interval, with which
    equivalence is tested within any margin, and `verdict` that of a mode within `margin`.

    Differences are means over the seeds that both have. Variants differ beyond chance only if a
    t-test over the seeds, corrected likewise, agrees: one training each may be luck. For a mode,
    the same sign in all seeds is enough. Networks that were tested on different images, or on none
    with a tumour, are not compared.

    Args:
        runs: by variant, one per seed.
        modes: to compare with fp32.
        margin: change of mean IoU by a mode that does not matter.
    """
    found = {name: _cases_of(members) for name, members in runs.items()}
    variants = [
        ({"family": VARIANTS, "first": a, "second": b, "mode": REFERENCE}, found[a], found[b])
        for a, b in combinations(found, 2)
    ]
    quantized = []
    for name, mode in product(runs, modes):
        names = {"family": MODES, "first": name, "second": name, "mode": mode}
        quantized.append((names, found[name], _cases_of(runs[name], mode)))
    judged = [
        row | {"margin": margin, "verdict": judge(row["tost"], margin)}
        for row in _compare_family(quantized)
    ]
    return [*_compare_family(variants), *judged]


def mark(comparisons: Sequence[Comparison]) -> Marks:
    """Marks of what differs beyond chance from `first_of`, and from its own fp32."""
    first = first_of(comparisons)
    return {
        (row["second"], row["mode"]): "†" if row["family"] == VARIANTS else "*"
        for row in comparisons
        if row["beyond_chance"] and (row["family"] == MODES or row["first"] == first)
    }


def first_of(comparisons: Sequence[Comparison]) -> str | None:
    """The first variant that was compared with others."""
    return next((row["first"] for row in comparisons if row["family"] == VARIANTS), None)


def _cases_of(runs: Sequence[Run], mode: str | None = None) -> Seeds:
    """The cases in `mode`, or of the network itself."""
    scored = {run: mode or run.float_mode() for run in runs if run.config.exists()}
    return {
        run.read_config().get("seed", run.name): run.read(run.cases(shown))
        for run, shown in scored.items()
        if shown and run.cases(shown).exists()
    }


def _compare_family(pairs: Sequence[tuple[dict[str, str], Seeds, Seeds]]) -> list[Comparison]:
    """Compare what was tested on the same images; p-values are corrected for their number."""
    paired = [(name, *_pair(before, after)) for name, before, after in pairs]
    compared = [(name, before, after) for name, before, after in paired if _show_tumor(before)]
    return _correct([name | _compare(a, b, len(compared)) for name, a, b in compared])


def _pair(before: Seeds, after: Seeds) -> tuple[Seeds, Seeds]:
    """The seeds that both have, as far as they were tested on the same images."""
    seeds = [seed for seed in before if seed in after and _same(before[seed], after[seed])]
    seeds = [seed for seed in seeds if _same(before[seed], before[seeds[0]])]
    return {seed: before[seed] for seed in seeds}, {seed: after[seed] for seed in seeds}


def _show_tumor(found: Seeds) -> bool:
    """Whether any image has one: without, mean IoU only shows false positives."""
    return any(case["tp"] + case["fn"] for cases in found.values() for case in cases)


def _compare(before: Seeds, after: Seeds, comparisons: int) -> dict[str, Any]:
    """What a row holds before the correction for the number of comparisons."""
    reference, variant = (
        np.array([counts_of(cases) for cases in found.values()]) for found in (before, after)
    )
    patients = [case["patient"] for case in next(iter(before.values()))]
    interval = paired_interval(reference, variant, patients, mean_ious)
    tost = paired_interval(reference, variant, patients, mean_ious, level=TOST_LEVEL)
    joint = paired_interval(
        reference, variant, patients, mean_ious, level=joint_level(comparisons), resamples=5000
    )
    changes = (mean_ious(variant.sum(axis=1)) - mean_ious(reference.sum(axis=1))).tolist()
    names = {name or str(position) for position, name in enumerate(patients)}
    return {
        "difference": fmean(changes),
        "by_seed": dict(zip(map(str, before), changes, strict=True)),
        "interval": None if interval is None else list(interval),
        "tost": None if tost is None else list(tost),
        "joint_interval": None if joint is None else list(joint),
        "p": paired_test(reference, variant, patients, mean_ious),
        # Every way to exchange the results of patients, and its mirror image.
        "smallest_p": min(1.0, 2.0 ** (1 - len(names))),
        "p_training": training_test(changes),
        "patients": len(set(patients) - {""}),
        "images": len(patients),
        "seeds": len(before),
    }


def joint_level(comparisons: int) -> float:
    """Coverage of each interval with which all of a number of them hold together."""
    return 1 - LEVEL / comparisons


def _same(cases: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> bool:
    """Whether two lists of cases are about the same images with the same truth."""
    keys = [[(c["id"], c["patient"], c["tp"] + c["fn"]) for c in each] for each in (cases, others)]
    return keys[0] == keys[1]


def _correct(rows: Sequence[Comparison]) -> list[Comparison]:
    """Correct the p-values of a family, and say what is beyond chance."""
    rows = [row | {"p_corrected": None, "p_training_corrected": None} for row in rows]
    for key in ("p", "p_training"):
        tested = [row for row in rows if row[key] is not None]
        for row, p in zip(tested, holm([row[key] for row in tested]), strict=True):
            row[f"{key}_corrected"] = p
    return [row | {"beyond_chance": _is_beyond_chance(row)} for row in rows]


def _is_beyond_chance(row: Comparison) -> bool:
    """Whether other patients, and other trainings, can be expected to show the same."""
    if row["p_corrected"] is None or row["p_corrected"] >= LEVEL:
        return False
    if row["family"] == VARIANTS:
        return row["p_training_corrected"] is not None and row["p_training_corrected"] < LEVEL
    return not min(row["by_seed"].values()) < 0 < max(row["by_seed"].values())
