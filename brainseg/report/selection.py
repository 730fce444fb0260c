"""Which test cases a page shows, where it cannot show all."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from brainseg.report.pictures import Case, Key, Slice, by_class, typical, worst


@dataclass
class Candidate:
    """A test case that may be chosen, with a name that no other one has.

    `scores` are those of each variant in its first mode; `drawn` says that a figure shows it.
    """

    name: str
    slice: Slice
    scores: list[Case] = field(default_factory=list)
    drawn: bool = False

    @property
    def badness(self) -> tuple[float, int]:
        """Larger is worse: mean Dice, then the most pixels where nothing is."""
        dices = [row["dice"] for row in self.scores if row["dice"] is not None]
        return (-fmean(dices) if dices else 0.0, max((row["fp"] for row in self.scores), default=0))


def drawn_ids(cases: Sequence[Case], attended: Collection[str]) -> set[str]:
    """Cases that figures may show: typical and worst ones, and the largest with attention.

    `attended` are the ids of those with coefficients of the attention.
    """
    kept = by_class(case for case in cases if case["id"] in attended).values()
    largest = (max(members, key=lambda case: case["tp"] + case["fn"]) for members in kept)
    lowest, false = worst(cases)
    chosen = (*map(typical, by_class(cases).values()), *largest, *lowest, *false)
    return {case["id"] for case in chosen}


def choose_pictures(pictures: Mapping[Key, Candidate], limit: int) -> list[Key]:
    """Pictures in their order, `limit` of them where figures show no more; see `tell_rule`."""
    chosen = {key for key, picture in pictures.items() if picture.drawn}
    groups: dict[tuple[str, bool], list[Key]] = {}
    for key, picture in pictures.items():
        if not picture.drawn:
            case = picture.slice
            groups.setdefault((case.case["class"], bool(case.truth.any())), []).append(key)
    quotas = _share([len(keys) for keys in groups.values()], limit - len(chosen))
    for ((_, tumour), keys), quota in zip(groups.items(), quotas, strict=True):
        ranked = sorted(keys, key=lambda key: pictures[key].badness, reverse=True)
        firsts = 0 if tumour else -(-quota // 2)
        rest = ranked[firsts:]
        chosen |= {*ranked[:firsts], *(rest[i] for i in _spread(len(rest), quota - firsts))}
    return [key for key in pictures if key in chosen]


def _share(sizes: Sequence[int], limit: int) -> list[int]:
    """Give each group the same number; what a small one cannot use goes to the others."""
    quotas = [0] * len(sizes)
    for _ in range(min(limit, sum(sizes))):
        free = [i for i, size in enumerate(sizes) if quotas[i] < size]
        quotas[min(free, key=quotas.__getitem__)] += 1
    return quotas


def _spread(size: int, count: int) -> list[int]:
    """`count` of the numbers below `size`: the first, the middle, the last, and evenly between."""
    middle = (size - 1) // 2
    if count >= size:
        return list(range(size))
    if count < 3:
        return [0, middle][:count]
    lower, upper = (count + 2) // 2, (count + 1) // 2
    below = [step * middle // (lower - 1) for step in range(lower)]
    return below + [middle + step * (size - 1 - middle) // (upper - 1) for step in range(1, upper)]


def tell_rule(shown: int, total: int) -> str:
    """How `choose_pictures` chose so many of all, for people."""
    if shown == total:
        return f"All {total} test cases are shown."
    return (
        f"{shown} of {total} test cases are shown: those in the figures, then equally many of each "
        "class, with and without tumour. With tumour: the worst, the median and the best by Dice "
        "(mean over the variants), and others evenly between. Without: half have the most "
        "false-positive pixels, the others are spread evenly."
    )
