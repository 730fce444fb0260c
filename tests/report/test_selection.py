from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from brainseg.report.pictures import Key, Slice
from brainseg.report.selection import Candidate, choose_pictures, drawn_ids, tell_rule


def picture(name: str, label: str, *scores: float, drawn: bool = False) -> tuple[Key, Candidate]:
    """A case with the Dice of each variant, or with the wrong pixels where it has no tumour."""
    tumour = label != "notumor"
    rows = [
        {"dice": score if tumour else None, "fp": 0 if tumour else int(score)} for score in scores
    ]
    case = Slice({"id": name, "class": label}, np.zeros((4, 4), np.uint8), np.full((4, 4), tumour))
    return case.key, Candidate(name, case, rows, drawn)


def choose(pictures: Sequence[tuple[Key, Candidate]], limit: int) -> list[str]:
    known: Mapping[Key, Candidate] = dict(pictures)
    return [name for name, _ in choose_pictures(known, limit)]


def test_cases_are_chosen_by_rule() -> None:
    sizes = np.random.default_rng(0).permutation(np.arange(1, 12))
    pictures = [
        *(picture(f"g{size}", "glioma", size / 11) for size in sizes),
        picture("m1", "meningioma", 0.5),
        *(picture(f"n{size}", "notumor", size) for size in sizes),
    ]
    shown = choose(pictures, 11)
    # Five of each class, except that one of meningioma is all there is; in the order of the data.
    assert shown == [key[0] for key, _ in pictures if key[0] in shown]
    assert {name for name in shown if name[0] == "g"} == {"g1", "g3", "g6", "g8", "g11"}
    assert "m1" in shown
    negative = {name for name in shown if name[0] == "n"}
    assert {"n11", "n10", "n9"} <= negative
    assert len(negative) == 5


@pytest.mark.parametrize("limit", range(1, 12))
def test_no_case_is_chosen_twice_and_the_worst_always(limit: int) -> None:
    shown = choose([picture(str(size), "glioma", size / 11) for size in range(1, 12)], limit)
    assert len(set(shown)) == limit
    assert "1" in shown
    assert "6" in shown or limit == 1
    assert "11" in shown or limit < 3


def test_the_worst_counts_over_variants() -> None:
    pictures = [
        *(picture("a", "glioma", 1.0, 0.02), picture("b", "glioma", 0.7, 0.7)),
        *(picture("c", "notumor", 4, 25), picture("d", "notumor", 9, 9)),
    ]
    assert choose(pictures, 2) == ["a", "c"]


@pytest.mark.parametrize("limit", [2, 3, 4])
def test_cases_of_figures_come_first(limit: int) -> None:
    pictures = [picture(str(n), "glioma", n / 9, drawn=n in (4, 7, 8)) for n in range(1, 9)]
    assert choose(pictures, limit) == [*(["1"] if limit == 4 else []), "4", "7", "8"]


def test_figures_draw_typical_worst_and_attended_cases() -> None:
    def case(number: int, label: str, dice: float | None, fp: int) -> dict[str, object]:
        counts = {"tp": number, "fn": 0, "fp": fp}
        names = {"id": f"{label[0]}{number}", "class": label, "patient": ""}
        return names | {"dice": dice, **counts}

    cases = [
        *(case(number, "glioma", number / 50, 0) for number in range(1, 50)),
        *(case(number, "notumor", None, number) for number in range(11)),
    ]
    worst = {*(f"g{number}" for number in range(1, 9)), "n7", "n8", "n9", "n10"}
    # The median of eleven numbers of wrong pixels is the sixth.
    assert drawn_ids(cases, []) == {*worst, "g25", "n5"}
    assert drawn_ids(cases, ["g30", "g33", "n2"]) == {*worst, "g25", "n5", "g33", "n2"}


def test_the_rule_is_told() -> None:
    assert tell_rule(2, 2) == "All 2 test cases are shown."
    assert tell_rule(11, 23).startswith("11 of 23 test cases are shown: those in the figures")
