"""Test cases of a run as pictures, and the rules by which figures choose among them.

Nothing is drawn here: the viewer, which does without matplotlib, chooses by the same rules.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, zip_longest
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainseg import vocabulary
from brainseg.evaluation.cases import THRESHOLD, read_cases
from brainseg.run import Run
from brainseg.vocabulary import FLOAT_MODES, rank

SHOWN = ("test", "cases", "predictions")
"""Files of a run that pictures are read from: attributes of `Run`."""

LOWEST, FALSE = 8, 4
"""How many of a run's worst cases are of low Dice, and how many are false positives."""

Case = Mapping[str, Any]
"""A row of `cases.<mode>.csv`."""


@dataclass(frozen=True)
class Picture:
    """One test case as a run sees it in one mode.

    Attributes:
        case: its row of `cases.<mode>.csv`.
        image: H×W, uint8.
        truth: H×W.
        prediction: H×W.
    """

    case: Case
    image: NDArray[np.uint8]
    truth: NDArray[np.bool_]
    prediction: NDArray[np.bool_]


def load_arrays(file: Path) -> dict[str, NDArray]:
    """The arrays of an `.npz`, which several figures in turn may need."""
    return _load(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=5)
def _load(file: Path, changed: int) -> dict[str, NDArray]:
    with np.load(file) as arrays:
        return dict(arrays)


def of_same_case(pictures: Sequence[Picture | None]) -> list[Picture | None]:
    """Those of the same image and truth as the first one that is there; `None` for the others.

    Another data set may have the same ids.
    """
    first = next(filter(None, pictures), None)

    def is_same(picture: Picture) -> bool:
        pairs = ((picture.image, first.image), (picture.truth, first.truth)) if first else ()
        return all(np.array_equal(one, other) for one, other in pairs)

    return [picture if picture and is_same(picture) else None for picture in pictures]


def score_of(case: Case) -> str:
    """Dice of a case, or what is wrongly taken for a tumour where there is none."""
    return f"{case['fp']} px wrong" if case["dice"] is None else f"Dice {case['dice']:.3f}"


def name_of(case: Case, width: int) -> str:
    """Class and id of a case, in lines of at most `width` characters."""
    return "\n".join([case["class"], *wrap(f"id {case['id']}", width)])


def tell_case(case: Case) -> str:
    """Class, id and score of a case, as part of a sentence."""
    return f"{case['class']}, id {case['id']}: {score_of(case)}"


def showcase_modes() -> list[str]:
    """Quantized modes in the order in which a figure takes one to stand for all of them."""
    modes = vocabulary.MODES
    return sorted(vocabulary.quantized_modes(), key=lambda name: modes[name].showcase or len(modes))


def shown_mode(run: Run, modes: Iterable[str] = FLOAT_MODES) -> str | None:
    """The first of `modes` that was scored and whose predictions are there to be shown."""
    for mode in modes:
        if all(file.exists() for file in (run.test, run.predictions(mode), run.cases(mode))):
            return mode
    return None


def read_float_cases(run: Run) -> list[dict[str, Any]]:
    """The cases of the network itself, none where it was not scored."""
    mode = run.float_mode()
    return read_cases(run.cases(mode)) if mode else []


def read_pictures(run: Run, mode: str | None, ids: Collection[str]) -> dict[str, Picture]:
    """Those of `ids` that were scored in `mode`, by id.

    Args:
        run: the run.
        mode: one that `shown_mode` gave; with `None` there are no pictures.
        ids: the cases to read.
    """
    if mode is None:
        return {}
    cases = {case["id"]: case for case in read_cases(run.cases(mode)) if case["id"] in ids}
    seen = _take(run.test, ("images", "masks"), cases)
    found = _take(run.predictions(mode), ("probabilities",), cases)
    return {
        name: Picture(cases[name], image, mask > 0, probabilities >= THRESHOLD)
        for name in ids
        if name in seen and name in found
        for (image, mask), (probabilities,) in [(seen[name], found[name])]
    }


def by_class(cases: Iterable[Case]) -> dict[str, list[Case]]:
    """Cases of each class, in their order; other classes follow by name."""
    members: dict[str, list[Case]] = {}
    for case in cases:
        members.setdefault(case["class"], []).append(case)
    return {
        name: members[name]
        for name in sorted(members, key=lambda name: rank(name, vocabulary.CLASSES))
    }


def typical_cases(run: Run, mode: str) -> dict[str, Case]:
    """The typical case of each class in `mode`, by id."""
    members = by_class(read_cases(run.cases(mode)))
    return {case["id"]: case for case in map(typical, members.values())}


def typical(cases: Sequence[Case]) -> Case:
    """The case of median Dice; where none has a tumour, that of the median of wrong pixels.

    Of two in the middle the worse one is taken.
    """
    tumor = [case for case in cases if case["dice"] is not None]
    ranked = sorted(tumor or cases, key=worst_first)
    return ranked[(len(ranked) - 1) // 2]


def worst(cases: Iterable[Case]) -> tuple[list[Case], list[Case]]:
    """Up to `LOWEST` cases of low Dice, and `FALSE` without tumour with most pixels taken for one.

    The former are the worst of each class in turn, and of one patient no more than one: otherwise
    a patient who is hard would be all that is seen.
    """
    ranked = sorted(cases, key=worst_first)
    tumor = _one_per_patient(case for case in ranked if case["dice"] is not None)
    turns = chain.from_iterable(zip_longest(*by_class(tumor).values()))
    lowest = [case for case in turns if case is not None][:LOWEST]
    false = [case for case in ranked if case["dice"] is None and case["fp"]][:FALSE]
    return sorted(lowest, key=worst_first), false


def worst_first(case: Case) -> tuple[float, int, str]:
    """Sort key: low Dice first, then many wrong pixels."""
    return case["dice"] or 0.0, -case["fp"] - case["fn"], case["id"]


def _one_per_patient(cases: Iterable[Case]) -> list[Case]:
    """The first case of each patient; those of unknown ones all stay."""
    firsts: dict[tuple[str, str], Case] = {}
    for case in cases:
        firsts.setdefault((case["patient"], "" if case["patient"] else case["id"]), case)
    return list(firsts.values())


def _take(file: Path, names: Iterable[str], ids: Collection[str]) -> dict[str, list[NDArray]]:
    """By id, what arrays of an `.npz` say of a case."""
    arrays = load_arrays(file)
    return {
        case: [arrays[name][row] for name in names]
        for row, case in enumerate(arrays["ids"].tolist())
        if case in ids
    }
