"""What each variant loses when its weights are rounded to fewer bits, compared over patients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainseg.evaluation.differences import paired_interval
from brainseg.evaluation.metrics import mean_ious
from brainseg.report.comparisons import joint_level
from brainseg.report.table import Runs
from brainseg.run import Run
from brainseg.vocabulary import MAPPINGS, REFERENCE, STUDY, rank

PLAIN = STUDY[0]
"""The variant without attention, with which the others are compared."""

RESAMPLES = 5000
"""Of the joint intervals, whose ends are far out."""

Pair = tuple[float, float]

Key = tuple[str, int]
"""A mapping, and bits."""

Known = Mapping[str, Any]
"""What is known of a run: its exact test counts, and by key what was found with rounded weights."""

Compared = tuple[NDArray[Any], NDArray[Any], list[str]]

Gain = tuple[float | None, Pair | None]


@dataclass(frozen=True)
class Loss:
    """What a variant loses on test with weights of so many bits.

    Attributes:
        variant: its name.
        mapping: a key of `vocabulary.MAPPINGS`.
        bits: of the weights.
        change: of mean IoU, mean over the seeds.
        interval: of it, 95 %, over patients; `None` where it cannot be had.
        val: the change on validation; `None` where it is undefined, without tumours.
        flipped: share of test pixels that change sides.
        seeds: trainings that were measured.
        gain: by how much less it loses than `PLAIN`; `None` where that was not measured likewise.
        gain_interval: of it, over the same patients, joint for all gains.
    """

    variant: str
    mapping: str
    bits: int
    change: float
    interval: Pair | None
    val: float | None
    flipped: float
    seeds: int
    gain: float | None
    gain_interval: Pair | None

    @property
    def verdict(self) -> int:
        """1 where it loses less than `PLAIN` beyond its interval, −1 where more, else 0."""
        low, high = self.gain_interval or (0, 0)
        return (low > 0) - (high < 0)


def collect_losses(runs: Runs) -> list[Loss]:
    """The loss of each variant, mapping and number of bits that was measured, 8 bits first.

    Of a variant, the runs that were tested on the same patients as its first one count.
    """
    found = {variant: _read_alike(members) for variant, members in runs.items()}
    measured = {variant: members for variant, members in found.items() if members}
    keys = {key for members in measured.values() for each in members for key in each["rounded"]}
    ordered = sorted(keys, key=lambda key: (rank(key[0], MAPPINGS), -key[1]))
    pairs = {
        (variant, key): _compare(measured[PLAIN], members, key)
        for (variant, members), key in product(measured.items(), ordered)
        if PLAIN in measured and variant != PLAIN
    }
    compared = {place: pair for place, pair in pairs.items() if pair is not None}
    return [
        _measure(variant, shown, key, _gain(compared, (variant, key)))
        for key, (variant, members) in product(ordered, measured.items())
        if (shown := [each for each in members if key in each["rounded"]])
    ]


def _read_alike(members: Sequence[Run]) -> list[Known]:
    """What is known of runs that were tested on the same patients."""
    found = [known for run in members if (known := _read(run))]
    return [each for each in found if _is_like(each, found[0])]


def _read(run: Run) -> Known | None:
    """Test counts P×4, and what was found by mapping and bits, of the export as it is."""
    known = run.read(run.robustness) if run.robustness.exists() else None
    if known is None or run.hash_network(REFERENCE) not in (None, known["export"]):
        return None
    rounded = {(each["mapping"], each["bits"]): each for each in known["rounded"]}
    return {**known["exact"]["test"], "rounded": rounded} if rounded else None


def _is_like(one: Known, other: Known) -> bool:
    """Whether two runs were tested on the same patients with the same truth."""
    truths = []
    for each in (one, other):
        tp, _, fn, _ = np.transpose(each["counts"]).tolist()
        truths.append([each["patients"], np.add(tp, fn).tolist()])
    return bool(truths[0] == truths[1])


def _measure(variant: str, members: Sequence[Known], key: Key, gain: Gain) -> Loss:
    exact, rounded = _counts(members, key)
    scored = [each["rounded"][key] for each in members]
    val = [each["val"]["change"] for each in scored]
    return Loss(
        *(variant, *key, _mean_change(exact, rounded)),
        interval=paired_interval(exact, rounded, members[0]["patients"], mean_ious),
        val=None if None in val else fmean(val),
        flipped=fmean(each["test"]["flipped"] for each in scored),
        seeds=len(members),
        gain=gain[0],
        gain_interval=gain[1],
    )


def _compare(plain: Sequence[Known], others: Sequence[Known], key: Key) -> Compared | None:
    """Counts before and after, whose change is half of how much less the others lose.

    The loss of the one turned round (after it is rounded, before it) and the loss of the other: the
    mean of the two changes is half of the difference of the losses.
    """
    ours, theirs = (
        [each for each in members if key in each["rounded"]] for members in (plain, others)
    )
    if not ours or not theirs or not _is_like(ours[0], theirs[0]):
        return None
    seeds = min(len(ours), len(theirs))
    exact, rounded = _counts(theirs[:seeds], key)
    plain_exact, plain_rounded = _counts(ours[:seeds], key)
    before = np.concatenate([exact, plain_rounded])
    after = np.concatenate([rounded, plain_exact])
    return before, after, ours[0]["patients"]


def _gain(compared: Mapping[tuple[str, Key], Compared], place: tuple[str, Key]) -> Gain:
    if place not in compared:
        return None, None
    before, after, patients = compared[place]
    half = paired_interval(
        *(before, after, patients, mean_ious),
        resamples=RESAMPLES,
        level=joint_level(len(compared)),
    )
    interval = None if half is None else (2 * half[0], 2 * half[1])
    return 2 * _mean_change(before, after), interval


def _counts(members: Sequence[Known], key: Key) -> tuple[NDArray[Any], NDArray[Any]]:
    """Of all seeds, S×P×4: exact and rounded."""
    exact = np.array([each["counts"] for each in members])
    return exact, np.array([each["rounded"][key]["test"]["counts"] for each in members])


def _mean_change(before: NDArray[Any], after: NDArray[Any]) -> float:
    return float((mean_ious(after.sum(axis=1)) - mean_ious(before.sum(axis=1))).mean())
