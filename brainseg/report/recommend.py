"""What to deploy where, in sentences."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from statistics import fmean, stdev

from brainseg.report.choose import LEARNED, Choice, Finding, choose
from brainseg.report.points import Point, is_measured, is_timed, name_places, place_of
from brainseg.report.rows import REFERENCE, RUNTIME, Row, is_reference, order, signed, span

Choices = Mapping[str, Choice]
"""What was chosen in one place, by variant."""

UNTIMED = "No recommendation: two modes or more must be timed (brainseg benchmark)."


def recommend(rows: Iterable[Row]) -> list[str]:
    """What to deploy on each device for each variant, what it costs, and why not something else.

    Devices where fewer than two configurations of a variant were timed get no sentence, those that
    were not there one that says why. Where that leaves no choice at all, the first sentence says
    what to do.
    """
    rows = list(rows)
    measured = sorted(filter(is_measured, rows), key=order)
    timed = list(filter(is_timed, measured))
    sentences = []
    for place, name in name_places(timed).items():
        variants: dict[str, list[Row]] = defaultdict(list)
        for row in measured:
            if place_of(row) == place:
                variants[row["variant"]].append(row)
        found = {variant: choose(members) for variant, members in variants.items()}
        sentences += _describe(name, {key: choice for key, choice in found.items() if choice})
    return [*(sentences or [UNTIMED]), *_tell_missing(rows, {row["device"] for row in timed})]


def _tell_missing(rows: Iterable[Row], timed: Collection[str]) -> list[str]:
    """The devices that were asked for, where nothing was timed."""
    reasons = {
        row["device"]: row["reason"]
        for row in rows
        if row["device"] and row["device"] not in timed and row["status"] == "unavailable"
    }
    return [f"On {device}: not measured. {reason}" for device, reason in reasons.items()]


def _describe(place: str, choices: Choices) -> list[str]:
    """The sentences of one place."""
    chosen = {variant: choice for variant, choice in choices.items() if not choice.doubt}
    sentences = [_deploy(place, variant, choice) for variant, choice in chosen.items()]
    if len(chosen) > 1:
        sentences.append(_overall(place, chosen))
    if losers := dict.fromkeys(name for choice in chosen.values() for name in choice.others):
        clauses = "; ".join(_clause(name, chosen) for name in losers)
        sentences.append(f"Why not another on {place}: {clauses}.")
    return [*sentences, *_doubts(place, choices)]


def _deploy(place: str, variant: str, choice: Choice) -> str:
    best, seeds = choice.best, len(choice.best.rows)
    of = f"{variant}, {seeds} seeds" if seeds > 1 else variant
    notes = " Its timing is noisy." if best.noisy else ""
    if choice.unlearned:
        notes += f" Seeds left out: {choice.unlearned}, tumour IoU of fp32 below {LEARNED:g}."
    if is_reference(best.rows[0]):
        return (
            f"On {place} stay with {best.name} ({of}): nothing faster keeps its loss of mean IoU "
            f"on validation within the budget.{notes}"
        )
    lost = f"mean IoU {signed(fmean(best.changes('val_mean_iou')))} on validation"
    costs = ", ".join(filter(None, [_speed(best), _share(best), lost, _on_test(best)]))
    return f"On {place} deploy {best.name} ({of}): {costs}.{notes}"


def _speed(point: Point) -> str:
    if point.speedup is None:
        return f"{point.latency:.1f} ms"
    return f"{point.speedup:.1f}× as fast as {REFERENCE} with {RUNTIME}"


def _share(point: Point) -> str:
    sizes = [row["size_bytes"] for row in point.references if row and row["size_bytes"]]
    size = point.mean("size_bytes")
    return f"{100 * size / fmean(sizes):.0f} % of its size" if size and sizes else ""


def _on_test(point: Point) -> str:
    changes, row = point.changes("mean_iou"), point.rows[0]
    if not changes:
        return ""
    change, own, interval = fmean(changes), row["delta_mean_iou"], row["delta_mean_iou_interval"]
    spread = ""
    if len(changes) > 1:
        spread = f" ± {stdev(changes):.4f}"
    elif interval and own is not None and abs(own - change) < 5e-5:
        # The interval is against fp32 of the same runtime: shown where that makes no difference.
        spread = f" ({signed(interval[0])} to {signed(interval[1])})"
    return f"{signed(change)}{spread} on test"


def _overall(place: str, chosen: Choices) -> str:
    names: dict[str, list[str]] = defaultdict(list)
    for variant, choice in chosen.items():
        names[choice.best.name].append(variant)
    bests = {variant: choice.best for variant, choice in chosen.items()}
    which = "; ".join(f"{name} for {_join(variants)}" for name, variants in names.items())
    return " ".join([f"Overall on {place}: {which}.", *_fastest(bests), *_most_accurate(bests)])


def _fastest(bests: Mapping[str, Point]) -> list[str]:
    """Only where all were timed in one session: the machine may have changed between two."""
    sessions = {row["session"] for best in bests.values() for row in best.rows if is_timed(row)}
    if len(sessions) > 1 or None in sessions:
        return []
    variant = min(bests, key=lambda variant: bests[variant].latency)
    return [f"Fastest of these: {variant} ({bests[variant].latency:.1f} ms)."]


def _most_accurate(bests: Mapping[str, Point]) -> list[str]:
    """Only where all saw the same data: scores on other images are no contest."""
    data = {tuple(best.rows[0][key] for key in ("data", "split", "n")) for best in bests.values()}
    scores = {variant: best.expected("val_mean_iou") or 0 for variant, best in bests.items()}
    if len(data) > 1:
        return []
    variant = max(scores, key=scores.__getitem__)
    return [
        f"Most accurate on validation: {variant} (mean IoU {scores[variant]:.4f}); "
        "whether beyond chance is told below."
    ]


def _clause(name: str, chosen: Choices) -> str:
    found = {
        variant: choice.others[name] for variant, choice in chosen.items() if name in choice.others
    }
    return f"{name}: {_merge(found, len(chosen))}"


def _doubts(place: str, choices: Choices) -> list[str]:
    """One sentence for all variants of which the same is in doubt and the same is fastest."""
    groups: dict[tuple[str, str], dict[str, Finding]] = defaultdict(dict)
    for variant, choice in choices.items():
        if choice.doubt:
            groups[choice.doubt.text, choice.best.name][variant] = choice.doubt
    return [
        f"On {place} no recommendation on accuracy ({', '.join(doubts)}): "
        f"{_merge(doubts, len(doubts))}. "
        f"By speed alone the fastest is {name}{_speeds(choices[key].best for key in doubts)}."
        for (_, name), doubts in groups.items()
    ]


def _speeds(points: Iterable[Point]) -> str:
    points = list(points)
    found = [f"{point.speedup:.1f}" for point in points if point.speedup is not None]
    noisy = ", noisy" if any(point.noisy for point in points) else ""
    return f" ({span(found)}×{noisy})" if found else ""


def _merge(found: Mapping[str, Finding], everyone: int) -> str:
    """Findings of variants as one text; variants are named where not all agree."""
    texts: dict[str, list[str]] = defaultdict(list)
    for variant, finding in found.items():
        texts[finding.text].append(variant)
    return ", ".join(
        text.replace("{}", span([found[variant].number for variant in variants]))
        + (f" for {_join(variants)}" if len(variants) < everyone else "")
        for text, variants in texts.items()
    )


def _join(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
