"""What a row says of a mode against fp32, and how rows of older versions come to it."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from brainseg.deploy import stages
from brainseg.evaluation.changes import compare_maps, dice_change, mean_iou_change
from brainseg.files import write_json
from brainseg.rows import read_rows, write_rows
from brainseg.scoring import changes
from brainseg.scoring.changes import CHANGES, compare, complete
from brainseg.scoring.scores import Scores

HERE = "onnxruntime-cpu"


def many(cases, **values):
    """The cases as if of eight patients."""
    return [
        case | {"patient": f"{case['patient']}-{copy}"} | values
        for copy in range(4)
        for case in cases
    ]


@pytest.fixture
def old(run):
    """A run as an older version leaves it, with what this one found."""
    rows = read_rows(run)
    added = set(CHANGES) - {"delta_mean_iou_interval"} | {"delta_dice"}
    write_json(
        run.deploy,
        [{key: value for key, value in asdict(row).items() if key not in added} for row in rows],
    )
    return run, rows


def test_a_row_holds_what_the_evaluation_room_says(run):
    before, after = (Scores.read(run, mode, HERE) for mode in ("fp32", "int8_dynamic"))
    maps = [run.read(run.predictions(mode))["probabilities"] for mode in ("fp32", "int8_dynamic")]
    few = compare(before, after)
    assert few == compare_maps(*maps) | {
        **dict.fromkeys(CHANGES[:3]),
        "tost": {"val": None, "test": None},  # three patients
    }
    assert set(few) == set(CHANGES)
    assert few["probability_mae"] > 0
    before, after = (
        replace(each, test=many(each.test), val=many(each.val, fp=7)) for each in (before, after)
    )
    found = compare(before, after)
    assert found["delta_mean_iou_interval"] == mean_iou_change(before.test, after.test)
    assert found["delta_val_mean_iou_interval"] == mean_iou_change(before.val, after.val)
    assert found["delta_dice_interval"] == dice_change(before.test, after.test)
    assert found["tost"] == {
        "val": mean_iou_change(before.val, after.val, 0.9),
        "test": mean_iou_change(before.test, after.test, 0.9),
    }
    (low, high), (lower, higher) = found["tost"]["test"], found["delta_mean_iou_interval"]
    assert lower <= low <= high <= higher


def test_the_row_of_a_mode_has_it(run):
    fp32, int8 = read_rows(run)
    assert not any(row.lacks_tost for row in (fp32, int8))
    assert int8.tost == {"val": None, "test": None}
    assert int8.delta_dice == int8.dice - fp32.dice
    maps = [run.read(run.predictions(row.mode))["probabilities"] for row in (fp32, int8)]
    assert int8.disagreement == np.mean((maps[0] >= 128) != (maps[1] >= 128))
    assert fp32.tost is fp32.disagreement is None


def test_rows_of_older_versions_are_completed_without_a_network(old, monkeypatch):
    run, expected = old
    assert [row.lacks_tost for row in read_rows(run)] == [False, True]
    monkeypatch.setattr("brainseg.runtime.open.open_session", None)
    monkeypatch.setattr("brainseg.model.checkpoint.load_network", None)
    assert stages.prepare(run, ["int8_dynamic"]) == ["compared int8_dynamic with fp32"]
    assert read_rows(run) == expected
    assert stages.prepare(run, ["int8_dynamic"]) == []


def test_what_is_not_kept_is_left_out(old):
    run, _ = old
    run.predictions("fp32").unlink()
    write_json(run.scored, {})  # of a version that noted nothing
    run.made("int8_dynamic").unlink()
    run.made("fp32").unlink()
    assert complete(run, "int8_dynamic")
    row = read_rows(run)[1]
    assert (row.disagreement, row.tost) == (None, {"val": None, "test": None})
    write_rows(run, [replace(row, tost=None, network="another") for row in read_rows(run)])
    assert not complete(run, "int8_dynamic")
    run.cases("fp32").unlink()
    assert not complete(run, "int8_dynamic")


def test_a_place_is_compared_once_for_all_its_rows(old, monkeypatch):
    run, _ = old
    fp32, int8 = read_rows(run)
    write_rows(run, [fp32, *(replace(int8, threads=threads) for threads in (1, 2))])
    compared = []
    monkeypatch.setattr(changes, "compare", lambda *pair: compared.append(pair) or compare(*pair))
    assert complete(run, "int8_dynamic")
    assert len(compared) == 1
    assert not any(row.lacks_tost for row in read_rows(run))
