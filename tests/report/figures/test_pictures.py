from itertools import pairwise

import numpy as np
import pytest

from brainseg import vocabulary
from brainseg.files import read_csv, write_csv, write_npz
from brainseg.report.pictures import (
    FALSE,
    LOWEST,
    by_class,
    name_of,
    of_same_case,
    read_float_cases,
    read_pictures,
    score_of,
    showcase_modes,
    shown_mode,
    typical,
    typical_cases,
    worst,
    worst_first,
)


def case(name, dice, fp=0, fn=0, label="glioma", patient=""):
    counts = {"fp": fp, "fn": fn, "tp": 1}
    return {"id": name, "class": label, "patient": patient, "dice": dice, **counts}


def test_pictures_are_joined_by_id(own_runs):
    run = own_runs["ag"][0]
    with np.load(run.predictions("fp32")) as file:
        ids, maps = file["ids"][::-1], file["probabilities"][::-1]
    write_npz(run.predictions("fp32"), ids=ids, probabilities=maps)
    with np.load(run.test) as test:
        masks, images = test["masks"], test["images"]
    pictures = read_pictures(run, "fp32", ["case5", "case2"])
    assert list(pictures) == ["case5", "case2"]
    for number, name in ((5, "case5"), (2, "case2")):
        picture = pictures[name]
        assert picture.case["id"] == name
        np.testing.assert_array_equal(picture.image, images[number])
        np.testing.assert_array_equal(picture.truth, masks[number] > 0)
        np.testing.assert_array_equal(picture.prediction, maps[::-1][number] >= 128)


def test_scores_of_pictures_are_those_of_their_pixels(runs):
    for picture in read_pictures(runs["se"][0], "fp32", [f"case{i}" for i in range(8)]).values():
        found = int((picture.truth & picture.prediction).sum())
        assert found == picture.case["tp"]


def test_cases_that_were_not_scored_or_not_predicted_are_left_out(own_runs):
    run = own_runs["ag"][0]
    assert "case8" not in read_pictures(run, "fp32", ["case8"])
    with np.load(run.predictions("fp32")) as file:
        write_npz(
            run.predictions("fp32"),
            ids=file["ids"][1:],
            probabilities=file["probabilities"][1:],
        )
    assert list(read_pictures(run, "fp32", ["case0", "case1"])) == ["case1"]


def test_pictures_of_other_data_with_the_same_id_are_not_of_the_same_case(alike):
    first, second = (
        read_pictures(run, "fp32", ["case0", "case1", "case2"]) for (run,) in alike.values()
    )
    for name in first:
        shown = of_same_case([None, first[name], second[name]])
        assert shown == [None, first[name], second[name] if name == "case2" else None]
    assert of_same_case([None]) == [None]


def test_without_a_mode_there_are_no_pictures(runs):
    assert read_pictures(runs["ag"][0], None, ["case0"]) == {}


def test_the_checkpoint_stands_in_for_fp32(own_runs):
    run = own_runs["ag"][0]
    cases = run.read(run.cases("fp32"))
    assert shown_mode(run) == "fp32"
    run.cases("fp32").rename(run.cases("checkpoint"))
    assert shown_mode(run) is None
    assert read_float_cases(run) == cases
    run.predictions("fp32").rename(run.predictions("checkpoint"))
    assert shown_mode(run) == "checkpoint"


def test_showcase_modes_come_first_and_every_mode_is_known(own_runs, monkeypatch):
    others = ["fp16", "int8_weights", "int8_qat"]
    assert showcase_modes() == ["int8_static", "int8_dynamic", *others]
    run = own_runs["ag"][0]
    assert shown_mode(run, showcase_modes()) == "int8_static"
    monkeypatch.setitem(vocabulary.MODES, "int4", vocabulary.Mode("int4", "In 4 bits."))
    for file in (run.cases, run.predictions):
        file("int8_static").rename(file("int4"))
    assert shown_mode(run, showcase_modes()) == "int4"


@pytest.mark.parametrize(("dices", "chosen"), [([0.9, 0.1, 0.5], "2"), ([0.9, 0.1, 0.5, 0.6], "2")])
def test_the_typical_case_has_the_median_dice(dices, chosen):
    assert typical([case(str(i), dice) for i, dice in enumerate(dices)])["id"] == chosen


def test_without_a_tumour_the_typical_case_has_the_median_of_wrong_pixels():
    cases = [case("a", None, 0), case("b", None, 70), case("c", None, 5)]
    assert typical(cases)["id"] == "c"


def test_cases_with_a_tumour_speak_for_a_class_that_has_both():
    cases = [case("a", None, 500), case("b", 0.4), case("c", None)]
    assert typical(cases)["id"] == "b"


def test_the_worst_case_is_the_first():
    cases = [case("d", 0.2), case("c", 0.0, 5, 9), case("b", 0.0, 80, 9), case("a", 0.0, 5, 9)]
    assert [each["id"] for each in sorted(cases, key=worst_first)] == ["b", "a", "c", "d"]


def test_classes_stand_in_their_order_and_unknown_ones_follow():
    labels = ("notumor", "other", "pituitary", "glioma", "astrocytoma")
    found = by_class([case("a", 0.5, label=label) for label in labels])
    assert list(found) == ["glioma", "pituitary", "notumor", "astrocytoma", "other"]


def test_one_typical_case_per_class(runs):
    chosen = typical_cases(runs["none"][0], "fp32")
    assert [each["class"] for each in chosen.values()] == [
        "glioma",
        "meningioma",
        "pituitary",
        "notumor",
    ]


def test_choice_does_not_hang_on_the_order_of_rows(own_runs):
    run = own_runs["none"][0]
    before = typical_cases(run, "fp32")
    rows = read_csv(run.cases("fp32"))
    write_csv(run.cases("fp32"), rows[::-1], list(rows[0]))
    assert typical_cases(run, "fp32") == before


def test_scores_and_names_as_people_read_them():
    assert score_of(case("a", 0.87654)) == "Dice 0.877"
    assert score_of(case("a", None, 12)) == "12 px wrong"
    assert name_of(case("7", 0.5), 20) == "glioma\nid 7"
    lines = name_of(case("Training-notumor-Tr-no_0031", None), 20).split("\n")
    assert max(map(len, lines)) <= 20
    assert "".join(lines[1:]).replace(" ", "") == "idTraining-notumor-Tr-no_0031"


def test_one_hard_patient_or_class_is_not_all_that_is_seen():
    hard = [case(f"h{at}", 0.0, patient="hard") for at in range(20)]
    gliomas = [case(f"g{at}", 0.1 + at / 100, patient=f"g{at}") for at in range(20)]
    others = [case(f"m{at}", 0.8, label="meningioma", patient=f"m{at}") for at in range(2)]
    unknown = [case(f"p{at}", 0.7, label="pituitary") for at in range(20)]
    healthy = [case(f"n{at}", None, fp=at, label="notumor") for at in range(9)]
    lowest, false = worst([*gliomas, *hard, *others, *unknown, *healthy])
    assert len(lowest) == LOWEST
    assert [each["id"] for each in lowest[:2]] == ["h0", "g0"]
    labels = [each["class"] for each in lowest]
    assert {name: labels.count(name) for name in set(labels)} == {
        "glioma": 3,
        "meningioma": 2,
        "pituitary": 3,  # whose patients are unknown
    }
    assert all(a["dice"] <= b["dice"] for a, b in pairwise(lowest))
    assert [each["fp"] for each in false] == [8, 7, 6, 5][:FALSE]
