from dataclasses import asdict, fields

import pytest

from brainseg.files import write_json
from brainseg.row import KEY, Row, derive
from brainseg.rows import drop_rows, read_rows, upsert_rows
from brainseg.run import Run

SPEC = """
mode options runtime device batch threads status reason size_bytes size_ratio mean_iou
tumor_iou dice delta_mean_iou latency_ms speedup speedup_vs_reference passes placement load_ms
peak_memory_mb session measured_at noisy end_to_end_ms kernels memcpy_nodes val_mean_iou
delta_val_mean_iou delta_mean_iou_interval delta_val_mean_iou_interval delta_dice
delta_dice_interval tost probability_mae disagreement
"""


def row(mode="fp32", device="cpu", threads=2, **values):
    return Row(mode=mode, device=device, threads=threads, **values)


def test_a_row_has_all_keys():
    names = [each.name for each in fields(Row)]
    assert set(SPEC.split()) <= set(names)
    assert set(KEY) <= set(names)
    given = row("int8_dynamic", "cuda", status="unavailable", reason="no CUDA")
    assert (given.mode, given.device, given.batch) == ("int8_dynamic", "cuda", 1)
    assert (given.status, given.reason) == ("unavailable", "no CUDA")
    assert given.latency_ms is given.peak_memory_mb is given.median_ms is None
    assert given.measured_at


def test_a_misspelt_value_is_refused():
    with pytest.raises(TypeError, match="latency"):
        row(latency=3)


def test_baseline_and_reference_are_two_things():
    plain, bf16 = row(runtime="openvino"), row(runtime="openvino", options={"precision": "bf16"})
    assert (plain.is_baseline, plain.is_reference) == (True, False)
    assert (bf16.is_baseline, bf16.precision) == (False, "bf16")
    assert row().is_baseline
    assert row().is_reference
    assert not row("fp16").is_baseline


def test_a_row_takes_the_place_of_the_one_with_its_key(tmp_path):
    run = Run(tmp_path)
    assert read_rows(run) == []
    upsert_rows(run, [row(dice=0.1), row("int8_dynamic", dice=0.2)])
    upsert_rows(run, [row(dice=0.3), row(threads=1, dice=0.4), row(device="cuda", dice=0.5)])
    found = [(r.mode, r.device, r.threads, r.dice) for r in read_rows(run)]
    assert found == [
        ("fp32", "cpu", 2, 0.3),
        ("int8_dynamic", "cpu", 2, 0.2),
        ("fp32", "cpu", 1, 0.4),
        ("fp32", "cuda", 2, 0.5),
    ]


def test_what_was_measured_is_not_lost_where_it_cannot_be_had(tmp_path):
    run = Run(tmp_path)
    upsert_rows(run, [row(device="cuda", dice=0.5), row("fp16", "cuda", status="failed")])
    gone = {"status": "unavailable", "reason": "no CUDA"}
    modes = ("fp32", "fp16", "int8_dynamic")
    upsert_rows(run, [row(mode, "cuda", **gone) for mode in modes])
    found = [(r.mode, r.status, r.dice) for r in read_rows(run)]
    assert found == [
        ("fp32", "ok", 0.5),
        ("fp16", "unavailable", None),
        ("int8_dynamic", "unavailable", None),
    ]
    upsert_rows(run, [row(device="cuda", status="failed")])
    assert read_rows(run)[0].status == "failed"


def test_a_row_that_was_only_scored_goes_once_the_same_is_timed(tmp_path):
    run, latency = Run(tmp_path), {"p50": 1.0}
    upsert_rows(run, [row(network="a"), row("fp16", network="b")])
    upsert_rows(run, [row(network="a", threads=1, latency_ms=latency)])
    assert [(r.mode, r.threads) for r in read_rows(run)] == [("fp16", 2), ("fp32", 1)]
    upsert_rows(run, [row(network="a", threads=3, latency_ms=latency)])
    assert [r.threads for r in read_rows(run)] == [2, 1, 3]


def test_options_are_part_of_the_key(tmp_path):
    run = Run(tmp_path)
    upsert_rows(run, [row(), row(options={"calibration": "minmax", "images": 100})])
    upsert_rows(run, [row(options={"images": 100, "calibration": "minmax"}, dice=1.0)])
    assert [r.dice for r in read_rows(run)] == [None, 1.0]


def test_rows_are_compared_with_fp32_at_the_same_place():
    rows = derive(
        [
            row(mean_iou=0.8, val_mean_iou=0.7, size_bytes=100),
            row("int8_dynamic", mean_iou=0.75, val_mean_iou=0.8, size_bytes=37),
            row(device="cuda", mean_iou=0.6, size_bytes=100),
            row("int8_dynamic", "cuda", mean_iou=0.7, size_bytes=37),
            row("int8_dynamic", threads=1, mean_iou=0.75, size_bytes=37),
        ]
    )
    assert [r.delta_mean_iou for r in rows] == pytest.approx([0, -0.05, 0, 0.1, None])
    assert [r.size_ratio for r in rows] == [1, 0.37, 1, 0.37, None]
    changes = [r.delta_val_mean_iou for r in rows]
    assert changes == pytest.approx([0, 0.1, None, None, None])


def test_rows_are_compared_with_plain_fp32_in_their_own_runtime():
    bf16 = {"precision": "bf16"}
    rows = derive(
        [
            row(runtime="openvino", options=bf16, mean_iou=0.7),
            row(mean_iou=0.8),
            row(runtime="openvino", mean_iou=0.75),
            row("int8_static", options={"images": 100}, mean_iou=0.5),
            row("int8_static", runtime="openvino", options={"images": 100}, mean_iou=0.5),
        ]
    )
    changes = [r.delta_mean_iou for r in rows]
    assert changes == pytest.approx([-0.05, 0, 0, -0.3, -0.25])


def test_measured_ratios_are_not_derived():
    (found,) = derive([row(speedup=2.0, speedup_vs_reference=3.0)])
    assert (found.speedup, found.speedup_vs_reference) == (2, 3)


def test_rows_of_other_versions_can_be_read(tmp_path):
    run = Run(tmp_path)
    old = asdict(row(mean_iou=0.8)) | {"of_a_later_version": 1}
    del old["kernels"], old["val_mean_iou"], old["network"]
    write_json(run.deploy, [old])
    (found,) = read_rows(run)
    assert found.kernels is found.val_mean_iou is found.network is None
    assert found.mean_iou == 0.8
    upsert_rows(run, [row("int8_dynamic")])
    assert len(read_rows(run)) == 2


def test_comparisons_follow_a_new_reference(tmp_path):
    run = Run(tmp_path)
    upsert_rows(run, [row("int8_dynamic", mean_iou=0.5)])
    assert read_rows(run)[0].delta_mean_iou is None
    upsert_rows(run, [row(mean_iou=0.75)])
    assert read_rows(run)[0].delta_mean_iou == -0.25
    drop_rows(run, ["fp32"])
    assert [(r.mode, r.delta_mean_iou) for r in read_rows(run)] == [("int8_dynamic", None)]


def test_an_undefined_metric_gives_no_difference():
    rows = derive([row(mean_iou=None), row("int8_dynamic", mean_iou=0.5)])
    assert [r.delta_mean_iou for r in rows] == [None, None]


def test_dropping_what_is_not_there_writes_nothing(tmp_path):
    drop_rows(Run(tmp_path), ["fp32"])
    assert list(tmp_path.iterdir()) == []
