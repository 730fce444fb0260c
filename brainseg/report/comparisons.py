"""Which differences between variants, and between modes, are beyond the chance of the patients."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from brainseg.evaluation.cases import COUNTS, read_cases
from brainseg.evaluation.metrics import mean_ious
from brainseg.evaluation.statistics import holm, paired_interval, paired_test
from brainseg.report.rows import REFERENCE, signed
from brainseg.run import CHECKPOINT, Run

COLUMNS = (
    *("family", "first", "second", "mode", "difference", "by_seed", "interval", "p"),
    *("smallest_p", "p_corrected", "beyond_chance", "patients", "images", "seeds"),
)

VARIANTS, MODES = "variants", "modes"
"""The two families of comparisons; p-values are corrected within each."""

LEVEL = 0.05
"""Corrected p-value below which a difference is called beyond chance."""

Comparison = dict[str, Any]
"""A row of `COLUMNS`: mean IoU of `second` minus that of `first`."""

Marks = Mapping[tuple[str, str], str]
"""A mark of a variant in a mode."""

TOLD = (
    *("Compared", "With", "Difference of mean IoU", "95 % interval", "p", "p, corrected"),
    *("Beyond chance", "Seeds"),
)
"""Columns for people."""

Seeds = Mapping[Any, list[dict[str, Any]]]
"""The cases of one network in one mode, by seed."""


def compare_all(runs: Mapping[str, Sequence[Run]], modes: Sequence[str] = ()) -> list[Comparison]:
    """Compare every pair of variants, and every mode of a variant with its fp32.

    All on the same test images, with a paired interval and a permutation test over patients
    (`brainseg.evaluation.statistics`), corrected for the number of comparisons of each family by
    Holm's method. Of several seeds that both have, the mean difference is taken; where it changes
    its sign from seed to seed, it is not beyond chance, whatever the patients say. Networks that
    were tested on other images are not compared.

    Args:
        runs: by variant, one per seed.
        modes: beside fp32, that are compared with it.
    """
    found = {name: _cases_of(members, _reference_mode(members)) for name, members in runs.items()}
    pairs = combinations(found, 2)
    variants = [_compare(VARIANTS, a, b, REFERENCE, found[a], found[b]) for a, b in pairs]
    quantized = [
        _compare(MODES, name, name, mode, found[name], _cases_of(members, mode))
        for name, members in runs.items()
        for mode in modes
    ]
    return [*_correct(variants), *_correct(quantized)]


def mark(comparisons: Sequence[Comparison]) -> Marks:
    """Marks of what differs beyond chance from the first variant, and from its own fp32."""
    variants = [row for row in comparisons if row["family"] == VARIANTS]
    first = variants[0]["first"] if variants else None
    return {
        (row["second"], row["mode"]): "†" if row["family"] == VARIANTS else "*"
        for row in comparisons
        if row["beyond_chance"] and (row["family"] == MODES or row["first"] == first)
    }


def describe_comparisons(
    comparisons: Sequence[Comparison],
) -> tuple[tuple[str, ...], list[list[str]]]:
    """A table for people: columns, and a row per comparison."""
    rows = [
        [
            row["second"] if row["family"] == VARIANTS else f"{row['second']} {row['mode']}",
            row["first"] if row["family"] == VARIANTS else f"{row['first']} {REFERENCE}",
            signed(row["difference"]),
            _span(row),
            f"{row['p']:.4f}",
            f"{row['p_corrected']:.4f}",
            "yes" if row["beyond_chance"] else "no",
            str(row["seeds"]),
        ]
        for row in comparisons
    ]
    return TOLD, rows


def conclude(comparisons: Sequence[Comparison]) -> list[str]:
    """What the comparisons support, in plain sentences."""
    sentences = []
    variants = [row for row in comparisons if row["family"] == VARIANTS]
    if variants:
        sentences.append(_conclude_variants(variants))
    quantized = [row for row in comparisons if row["family"] == MODES]
    if quantized:
        sentences.append(_conclude_modes(quantized))
    return sentences


def _reference_mode(runs: Sequence[Run]) -> str:
    exported = all(run.cases(REFERENCE).exists() for run in runs)
    return REFERENCE if exported else CHECKPOINT


def _cases_of(runs: Sequence[Run], mode: str) -> Seeds:
    return {
        run.read_config().get("seed", run.name): read_cases(run.cases(mode))
        for run in runs
        if run.cases(mode).exists() and run.config.exists()
    }


def _compare(
    family: str, first: str, second: str, mode: str, before: Seeds, after: Seeds
) -> Comparison | None:
    """A row without its correction; `None` where the two were not tested on the same images."""
    seeds = [seed for seed in before if seed in after and _same(before[seed], after[seed])]
    seeds = [seed for seed in seeds if _same(before[seed], before[seeds[0]])]
    if not seeds:
        return None
    reference, variant = (
        np.array([_counts(cases[seed]) for seed in seeds]) for cases in (before, after)
    )
    patients = [case["patient"] for case in before[seeds[0]]]
    p = paired_test(reference, variant, patients, mean_ious)
    interval = paired_interval(reference, variant, patients, mean_ious)
    if p is None or interval is None:
        return None
    changes = mean_ious(variant.sum(axis=1)) - mean_ious(reference.sum(axis=1))
    changed = (reference != variant).any(axis=(0, 2))
    names = {name or str(i) for i, name in enumerate(patients) if changed[i]}
    return {
        "family": family,
        "first": first,
        "second": second,
        "mode": mode,
        "difference": float(changes.mean()),
        "by_seed": changes.tolist(),
        "interval": list(interval),
        "p": p,
        # Every way to exchange the patients whose results differ, and its mirror image.
        "smallest_p": min(1.0, 2.0 ** (1 - len(names))),
        "patients": len(set(patients) - {""}),
        "images": len(patients),
        "seeds": len(seeds),
    }


def _same(cases: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> bool:
    """Whether two lists of cases are about the same images with the same truth."""
    keys = [[(c["id"], c["patient"], c["tp"] + c["fn"]) for c in each] for each in (cases, others)]
    return keys[0] == keys[1]


def _counts(cases: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    return [[case[name] for name in COUNTS] for case in cases]


def _correct(found: Sequence[Comparison | None]) -> Iterator[Comparison]:
    rows = [row for row in found if row is not None]
    for row, corrected in zip(rows, holm([row["p"] for row in rows]), strict=True):
        beyond = corrected < LEVEL and not _changes_sign(row)
        yield row | {"p_corrected": corrected, "beyond_chance": beyond}


def _changes_sign(row: Comparison) -> bool:
    """Whether one training says the opposite of another."""
    return min(row["by_seed"]) < 0 < max(row["by_seed"])


def _conclude_variants(rows: Sequence[Comparison]) -> str:
    told = [row for row in rows if row["beyond_chance"]]
    seeds, patients = min(row["seeds"] for row in rows), rows[0]["patients"]
    trained = f"{seeds} trainings each" if seeds > 1 else "one training each"
    basis = f"on {rows[0]['images']} test images of {patients} known patients, {trained}"
    if told:
        clauses = "; ".join(_clause(row) for row in told)
        sentence = (
            f"Between variants: {len(told)} of {len(rows)} differences are beyond chance "
            f"({basis}): {clauses}."
        )
    else:
        widest = max(abs(end) for row in rows for end in row["interval"])
        sentence = (
            f"Between variants: none of the {len(rows)} differences is beyond chance ({basis}), so "
            f"the data support no ranking. Differences of up to {widest:.3f} mean IoU could have "
            "gone unnoticed."
        )
    sentence += _tell_doubts(rows)
    if seeds == 1:
        sentence += (
            " Chance means that of the patients: with one training each, nobody can tell a variant "
            "from the luck of its training. Train several seeds (+sweeps=attention_seeds) before "
            "you call one better."
        )
    return sentence


def _conclude_modes(rows: Sequence[Comparison]) -> str:
    told = [row for row in rows if row["beyond_chance"]]
    if told:
        clauses = "; ".join(f"{row['first']} in {row['mode']} {_change(row)}" for row in told)
        sentence = (
            f"By quantization: {len(told)} of {len(rows)} changes are beyond chance: {clauses}."
        )
    else:
        largest = max(rows, key=lambda row: abs(row["difference"]))
        sentence = (
            f"By quantization: none of the {len(rows)} changes is beyond chance; the largest is "
            f"{_change(largest)} of {largest['first']} in {largest['mode']}."
        )
    return sentence + _tell_doubts(rows)


def _tell_doubts(rows: Sequence[Comparison]) -> str:
    """What keeps differences from being called beyond chance, though they may be there."""
    unsteady = [row for row in rows if row["p_corrected"] < LEVEL and not row["beyond_chance"]]
    text = ""
    if unsteady:
        which = "others" if any(row["beyond_chance"] for row in rows) else "of them"
        text += f" {len(unsteady)} {which} would be, but change their sign with the training."
    if all(row["smallest_p"] * len(rows) >= LEVEL for row in rows):
        text += (
            f" There are too few patients for {len(rows)} comparisons: no difference, however "
            "large, could be called beyond chance."
        )
    return text


def _clause(row: Comparison) -> str:
    """The better one first."""
    if row["difference"] < 0:
        low, high = (-end for end in reversed(row["interval"]))
        row = row | {"first": row["second"], "second": row["first"], "interval": [low, high]}
    return (
        f"{row['second']} is better than {row['first']} by {abs(row['difference']):.4f} "
        f"({_span(row)})"
    )


def _change(row: Comparison) -> str:
    return f"{signed(row['difference'])} ({_span(row)})"


def _span(row: Comparison) -> str:
    return " to ".join(map(signed, row["interval"]))
