import pytest

from brainseg.deploy.rows import (
    KEY,
    VALUES,
    derive,
    drop_rows,
    new_row,
    read_rows,
    upsert_rows,
    with_reference,
)
from brainseg.run import Run

SPEC = """
mode options runtime device batch threads status reason size_bytes size_ratio mean_iou
tumor_iou dice delta_mean_iou latency_ms speedup speedup_vs_reference passes placement load_ms
peak_memory_mb session measured_at noisy
"""


def row(mode="fp32", device="cpu", threads=2, **values):
    return new_row(mode, device=device, threads=threads, **values)


def test_a_row_has_all_keys():
    assert set(SPEC.split()) <= set(row()) == {*KEY, *VALUES}
    assert len(set(KEY) | set(VALUES)) == len(KEY) + len(VALUES)
    given = row("int8_dynamic", "cuda", status="unavailable", reason="no CUDA")
    assert (given["mode"], given["device"], given["batch"]) == ("int8_dynamic", "cuda", 1)
    assert (given["status"], given["reason"]) == ("unavailable", "no CUDA")
    assert given["latency_ms"] is given["peak_memory_mb"] is None


def test_a_misspelt_value_is_refused():
    with pytest.raises(KeyError, match="latency"):
        row(latency=3)


def test_a_row_takes_the_place_of_the_one_with_its_key(tmp_path):
    run = Run(tmp_path)
    assert read_rows(run) == []
    upsert_rows(run, [row(dice=0.1), row("int8_dynamic", dice=0.2)])
    upsert_rows(run, [row(dice=0.3), row(threads=1, dice=0.4), row(device="cuda", dice=0.5)])
    found = [(r["mode"], r["device"], r["threads"], r["dice"]) for r in read_rows(run)]
    assert found == [
        ("fp32", "cpu", 2, 0.3),
        ("int8_dynamic", "cpu", 2, 0.2),
        ("fp32", "cpu", 1, 0.4),
        ("fp32", "cuda", 2, 0.5),
    ]


def test_options_are_part_of_the_key(tmp_path):
    run = Run(tmp_path)
    upsert_rows(run, [row(), row() | {"options": {"calibration": "minmax", "images": 100}}])
    upsert_rows(run, [row() | {"options": {"images": 100, "calibration": "minmax"}, "dice": 1.0}])
    assert [r["dice"] for r in read_rows(run)] == [None, 1.0]


def test_rows_are_compared_with_fp32_at_the_same_place():
    rows = derive(
        [
            row(mean_iou=0.8, size_bytes=100, speedup=1.0),
            row("int8_dynamic", mean_iou=0.75, size_bytes=37, speedup=0.5),
            row(device="cuda", mean_iou=0.6, size_bytes=100),
            row("int8_dynamic", "cuda", mean_iou=0.7, size_bytes=37),
            row("int8_dynamic", threads=1, mean_iou=0.75, size_bytes=37),
        ]
    )
    assert [r["delta_mean_iou"] for r in rows] == pytest.approx([0, -0.05, 0, 0.1, None])
    assert [r["size_ratio"] for r in rows] == [1, 0.37, 1, 0.37, None]
    assert [r["speedup_vs_reference"] for r in rows] == [1.0, 0.5, None, None, None]


def test_comparisons_follow_a_new_reference(tmp_path):
    run = Run(tmp_path)
    upsert_rows(run, [row("int8_dynamic", mean_iou=0.5)])
    assert read_rows(run)[0]["delta_mean_iou"] is None
    upsert_rows(run, [row(mean_iou=0.75)])
    assert read_rows(run)[0]["delta_mean_iou"] == -0.25
    drop_rows(run, "fp32")
    assert [(r["mode"], r["delta_mean_iou"]) for r in read_rows(run)] == [("int8_dynamic", None)]


def test_an_undefined_metric_gives_no_difference():
    rows = derive([row(mean_iou=None), row("int8_dynamic", mean_iou=0.5)])
    assert [r["delta_mean_iou"] for r in rows] == [None, None]


def test_dropping_what_is_not_there_writes_nothing(tmp_path):
    drop_rows(Run(tmp_path), "fp32")
    assert list(tmp_path.iterdir()) == []


def test_fp32_comes_first_and_once():
    assert with_reference([]) == ["fp32"]
    assert with_reference(["int8_dynamic", "fp32"]) == ["fp32", "int8_dynamic"]
