"""What to deploy where: the fastest configuration of each variant that keeps its accuracy."""

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from statistics import fmean
from typing import NamedTuple

from brainseg.evaluation.equivalence import MARGIN
from brainseg.report.acceptance import (
    BUDGET,
    UNTESTED,
    accept,
    can_test,
    is_within_budget,
    tell_refusal,
)
from brainseg.report.points import (
    Point,
    collect_points,
    is_measured,
    is_timed,
    mean_of,
    name_places,
    place_of,
    usual_threads,
)
from brainseg.report.render import Table
from brainseg.report.rows import NOTHING, TableRow, decimals, order, signed
from brainseg.vocabulary import REFERENCE, REFERENCE_RUNTIME

LEARNED = 0.5
"""Tumour IoU on test from which on a loss means something: a network that finds nothing has
nothing to lose."""

TIE = 1.02
"""Latencies that differ by no more than this factor are the same: the smaller file wins."""

COLUMNS = ("Device", "Variant", "Deploy", "Latency, ms", "Speed-up", "Δ validation", "Why")
NUMERIC = COLUMNS[3:6]

UNTIMED = "Nothing can be recommended yet: time two modes or more (brainseg benchmark)."


class Choice(NamedTuple):
    """What to deploy of one variant in one place: `best` is `None` where that cannot be told."""

    best: Point | None
    why: str


Choices = Mapping[str, Mapping[str, Choice]]
"""By name of the place, then by variant."""


def choose_all(rows: Iterable[TableRow], margin: float = MARGIN) -> dict[str, dict[str, Choice]]:
    """Choose in each place for each variant of which two configurations or more were timed.

    Of several numbers of threads on a device, one is the variant's place: its `usual_threads`.

    Args:
        rows: those of `table.json`.
        margin: mean IoU that a mode must be shown not to lose on validation.
    """
    measured = sorted(filter(is_measured, rows), key=order)
    usual = usual_threads(measured)
    compared = [row for row in measured if usual.get((row.variant, row.device)) == row.threads]
    choices: dict[str, dict[str, Choice]] = {}
    for place, name in name_places(filter(is_timed, measured)).items():
        here = [row for row in compared if place_of(row) == place]
        for variant in dict.fromkeys(row.variant for row in here):
            if choice := choose([row for row in here if row.variant == variant], margin):
                choices.setdefault(name, {})[variant] = choice
    return choices


def choose(rows: Sequence[TableRow], margin: float = MARGIN) -> Choice | None:
    """Choose among the measured rows of one variant in one place.

    The fastest of those that `accept` lets pass by their scores on *validation*; among equally fast
    ones the smallest. The test split decides only whether the network has learned at all. `None`
    where fewer than two configurations were timed.
    """
    references = [row for row in rows if row.is_reference]
    learned = {row.run for row in references if (row.tumor_iou or 0) >= LEARNED}
    points = collect_points(row for row in rows if not learned or row.run in learned)
    if len(points) < 2:
        return None
    fitting = accept(points, margin)
    if doubt := _doubt(references, learned, points, fitting):
        fastest = min(points, key=lambda point: point.pace)
        return Choice(None, f"{doubt}; fastest: {_name(fastest)}")
    limit = TIE * min(point.pace for point in fitting)
    best = min((point for point in fitting if point.pace <= limit), key=_size_and_error)
    return Choice(best, _why(best, points, len(references) - len(learned)))


def answer_table(rows: Sequence[TableRow], choices: Choices, margin: float = MARGIN) -> Table:
    """Device × variant: what to deploy, what it gains and costs, and why."""
    cells = [
        [place, variant, *_numbers(choice.best), choice.why]
        for place, variants in choices.items()
        for variant, choice in variants.items()
    ]
    timed = {row.device for row in rows if is_timed(row)}
    missing = [row for row in rows if row.status == "unavailable" and row.device not in timed]
    for device, reason in {row.device: row.reason for row in missing if row.device}.items():
        cells.append([device, *[NOTHING] * 5, f"not measured: {' '.join((reason or '').split())}"])
    return Table("What to deploy", COLUMNS, cells, [_note(margin)] if choices else [], NUMERIC)


