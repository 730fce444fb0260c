"""W&B offline: what a run folder holds, read back from its file."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from brainseg.errors import InputError
from brainseg.evaluation.cases import COLUMNS
from brainseg.files import write_csv, write_json, write_npz, write_text
from brainseg.row import Row
from brainseg.rows import upsert_rows
from brainseg.run import Run
from brainseg.tracking.mirror import class_table, deploy_numbers, direction, media_of, to_table
from brainseg.tracking.wandb_run import (
    announce,
    log_epoch,
    log_results,
    mirror_results,
    tracked,
    tracking_mode,
)
from brainseg.vocabulary import CHECKPOINT, METRICS, Metric

CONFIG = {
    "experiment_name": "demo",
    "data": {"name": "phantom"},
    "split": {"name": "patient"},
    "model": {"attention": "ag"},
    "optim": {"lr": 0.5},
    "tracking": {"name": "wandb", "mode": "offline", "project": "brainseg", "entity": None},
}
ROW = Row(mode="fp32", device="cpu", threads=2, latency_ms={"p50": 2.5}, size_bytes=2**20)
BIN = {"low": 0.0, "high": 1.0, "n": 1, "confidence": None, "share": None}
COUNTS = {"n": 2, "n_tumor": 2, "n_patients": 2}
SCORES = {
    "mean_iou": 0.75,
    **{"tumor_iou": None, "dice": None},
    "hd95_px": 2.0,
    "dice_interval": [0.5, 0.75],
    "calibration": {"ece": 0.125, "bins": [BIN]},
    "classes": {"glioma": {"dice": None, **COUNTS}},
    **COUNTS,
}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "demo" / "ag-seed0")
    ids = np.array(["a", "b"])
    masks = np.zeros((2, 16, 16), np.uint8)
    masks[0, 4:9, 4:9] = masks[1, 2:6, 3:7] = 1
    names = {"ids": ids, "classes": np.array(["glioma"] * len(ids)), "patients": ids}
    write_npz(run.test, **names, images=masks * 100, masks=masks)
    write_npz(run.predictions(CHECKPOINT), ids=ids, probabilities=masks * 255)
    write_json(run.metrics, SCORES)
    upsert_rows(run, [ROW])
    return run


def test_offline_folder_holds_config_history_results_and_exit_code(run: Run, read_back):
    with tracked(run, CONFIG) as opened:
        log_epoch(opened, {"epoch": 0, "val_mean_iou": 0.5})
        log_results(opened, run)
    (held,) = read_back(run)
    assert (held["project"], held["run_group"], held["job_type"]) == ("brainseg", "demo", "train")
    assert (held["display_name"], held["tags"]) == ("ag-seed0", ["ag", "phantom", "patient"])
    assert held["config"] == CONFIG | {"variant": "ag"}
    assert held["history"] == [{"epoch": 0, "val_mean_iou": 0.5}]
    assert held["summary"]["val_mean_iou.max"] == 0.5
    assert held["summary"]["test/mean_iou"] == 0.75
    assert held["summary"]["test/dice_interval"] == [0.5, 0.75]
    assert held["summary"]["test/classes/glioma/dice"] is None
    assert not any("bins" in name for name in held["summary"])
    assert held["tables"] == {"deploy": 1, "classes": 2}
    assert held["images"] == {"overlays": 2}
    assert held["exit_code"] == 0
    assert len(list(run.wandb.glob("offline-run-*/files/media/images/*.png"))) == 2


def test_later_stages_continue_the_same_run_and_failure_is_an_exit_code(run: Run, read_back):
    with tracked(run, CONFIG) as opened:
        log_epoch(opened, {"epoch": 0, "val_loss": 0.5})
    write_csv(run.history, [{"epoch": 0, "val_loss": 0.5}], ["epoch", "val_loss"])
    kept = (run.wandb / "id").read_text()
    with pytest.raises(RuntimeError, match="broken"), tracked(run, CONFIG, job="deploy"):
        raise RuntimeError("broken")
    held = read_back(run)
    assert [one["run_id"] for one in held] == [kept, kept]
    # each holds the history, for the server takes the one sent last
    assert [one["history"] for one in held] == [[{"epoch": 0, "val_loss": 0.5}]] * 2
    assert [one["exit_code"] for one in held] == [0, 1]


def test_curves_are_drawn_over_epochs_and_every_score_has_a_direction(run: Run, read_back):
    with tracked(run, CONFIG) as opened:
        for epoch, score in enumerate([0.25, 0.75, 0.5]):
            log_epoch(opened, {"epoch": epoch, "val_mean_iou": score, "val_loss": 1 - score})
        log_results(opened, run)
    (held,) = read_back(run)
    assert held["metrics"]["*"] == {"summary": None, "step": "epoch"}
    aims = {name: of["summary"] for name, of in held["metrics"].items() if of["summary"]}
    assert aims == {
        "train_loss": "min",
        "val_loss": "min",
        "val_mean_iou": "max",
        "val_tumor_iou": "max",
        "test/mean_iou": "max",
        "test/tumor_iou": "max",
        "test/dice": "max",
        "test/hd95_px": "min",
        "test/calibration/ece": "min",
        "test/classes/glioma/dice": "max",
        "deploy/cpu/onnxruntime/fp32/latency_p50_ms": "min",
        "deploy/cpu/onnxruntime/fp32/size_mib": "min",
    }
    assert held["summary"]["val_mean_iou.max"] == 0.75  # the best, not the last
    assert held["summary"]["val_loss.min"] == 0.25


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("val_mean_iou", "max"),
        ("test/detection_rate", "max"),
        ("test/false_positive_rate", "min"),
        ("test/undefined/dice", None),
        ("test/classes/glioma/undefined/hd95_px", None),
        ("test/dice_interval", None),
        ("test/n", None),
        ("deploy/cpu/openvino/int8_static/speedup", "max"),
        ("deploy/cuda/onnxruntime/fp32_tf32/device_p50_ms", "min"),
        ("deploy/cuda/onnxruntime/fp32_tf32/passes", None),
        ("deploy/cpu/openvino/int8_static/delta_mean_iou", "max"),
    ],
)
def test_direction_is_that_of_the_quantity(name: str, better: str | None):
    assert direction(name) == better


def test_a_metric_of_the_vocabulary_has_its_direction(monkeypatch):
    monkeypatch.setitem(METRICS, "surface_distance", Metric("", "", "min"))
    assert direction("test/classes/glioma/surface_distance") == "min"


@pytest.mark.parametrize(
    ("model", "variant"),
    [
        ({"attention": "none"}, "none"),
        ({"name": "smp_unet", "attention": None}, "smp_unet"),
        ({"name": "own", "target": "my.Net"}, "own_net"),
        ({}, "resunet"),
    ],
)
def test_a_run_without_attention_is_tagged_with_its_model(run, read_back, model, variant):
    with tracked(run, CONFIG | {"model": model}):
        pass
    (held,) = read_back(run)
    assert held["tags"] == [variant, "phantom", "patient"]
    assert held["config"]["variant"] == variant


def test_results_of_a_verb_continue_the_run(run: Run, read_back, monkeypatch):
    def write_config(**tracking):
        config = CONFIG | {"tracking": CONFIG["tracking"] | tracking}
        write_text(run.config, yaml.safe_dump(config))

    write_config(mode="online")
    mirror_results(run, "benchmark")
    assert not run.wandb.exists()  # it was not tracked
    run.wandb.mkdir()
    write_config(name="none")
    mirror_results(run, "benchmark")
    assert read_back(run) == []
    write_config(mode="online")
    monkeypatch.setenv("WANDB_MODE", "offline")
    mirror_results(run, "benchmark")
    (held,) = read_back(run)
    assert (held["job_type"], held["tables"]["deploy"]) == ("benchmark", 1)
    assert held["summary"]["test/mean_iou"] == 0.75


def test_each_good_row_has_numbers_under_a_name_of_its_own():
    timed = {"latency_ms": {"p50": 2.0}, "mean_iou": 0.5, "size_bytes": 2**21}
    rows = [
        Row(mode="fp32", device="cpu", threads=2, **timed),
        Row(mode="fp32", device="cpu", threads=1, **timed),
        Row(mode="fp32", device="cpu", threads=2, batch=4, **timed),
        Row(
            mode="fp32",
            device="cpu",
            threads=2,
            runtime="openvino",
            options={"precision": "bf16"},
            **timed,
        ),
        Row(mode="int8_static", device="cpu", threads=2, options={"images": 200}, mean_iou=0.25),
        Row(mode="fp16", device="cuda", threads=1, status="unavailable", reason="no CUDA", **timed),
        *(
            Row(mode="fp32", device="cuda", threads=2, batch=batch, options=options, **timed)
            for batch in (1, 16)
            for options in ({}, {"precision": "tf32"})
        ),
        Row(mode="fp32", device="cpu", threads=8, batch=8, **timed),
    ]
    numbers = deploy_numbers(rows)
    assert numbers["deploy/cpu/onnxruntime/fp32/latency_p50_ms"] == 2.0
    assert numbers["deploy/cpu/onnxruntime/fp32/size_mib"] == 2.0
    places = {name.rpartition("/")[0].removeprefix("deploy/") for name in numbers}
    assert places == {
        "cpu/onnxruntime/fp32",
        "cpu/onnxruntime/fp32_1_threads",
        "cpu/onnxruntime/fp32_batch_4",
        "cpu/onnxruntime/fp32_batch_8",
        "cpu/openvino/fp32_bf16",
        "cpu/onnxruntime/int8_static",
        "cuda/onnxruntime/fp32",
        "cuda/onnxruntime/fp32_tf32",
        "cuda/onnxruntime/fp32_batch_16",
        "cuda/onnxruntime/fp32_tf32_batch_16",
    }
    assert [name for name in numbers if "int8_static" in name] == [
        "deploy/cpu/onnxruntime/int8_static/mean_iou"  # not timed yet
    ]


def test_passes_and_time_on_the_device_are_numbers_of_a_row():
    row = replace(ROW, device="cuda", device_ms={"p50": 1.5, "p99": 2.0}, passes=20)
    numbers = deploy_numbers([row])
    assert numbers["deploy/cuda/onnxruntime/fp32/device_p50_ms"] == 1.5
    assert numbers["deploy/cuda/onnxruntime/fp32/passes"] == 20
    assert "deploy/cuda/onnxruntime/fp32/passes" not in deploy_numbers([replace(row, passes=None)])


def test_without_tracking_nothing_is_written_and_wandb_need_not_be_there(run: Run, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)  # importing it fails
    config = CONFIG | {"tracking": CONFIG["tracking"] | {"name": "none"}}
    before = sorted(run.path.rglob("*"))
    with tracked(run, config) as opened:
        log_epoch(opened, {"epoch": 0})
        log_results(opened, run)
    assert sorted(run.path.rglob("*")) == before


def test_rows_become_a_flat_table():
    rows = [
        {"mode": "fp32", "latency_ms": {"p50": 2.5}, "placement": {"CPU": {"n": 3}}},
        {"mode": "int8_dynamic", "noisy": True, "interval": [1, 2], "bins": [{"n": 1}]},
    ]
    table = to_table(rows)
    columns = ["mode", "latency_ms/p50", "placement/CPU/n", "noisy", "interval"]
    assert table.columns == columns
    assert table.data == [
        ["fp32", 2.5, 3, None, None],
        ["int8_dynamic", None, None, True, [1, 2]],
    ]


def test_table_of_classes_ends_with_all_of_them():
    metrics = {"dice": 0.5, "n": 3, "negatives": {"n": 1}, "classes": {"glioma": {"dice": 1.0}}}
    table = class_table(metrics)
    assert (table.columns, table.data) == (["class", "dice"], [["glioma", 1.0], ["all", 0.5]])


def test_media_are_those_that_the_run_has(run: Run):
    assert list(media_of(run)) == ["deploy", "classes", "overlays"]
    row = {"id": "a", "class": "glioma", "patient": "p", "tp": 1, "fp": 0, "fn": 0, "tn": 9}
    for mode, dice in ((CHECKPOINT, 0.25), ("fp32", 0.75)):
        write_csv(run.cases(mode), [row | {"dice": dice, "hd95_px": None}], COLUMNS)
    media = media_of(run)
    assert list(media) == ["deploy", "classes", "cases", "overlays"]
    assert media["cases"]().get_column("dice") == [0.75]  # of fp32, which is deployed
    run.cases("fp32").unlink()
    assert media_of(run)["cases"]().get_column("dice") == [0.25]


@pytest.mark.parametrize(
    ("name", "mode", "said"),
    [("wandb", "offline", "wandb sync"), ("wandb", "online", "online"), ("none", "offline", "off")],
)
def test_first_lines_say_where_the_metrics_go(run: Run, caplog, name: str, mode: str, said: str):
    tracking = CONFIG["tracking"] | {"name": name, "mode": mode}
    with caplog.at_level("INFO", "brainseg"):
        announce(run, tracking)
    assert said in caplog.text
    assert tracking_mode(tracking) == ("disabled" if name == "none" else mode)


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        ("dryrun", "offline"),
        ("run", "online"),
        ("offline", "offline"),
        ("online", "online"),
        ("disabled", "disabled"),
    ],
)
def test_older_names_of_modes_are_understood(given: str, mode: str):
    assert tracking_mode(CONFIG["tracking"] | {"mode": given}) == mode


def test_a_dry_run_keeps_its_history_in_every_folder(run: Run, read_back):
    config = CONFIG | {"tracking": CONFIG["tracking"] | {"mode": "dryrun"}}
    write_csv(run.history, [{"epoch": 0, "val_loss": 0.5}], ["epoch", "val_loss"])
    with tracked(run, config, job="deploy"):
        pass
    (held,) = read_back(run)
    assert held["history"] == [{"epoch": 0, "val_loss": 0.5}]


def test_another_mode_is_refused(run: Run):
    config = CONFIG | {"tracking": CONFIG["tracking"] | {"mode": "onlin"}}
    with (
        pytest.raises(InputError, match=r"(?s)tracking\.mode=onlin.*tracking=none"),
        tracked(run, config),
    ):
        pytest.fail("it started")
