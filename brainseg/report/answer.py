"""What to deploy where: the fastest configuration of each variant that keeps its accuracy."""

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from statistics import fmean
from typing import NamedTuple

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

BUDGET = 0.0004
"""Mean IoU that a mode may lose on validation, unless its `max_drop` says otherwise: what the
paper's best variant lost."""

LEARNED = 0.5
"""Tumour IoU on test from which on a loss means something: a network that finds nothing has
nothing to lose."""

TIE = 1.02
"""Latencies that differ by no more than this factor are the same: the smaller file wins."""

COLUMNS = ("Device", "Variant", "Deploy", "Latency, ms", "Speed-up", "Δ validation", "Why")
NUMERIC = COLUMNS[3:6]

UNTIMED = "Nothing can be recommended yet: time two modes or more (brainseg benchmark)."

NOTE = (
    f"Chosen: the fastest mode that loses at most {BUDGET:g} mean IoU on validation, or its own "
    "max_drop."
)


class Choice(NamedTuple):
    """What to deploy of one variant in one place: `best` is `None` where that cannot be told."""

    best: Point | None
    why: str


Choices = Mapping[str, Mapping[str, Choice]]
"""By name of the place, then by variant."""


def choose_all(rows: Iterable[TableRow]) -> dict[str, dict[str, Choice]]:
    """Choose in each place for each variant of which two configurations or more were timed.

    Of several numbers of threads on a device, one is the variant's place: its `usual_threads`.
    """
    measured = sorted(filter(is_measured, rows), key=order)
    usual = usual_threads(measured)
    compared = [row for row in measured if usual.get((row.variant, row.device)) == row.threads]
    choices: dict[str, dict[str, Choice]] = {}
    for place, name in name_places(filter(is_timed, measured)).items():
        here = [row for row in compared if place_of(row) == place]
        for variant in dict.fromkeys(row.variant for row in here):
            if choice := choose([row for row in here if row.variant == variant]):
                choices.setdefault(name, {})[variant] = choice
    return choices


def choose(rows: Sequence[TableRow]) -> Choice | None:
    """Choose among the measured rows of one variant in one place.

    The fastest of those whose loss on *validation* against the reference is within the budget;
    among equally fast ones the smallest. The test split decides only whether the network has
    learned at all. `None` where fewer than two configurations were timed.
    """
    references = [row for row in rows if row.is_reference]
    learned = {row.run for row in references if (row.tumor_iou or 0) >= LEARNED}
    points = collect_points(row for row in rows if not learned or row.run in learned)
    if len(points) < 2:
        return None
    fitting = [point for point in points if _fits(point)]
    if doubt := _doubt(references, learned, points, fitting):
        fastest = min(points, key=lambda point: point.pace)
        return Choice(None, f"{doubt}; fastest: {_name(fastest)}")
    limit = TIE * min(point.pace for point in fitting)
    best = min((point for point in fitting if point.pace <= limit), key=_size_and_error)
    return Choice(best, _why(best, points, len(references) - len(learned)))


def answer_table(rows: Sequence[TableRow], choices: Choices) -> Table:
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
    return Table("What to deploy", COLUMNS, cells, [NOTE] if choices else [], NUMERIC)


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
    return None if fitting else "all lose too much on validation"


def _fits(point: Point) -> bool:
    changes, own = point.changes("val_mean_iou"), point.rows[0].options.get("max_drop")
    budget = BUDGET if own is None else own
    return bool(changes) and round(-fmean(changes), 9) <= budget


def _size_and_error(point: Point) -> tuple[float, float]:
    return point.mib or inf, -(point.expected("val_mean_iou") or 0)


def _why(best: Point, points: Sequence[Point], unlearned: int) -> str:
    reasons = ["fastest"]
    if faster := [point for point in points if point.pace * TIE < best.pace]:
        refused = min(faster, key=lambda point: point.pace)
        changes = refused.changes("val_mean_iou")
        loss = f"loses {-fmean(changes):.3g}" if changes else "was not scored on validation"
        reasons = ["fastest within the budget", f"{_name(refused)} {loss}"]
    if best.noisy:
        reasons.append("noisy timing")
    if unlearned:
        reasons.append(f"seeds with a tumour IoU below {LEARNED:g} left out: {unlearned}")
    return "; ".join(reasons)


def _name(point: Point) -> str:
    return point.brief if point.speedup is None else f"{point.brief} ({point.speedup:.1f}×)"