def _note(margin: float) -> str:
    return (
        f"Chosen: the fastest mode that loses at most {BUDGET:g} mean IoU on validation, or its "
        f"own max_drop, and is shown there to lose no more than {margin:g} (--margin): the lower "
        "end of the 90 % interval over patients, which is a one-sided test at 5 %. In brackets: "
        "that interval of a faster mode that is not shown. Where no mode can be tested, because "
        "patients are unknown or fewer than 8, the first condition alone decides."
    )


def _numbers(best: Point | None) -> list[str]:
    if best is None:
        return [NOTHING] * 4
    speedup = NOTHING if best.speedup is None else f"{best.speedup:.1f}×"
    change = signed(fmean(best.changes("val_mean_iou")))
    return [best.name, decimals(best.latency, 1), speedup, change]


def tell_best(choices: Choices) -> list[str]:
    """A sentence per place with several variants: the fastest of them, and the most accurate."""
    sentences = []
    for place, variants in choices.items():
        bests = {name: choice.best for name, choice in variants.items() if choice.best}
        rows = [row for best in bests.values() for row in best.rows]
        told = []
        # The machine may change between two sessions.
        if len({row.session for row in rows if is_timed(row)}) == 1:
            fastest = min(bests, key=lambda name: bests[name].latency)
            told.append(f"the fastest variant is {fastest} as {bests[fastest].name}")
        # Scores on other images are no contest.
        if len({(row.data, row.split, row.n) for row in rows}) == 1:
            scores = {name: best.expected("val_mean_iou") or 0 for name, best in bests.items()}
            first = max(scores, key=scores.__getitem__)
            told.append(
                f"the most accurate on validation is {first} ({scores[first]:.4f} mean IoU)"
            )
        if told and len(bests) > 1:
            sentences.append(f"On {place}, {'; '.join(told)}.")
    return sentences if choices else [UNTIMED]


def _doubt(
    references: Sequence[TableRow], learned: set[str], points: Sequence[Point], fitting: object
) -> str | None:
    """Why nothing can be recommended, if that is so."""
    score = mean_of(references, "tumor_iou")
    if score is None:
        return f"{REFERENCE} with {REFERENCE_RUNTIME} was not scored"
    if not learned:
        return f"has learned too little (tumour IoU {score:.2f}, below {LEARNED:g})"
    if not any(point.changes("val_mean_iou") for point in points):
        return "not scored on validation (brainseg quantize RUN --mode all)"
    return None if fitting else "all lose too much on validation, or are not shown to lose less"


def _size_and_error(point: Point) -> tuple[float, float]:
    return point.mib or inf, -(point.expected("val_mean_iou") or 0)


def _why(best: Point, points: Sequence[Point], unlearned: int) -> str:
    faster = [point for point in points if point.pace * TIE < best.pace]
    unshown = [point for point in faster if is_within_budget(point)]
    losing = [point for point in faster if point not in unshown]
    rank = "fastest shown" if unshown else "fastest within the budget" if losing else "fastest"
    refused = [min(each, key=lambda point: point.pace) for each in (unshown, losing) if each]
    reasons = [rank, *(f"{_name(point)} {tell_refusal(point)}" for point in refused)]
    if not (can_test(points) or best.is_reference):
        reasons.append(UNTESTED)
    if best.noisy:
        reasons.append("noisy timing")
    if unlearned:
        reasons.append(f"seeds with a tumour IoU below {LEARNED:g} left out: {unlearned}")
    return "; ".join(reasons)


def _name(point: Point) -> str:
    return point.brief if point.speedup is None else f"{point.brief} ({point.speedup:.1f}×)"
