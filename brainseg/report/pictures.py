"""Test cases of a run as pictures, and the rules by which figures choose among them.

Nothing is drawn here: the viewer, which does without matplotlib, chooses by the same rules.
"""

import hashlib
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
from brainseg.evaluation.cases import THRESHOLD
from brainseg.run import Run
from brainseg.vocabulary import FLOAT_MODES, rank

SHOWN = ("test", "cases", "predictions")
"""Files of a run that pictures are read from: attributes of `Run`."""

LOWEST, FALSE = 8, 4
"""How many of a run's worst cases are of low Dice, and how many are false positives."""

Case = Mapping[str, Any]
"""A row of `cases.<mode>.csv`."""

Key = tuple[str, bytes]
"""Id of a case, and a digest of image and truth: another data set may have the same ids."""


@dataclass(frozen=True)
class Slice:
    """One test case: id, class and patient, and image and truth, both H×W."""

    case: Case
    image: NDArray[np.uint8]
    truth: NDArray[np.bool_]

    @property
    def key(self) -> Key:
        """The same for the same case."""
        pixels = self.image.tobytes() + self.truth.tobytes()
        return self.case["id"], hashlib.sha256(pixels).digest()


@dataclass(frozen=True)
class Picture(Slice):
    """One test case with its row of `cases.<mode>.csv` and what a run predicts (H×W)."""

    prediction: NDArray[np.bool_]


def load_arrays(run: Run, file: Path) -> dict[str, NDArray]:
    """The arrays of an `.npz` of a run, which several figures in turn may need."""
    return _load(run, file, file.stat().st_mtime_ns)


@lru_cache(maxsize=5)
def _load(run: Run, file: Path, changed: int) -> dict[str, NDArray]:
    return run.read(file)


def of_same_case(pictures: Sequence[Picture | None]) -> list[Picture | None]:
    """Those of the same case as the first one that is there; `None` for the others."""
    first = next((picture.key for picture in pictures if picture), None)
    return [picture if picture and picture.key == first else None for picture in pictures]


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
    return run.read(run.cases(mode)) if mode else []


def read_pictures(run: Run, mode: str | None, ids: Collection[str]) -> dict[str, Picture]:
    """Those of `ids` that were scored in `mode`, by id; none without a mode (see `shown_mode`)."""
    if mode is None:
        return {}
    cases = {case["id"]: case for case in run.read(run.cases(mode))}
    slices, masks = read_slices(run), read_predictions(run, mode)
    return {
        name: Picture(cases[name], slices[name].image, slices[name].truth, masks[name])
        for name in ids
        if name in cases and name in slices and name in masks
    }


def read_slices(run: Run) -> dict[str, Slice]:
    """The test cases of a run by id, in their order."""
    arrays = load_arrays(run, run.test)
    names = zip(*(arrays[key].tolist() for key in ("ids", "classes", "patients")), strict=True)
    cases = [dict(zip(("id", "class", "patient"), each, strict=True)) for each in names]
    found = map(Slice, cases, arrays["images"], arrays["masks"] > 0)
    return {each.case["id"]: each for each in found}


def read_predictions(run: Run, mode: str) -> dict[str, NDArray[np.bool_]]:
    """What a run predicts in a mode, H×W, by id."""
    arrays = load_arrays(run, run.predictions(mode))
    return dict(zip(arrays["ids"].tolist(), arrays["probabilities"] >= THRESHOLD, strict=True))


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
    members = by_class(run.read(run.cases(mode)))
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
