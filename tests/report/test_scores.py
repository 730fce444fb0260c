"""Metrics as people read them."""

import pytest

from brainseg.evaluation.cases import summarize
from brainseg.experiment import find_evaluations
from brainseg.files import write_json
from brainseg.report.external import external_table
from brainseg.report.render import Table, to_markdown
from brainseg.report.scores import (
    score_columns,
    score_rows,
    show_evaluation,
    with_interval,
)
from brainseg.run import Run


def case(name, patient, class_, tp, fp):
    counts = {"tp": tp, "fp": fp, "fn": 100 - tp if class_ != "notumor" else 0, "tn": 1000}
    dice = None if class_ == "notumor" else 2 * tp / (tp + fp + 100)
    distance = None if class_ == "notumor" else 3.25
    return {
        "id": name,
        "class": class_,
        "patient": patient,
        "dice": dice,
        "hd95_px": distance,
    } | counts


CASES = [
    case("a", "p", "glioma", 80, 0),
    case("b", "q", "glioma", 0, 0),
    case("c", "", "notumor", 0, 5),
    case("d", "", "notumor", 0, 0),
]
IOUS = ("Mean IoU", "Tumour IoU")
"""Without a tumour they tell no more than whether one pixel is wrong."""

METRICS = summarize(CASES) | {"unmasked": {}}


def cells():
    return [dict(zip(score_columns(), row, strict=True)) for row in score_rows(METRICS)]


def test_all_images_come_first_then_each_class():
    assert [row["Class"] for row in cells()] == ["all", "glioma", "notumor"]
    everything, glioma, notumor = cells()
    assert (everything["Images"], everything["Patients"]) == ("4", "2")
    assert everything["Detected"] == glioma["Detected"] == "50.0%"
    assert everything["False positives"] == notumor["False positives"] == "50.0%"
    assert everything["HD95, px"] == "3.2"


def test_what_is_undefined_is_a_dash():
    notumor = cells()[2]
    for name in ("Dice", "Dice per patient", "HD95, px", "Detected", "Patients", *IOUS):
        assert notumor[name] == "–"
    assert cells()[1]["False positives"] == "–"


def test_an_interval_stands_in_brackets_where_there_is_one():
    known = {"dice": 0.5, "dice_interval": [0.4321, 0.6]}
    assert with_interval(known, "dice") == "0.500 (0.432–0.600)"
    assert with_interval({"dice": 0.5, "dice_interval": None}, "dice") == "0.500"
    rate = {"detection_rate": 0.5, "detection_rate_interval": [0.25, 0.75]}
    assert with_interval(rate, "detection_rate") == "50.0% (25.0%–75.0%)"
    assert with_interval({"dice": None}, "dice") == "–"
    assert with_interval({}, "patient_dice") == "–"  # written by an earlier version


def test_a_table_as_markdown():
    table = Table("t", ["a", "b"], [["x|y", "1"]], ["A note."], ["b"])
    assert to_markdown(table) == "| a | b |\n| --- | ---: |\n| x\\|y | 1 |\n\n- A note."


CLINIC = {
    **{"name": "clinic [1]", "folder": "/data/clinic", "n": 4, "clusters": 4, "unmasked": 60},
    **{"of_own_test": 0, "synthetic": False},
}


@pytest.fixture
def evaluated(tmp_path):
    run = Run(tmp_path / "ag-seed0")
    found = Run(run.evaluations / "clinic [1]")
    unmasked = {"pituitary": {"n": 60, "predicted_share": 0.75}}
    facts = {"data": CLINIC, "modes": ["checkpoint"], "left_out": {}, "unchecked": None}
    write_json(found.evaluation, facts | {"status": "finished"})
    write_json(found.metrics, METRICS | {"unmasked": unmasked})
    write_json(Run(run.evaluations / "unfinished").evaluation, facts | {"status": "running"})
    return run


def test_only_finished_evaluations_are_found(evaluated):
    assert [found.path.name for found in find_evaluations(evaluated)] == ["clinic [1]"]
    rows = external_table({"ag": [evaluated]}).rows
    assert rows[0][:4] == ["ag", "clinic [1]", "checkpoint", "all"]
    assert external_table({"none": [Run(evaluated.path / "none")]}).rows == []


def test_an_evaluation_is_printed_with_what_could_not_be_scored(evaluated, capsys):
    show_evaluation(find_evaluations(evaluated)[0])
    printed = capsys.readouterr().out
    assert "checkpoint on clinic [1]" in printed
    assert f"{METRICS['mean_iou']:.3f}" in printed
    assert "pituitary, no outlines: tumour predicted in 75.0% of 60 images" in printed
    assert str(evaluated.evaluations / "clinic [1]") in printed.replace("\n", "")
