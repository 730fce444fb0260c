"""What comparisons support, in a table and in plain sentences."""

from collections.abc import Sequence

from brainseg.evaluation.differences import training_interval
from brainseg.report.comparisons import (
    LEVEL,
    MODES,
    VARIANTS,
    Comparison,
    is_judged,
    joint_level,
)
from brainseg.report.rows import NOTHING, REFERENCE, RUNTIME, signed, span

COLUMNS = (
    *("Compared", "With", "Difference of mean IoU", "95 % interval", "p", "p, corrected"),
    *("p, trainings, corrected", "Beyond chance", "Seeds"),
)


def tabulate(comparisons: Sequence[Comparison]) -> list[list[str]]:
    """The cells under `COLUMNS`, a row per comparison."""
    return [
        [
            row["second"] if row["family"] == VARIANTS else f"{row['second']} {row['mode']}",
            row["first"] if row["family"] == VARIANTS else f"{row['first']} {REFERENCE}",
            signed(row["difference"]),
            _interval(row) or NOTHING,
            *(_decimals(row[key]) for key in ("p", "p_corrected", "p_training_corrected")),
            "yes" if row["beyond_chance"] else "no",
            ", ".join(row["by_seed"]),
        ]
        for row in comparisons
    ]


def conclude(comparisons: Sequence[Comparison], variants: int) -> list[str]:
    """What the comparisons support, in plain sentences.

    Args:
        comparisons: from `compare_all`.
        variants: how many there are, scored or not.
    """
    sentences = []
    of_variants = [row for row in comparisons if row["family"] == VARIANTS]
    if variants > 1:
        sentences.append(_conclude_variants(of_variants, variants * (variants - 1) // 2))
    of_modes = [row for row in comparisons if row["family"] == MODES]
    if of_modes:
        sentences.append(_conclude_modes(of_modes))
    return sentences


def _conclude_variants(rows: Sequence[Comparison], pairs: int) -> str:
    told = [row for row in rows if row["beyond_chance"]]
    judged = list(filter(is_judged, rows))
    lucky = [row for row in rows if _by_patients(row) and not row["beyond_chance"]]
    which = "others" if told else "of them"
    sentences = _open_variants(rows, told, judged)
    if not told and judged:
        sentences += _tell_unnoticed(rows)
    if lucky:
        sentences.append(
            f"{len(lucky)} {which} would be beyond chance by the patients alone, but not by the "
            "trainings: that may be luck in training."
        )
    if any(row["p_training"] is None for row in rows):
        sentences.append(
            "With one training each, nobody can tell a variant from the luck of its training: "
            "train several seeds (+sweeps=attention_seeds) before you call one better."
        )
    if len(rows) < pairs:
        missing = f"{pairs - len(rows)} of {pairs} pairs" if rows else "no pair"
        was = "were not" if rows else "could be"
        sentences.append(
            f"{missing} {was} compared: they were not scored, not on the same images, or on none "
            "with a tumour."
        )
    return "Between variants: " + " ".join(sentences + _tell_doubts(rows))


def _open_variants(
    rows: Sequence[Comparison], told: Sequence[Comparison], judged: Sequence[Comparison]
) -> list[str]:
    if not rows:
        return []
    what = _tell_beyond(rows, told, judged, "difference")
    if told:
        return [f"{what} ({_basis(rows)}): {'; '.join(map(_clause, told))}."]
    return [f"{what} ({_basis(rows)}), so the data support no ranking."]


def _tell_beyond(
    rows: Sequence[Comparison],
    told: Sequence[Comparison],
    judged: Sequence[Comparison],
    noun: str,
) -> str:
    """How many of the rows are beyond chance, if that can be judged."""
    subject = f"the one {noun}" if len(rows) == 1 else f"the {len(rows)} {noun}s"
    if not judged:
        return f"{subject} cannot be judged"
    if len(rows) == 1:
        return f"{subject} is {'' if told else 'not '}beyond chance"
    count = f"{len(told)} of {subject}" if told else f"none of {subject}"
    return f"{count} {'are' if len(told) > 1 else 'is'} beyond chance"


def _tell_unnoticed(rows: Sequence[Comparison]) -> list[str]:
    """How large a difference may be that patients and trainings do not exclude, of any pair."""
    intervals = [
        interval
        for row in rows
        for interval in (
            row["joint_interval"],
            training_interval(list(row["by_seed"].values()), joint_level(len(rows))),
        )
        if interval
    ]
    ends = [abs(end) for interval in intervals for end in interval]
    if not ends or any(row["joint_interval"] is None for row in rows):
        return []
    return [f"Differences of up to {max(ends):.3f} mean IoU could have gone unnoticed."]


def _conclude_modes(rows: Sequence[Comparison]) -> str:
    told = [row for row in rows if row["beyond_chance"]]
    judged = list(filter(is_judged, rows))
    worst = min(rows, key=lambda row: row["difference"])
    unsteady = [row for row in rows if _by_patients(row) and not row["beyond_chance"]]
    which_ones = f": {'; '.join(map(_change_of, told))}" if told else ""
    sentences = [f"{_tell_beyond(rows, told, judged, 'change')}{which_ones}."]
    if judged and signed(worst["difference"]).startswith("−") and worst not in told:
        sentences.append(
            f"The largest loss, {_change_of(worst)}, is not beyond chance, nor is it excluded."
        )
    if unsteady:
        which = "others" if told else "of them"
        sentences.append(
            f"{len(unsteady)} {which} would be, but change their sign with the training."
        )
    where = f"By quantization, with {RUNTIME} on the cpu: "
    return where + " ".join(sentences + _tell_doubts(rows))


def _basis(rows: Sequence[Comparison]) -> str:
    images, patients, seeds = (
        span([str(row[key]) for row in rows]) for key in ("images", "patients", "seeds")
    )
    trained = "one training each" if seeds == "1" else f"{seeds} trainings each"
    return f"on {images} test images of {patients} known patients, {trained}"


def _by_patients(row: Comparison) -> bool:
    return row["p_corrected"] is not None and row["p_corrected"] < LEVEL


def _tell_doubts(rows: Sequence[Comparison]) -> list[str]:
    """What keeps differences from being called beyond chance, though they may be there."""
    if not rows:
        return []
    if all(row["p"] is None for row in rows):
        return [
            "The patients of the tumour images are unknown, so no test and no interval is "
            "possible: slices that may show one patient are no evidence apart."
        ]
    if all(row["smallest_p"] * len(rows) >= LEVEL for row in rows):
        return [
            f"There are too few patients for {_count(rows, 'comparison')}: no difference, however "
            "large, could be called beyond chance."
        ]
    return []


def _count(rows: Sequence[Comparison], noun: str) -> str:
    return f"{len(rows)} {noun}{'' if len(rows) == 1 else 's'}"


def _clause(row: Comparison) -> str:
    """The better one first."""
    if row["difference"] < 0:
        interval = row["interval"] and [-end for end in reversed(row["interval"])]
        turned = {"first": row["second"], "second": row["first"], "interval": interval}
        row = row | turned | {"difference": -row["difference"]}
    return f"{row['second']} is better than {row['first']} by {_change(row).removeprefix('+')}"


def _change_of(row: Comparison) -> str:
    """What a mode changes."""
    return f"{row['first']} in {row['mode']} {_change(row)}"


def _change(row: Comparison) -> str:
    interval = _interval(row)
    return signed(row["difference"]) + (f" ({interval})" if interval else "")


def _interval(row: Comparison) -> str:
    return " to ".join(map(signed, row["interval"] or ()))


def _decimals(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4f}"
