"""What comparisons support: a table, and at most a sentence for each kind of them."""

from collections.abc import Sequence

from brainseg.evaluation.differences import training_interval
from brainseg.evaluation.equivalence import Verdict
from brainseg.report.comparisons import LEVEL, MODES, VARIANTS, Comparison, joint_level
from brainseg.report.render import Table
from brainseg.report.rows import NOTHING, decimals, signed, span, to_text
from brainseg.vocabulary import REFERENCE, REFERENCE_RUNTIME

COLUMNS = (
    *("Compared", "With", "Difference of mean IoU", "95 % interval", "p", "p, corrected"),
    *("p, trainings, corrected", "Beyond chance", "Seeds"),
)
NUMERIC = COLUMNS[2:7]

NOTE = (
    "Mean IoU on the same test images, averaged over the seeds that both have. Interval: bootstrap "
    "over patients, not corrected. p: permutation test over patients; p, trainings: t-test over "
    "seeds; both corrected for the number of comparisons (Holm). Beyond chance: both below "
    f"{LEVEL:g}; for a mode, the first below {LEVEL:g} and the same sign in every seed. Modes are "
    f"compared as they were scored first: with {REFERENCE_RUNTIME} on the cpu, or on a GPU that "
    "runs all of them."
)

SHOWN = 3
"""Differences that a sentence lists at most."""


def tabulate(comparisons: Sequence[Comparison]) -> Table:
    """A row per comparison."""
    rows = [
        [
            row["second"] if row["family"] == VARIANTS else f"{row['second']} {row['mode']}",
            row["first"] if row["family"] == VARIANTS else f"{row['first']} {REFERENCE}",
            signed(row["difference"]),
            to_text(row["interval"]) if row["interval"] else NOTHING,
            *(decimals(row[key]) for key in ("p", "p_corrected", "p_training_corrected")),
            "yes" if row["beyond_chance"] else "no",
            ", ".join(row["by_seed"]),
        ]
        for row in comparisons
    ]
    return Table("Differences", COLUMNS, rows, [NOTE], NUMERIC)


def conclude(comparisons: Sequence[Comparison], variants: int) -> list[str]:
    """What the comparisons of so many scored variants support, in at most three sentences."""
    rows = {name: [row for row in comparisons if row["family"] == name] for name in FAMILIES}
    sentences = [tell(rows[name]) for name, tell in FAMILIES.items() if rows[name]]
    pairs = variants * (variants - 1) // 2
    if missing := pairs - len(rows[VARIANTS]):
        sentences.append(
            f"{missing} of {pairs} pairs of variants could not be compared: their test images "
            "differ or show no tumour."
        )
    return sentences


def _conclude_variants(rows: Sequence[Comparison]) -> str:
    if doubt := _doubt(rows):
        return f"Differences between variants cannot be tested: {doubt}."
    if all(row["p_training"] is None for row in rows):
        return (
            "With one training each, a difference between variants may be luck: train several "
            "seeds (+sweeps=attention_seeds) before you rank them."
        )
    if told := [_better(row) for row in rows if row["beyond_chance"]]:
        return f"Beyond chance ({_basis(rows)}): {_list(told)}."
    return f"No difference between variants is beyond chance ({_basis(rows)}){_unnoticed(rows)}."


def _conclude_modes(rows: Sequence[Comparison]) -> str:
    ranked = sorted(rows, key=lambda row: row["difference"])
    worst = f"{-ranked[0]['difference']:.4f} for {ranked[0]['first']} in {ranked[0]['mode']}"
    loses = _change_of(ranked[0]).startswith("−")
    if doubt := _doubt(rows):
        largest = f" (the largest loss: {worst})" if loses else ""
        return f"Changes by quantization{largest} cannot be tested: {doubt}."
    if told := [_change_of(row) for row in ranked if row["beyond_chance"]]:
        changes = f"Quantization changes mean IoU on test beyond chance: {_list(told)}"
    else:
        largest = f" (the largest loss: {worst})" if loses else ""
        changes = f"No change of mean IoU by quantization is beyond chance{largest}"
    return f"{changes}; {_tell_equivalence(ranked)}."


FAMILIES = {VARIANTS: _conclude_variants, MODES: _conclude_modes}
"""Family of comparisons → what tells of it."""


def _tell_equivalence(rows: Sequence[Comparison]) -> str:
    """How many are shown to be equivalent, which is more than that no difference is found."""
    doubtful = [row for row in rows if row["verdict"] != Verdict.equivalent]
    told = [
        f"{row['first']} in {row['mode']} ({to_text(row['tost'])})"
        for row in doubtful
        if row["tost"]
    ]
    margin, equal = rows[0]["margin"], len(rows) - len(doubtful)
    shown = f"{equal} of {len(rows)} are shown equivalent within ±{margin:g}"
    return f"{shown}, not: {_list(told)}" if told else shown


def _doubt(rows: Sequence[Comparison]) -> str | None:
    """Why no difference could be called beyond chance, however large, if that is so."""
    if all(row["p"] is None for row in rows):
        return "patients are unknown, and slices of one patient are not independent"
    if all(row["smallest_p"] * len(rows) >= LEVEL for row in rows):
        return f"{span([str(row['patients']) for row in rows])} patients are too few"
    return None


def _unnoticed(rows: Sequence[Comparison]) -> str:
    """How large a difference of any pair patients and trainings do not exclude."""
    level = joint_level(len(rows))
    found = [row["joint_interval"] for row in rows]
    found += [training_interval(list(row["by_seed"].values()), level) for row in rows]
    if None in found:
        return ""
    largest = max(abs(end) for interval in found for end in interval)
    size = "any" if largest >= 1 else f"one of up to {largest:.3f}"
    return f"; {size} could have gone unnoticed"


def _basis(rows: Sequence[Comparison]) -> str:
    images, patients, seeds = (
        span([str(row[key]) for row in rows]) for key in ("images", "patients", "seeds")
    )
    return f"{images} test images of {patients} patients, {seeds} trainings each"


def _better(row: Comparison) -> str:
    """The better one first."""
    names = (row["second"], row["first"])
    better, worse = names if row["difference"] > 0 else reversed(names)
    return f"{better} is better than {worse} by {abs(row['difference']):.4f}"


def _change_of(row: Comparison) -> str:
    """What a mode changes."""
    return f"{signed(row['difference'])} for {row['first']} in {row['mode']}"


def _list(clauses: Sequence[str]) -> str:
    more = len(clauses) - SHOWN
    return "; ".join([*clauses[:SHOWN], *([f"and {more} more"] if more > 0 else [])])
