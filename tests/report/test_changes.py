"""What is said of a mode against fp32."""

from typing import Any

import pytest

from brainseg.report.changes import TITLE, UNCOMPARED, change_table
from brainseg.report.rows import TableRow, mean_interval

FP32 = {"mode": "fp32", "delta_mean_iou": 0.0, "delta_val_mean_iou": 0.0}
FOUND: dict[str, Any] = {
    **{"delta_mean_iou": -0.0003, "delta_val_mean_iou": 0.0002, "delta_dice": -0.001},
    **{"tost": {"val": [-0.0001, 0.0005], "test": [-0.0009, 0.0003]}},
    **{"delta_dice_interval": [-0.002, 0.0001], "probability_mae": 0.00213},
    "disagreement": 0.000412,
}


def row(mode: str = "int8_static", **values: Any) -> TableRow:
    place = {"runtime": "onnxruntime", "device": "cpu", "threads": 2}
    of_run = {"run": "ag-seed0", "variant": "ag", "mode": mode}
    return TableRow(**place | of_run | FOUND | values)


def told(rows: list[TableRow], margin: float = 0.0004) -> list[dict[str, str]]:
    table = change_table(rows, margin)
    assert table.title == TITLE
    return [dict(zip(table.columns, cells, strict=True)) for cells in table.rows]


def test_a_row_says_what_changes_and_what_is_shown_of_it() -> None:
    assert told([row(**FP32), row()]) == [
        {
            "Variant": "ag",
            "Mode": "int8_static",
            "Device": "cpu",
            "Δ validation": "+0.0002 (−0.0001 to +0.0005)",
            "Equivalent within": "0.0005 (not worse)",
            "Δ test": "−0.0003 (−0.0009 to +0.0003)",
            "Equivalent within, test": "0.0009 (not shown)",
            "Δ probability": "0.0021",
            "Pixels changed": "0.041 %",
            "Δ Dice": "−0.0010 (−0.0020 to +0.0001)",
        }
    ]
    (found,) = told([row()], 0.001)
    assert found["Equivalent within"] == "0.0005 (equivalent)"
    assert found["Equivalent within, test"] == "0.0009 (equivalent)"
    assert "At a margin of 0.001 (--margin)" in change_table([row()], 0.001).notes[0]


def test_a_mode_has_a_row_in_each_place_that_scored_it() -> None:
    rows = [
        row(),
        row(threads=1),
        row(batch=8),
        row(device="cuda", scores_from="onnxruntime-cpu"),
        row(runtime="openvino", disagreement=0.0),
        row("fp32", runtime="openvino", options={"precision": "bf16"}),
        row("fp16", status="failed"),
    ]
    found = [(each["Mode"], each["Device"], each["Pixels changed"]) for each in told(rows)]
    assert found == [
        ("fp32 (bf16)", "cpu (openvino)", "0.041 %"),
        ("int8_static", "cpu", "0.041 %"),
        ("int8_static", "cpu (openvino)", "0 %"),
    ]


def test_seeds_are_averaged() -> None:
    other = {"tost": {"val": [-0.0003, 0.0001], "test": None}, "disagreement": 0.0}
    (found,) = told([row(), row(run="ag-seed1", delta_val_mean_iou=0.0, **other)])
    assert found["Δ validation"] == "+0.0001 (−0.0002 to +0.0003)"
    assert found["Equivalent within"] == "0.0003 (equivalent)"
    assert found["Δ test"] == "−0.0003"
    assert found["Equivalent within, test"] == "–"
    assert found["Pixels changed"] == "0.021 %"


def test_an_averaged_interval_is_not_too_narrow() -> None:
    """Two seeds whose changes are independent: the interval of the mean is narrower by √2."""
    found = mean_interval([[-0.2, 0.2], [-0.1, 0.3]])
    assert found == pytest.approx((-0.15, 0.25))
    assert found is not None
    assert found[1] - found[0] > (0.4**2 + 0.4**2) ** 0.5 / 2
    assert mean_interval([]) is mean_interval([[0, 1], None]) is None


def test_rows_of_older_versions_say_what_compares_them() -> None:
    old = {name: None for name in FOUND if name not in ("delta_mean_iou", "delta_val_mean_iou")}
    rows = [row(**old, mean_iou=0.8)]
    (found,) = told(rows)
    assert found["Δ validation"] == "+0.0002"
    assert [found[name] for name in list(found)[6:]] == ["–"] * 4
    assert UNCOMPARED in change_table(rows, 0.0004).notes
    assert UNCOMPARED not in change_table([row()], 0.0004).notes
    assert change_table([row(**FP32)], 0.0004).rows == []
