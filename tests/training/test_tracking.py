"""W&B offline: what a run folder holds, read back from its file."""

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from wandb.proto import wandb_internal_pb2

from brainseg.errors import InputError
from brainseg.files import write_csv, write_json, write_npz
from brainseg.run import CHECKPOINT, Run
from brainseg.training.tracking import (
    announce,
    deploy_table,
    log_epoch,
    log_results,
    tracked,
    tracking_mode,
)

CONFIG = {
    "experiment_name": "demo",
    "model": {"attention": "ag"},
    "optim": {"lr": 0.5},
    "tracking": {"name": "wandb", "mode": "offline", "project": "brainseg", "entity": None},
}
ROW = {"mode": "fp32", "latency_ms": {"p50": 2.5}, "reason": None, "placement": {"CPU": {"n": 3}}}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "demo" / "ag-seed0")
    ids = np.array(["a", "b"])
    masks = np.zeros((2, 16, 16), np.uint8)
    masks[0, 4:9, 4:9] = masks[1, 2:6, 3:7] = 1
    write_npz(run.test, ids=ids, images=masks * 100, masks=masks)
    write_npz(run.predictions(CHECKPOINT), ids=ids, probabilities=masks * 255)
    write_json(run.metrics, {"mean_iou": 0.75, "classes": {"glioma": {"dice": None}}})
    write_json(run.deploy, [ROW])
    return run


def scan(path: Path) -> Iterator[bytes]:
    """The records of a `.wandb` file: a 7-byte head, then LevelDB's log format.

    Blocks of 32 KiB hold chunks of CRC (4 bytes), length (2), type (1) and data; type 1 is a whole
    record, 2, 3 and 4 are its first, middle and last part.
    """
    content, at, parts = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        left_in_block = 32768 - at % 32768
        if left_in_block < 7:
            at += left_in_block
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        if at + 7 + length > len(content):
            return  # it is still being written
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield parts
            parts = b""


def read_back(run: Run) -> list[list[wandb_internal_pb2.Record]]:
    """The records of each offline folder, oldest first.

    W&B's own process may write the last of them a moment after the run was finished.
    """
    paths = sorted(run.wandb.glob("offline-run-*/run-*.wandb"))
    deadline = time.monotonic() + 20
    while True:
        read = [[wandb_internal_pb2.Record.FromString(data) for data in scan(p)] for p in paths]
        finished = all(any(r.HasField("exit") for r in records) for records in read)
        if finished or time.monotonic() > deadline:
            return read
        time.sleep(0.05)


def test_offline_folder_holds_config_history_results_and_exit_code(run: Run):
    with tracked(run, CONFIG) as opened:
        opened.log({"epoch": 0, "val_mean_iou": 0.5})
        log_results(opened, run)
    (records,) = read_back(run)
    (started,) = [record.run for record in records if record.HasField("run")][:1]
    assert (started.project, started.run_group) == ("brainseg", "demo")
    assert (started.display_name, list(started.tags)) == ("ag-seed0", ["ag"])
    config = {item.key: json.loads(item.value_json) for item in started.config.update}
    assert config["optim"] == {"lr": 0.5}
    history = [
        {
            item.key or "/".join(item.nested_key): json.loads(item.value_json)
            for item in r.history.item
        }
        for r in records
        if r.HasField("history")
    ]
    assert history[0]["val_mean_iou"] == 0.5
    assert any("deploy" in key for row in history for key in row)
    assert any("overlays" in key for row in history for key in row)
    summary = {
        item.key or "/".join(item.nested_key): json.loads(item.value_json)
        for r in records
        if r.HasField("summary")
        for item in r.summary.update
    }
    assert summary["test/mean_iou"] == 0.75
    (exit_code,) = [r.exit.exit_code for r in records if r.HasField("exit")]
    assert exit_code == 0
    assert len(list(run.wandb.glob("offline-run-*/files/media/images/*.png"))) == 2


def test_later_stages_continue_the_same_run_and_failure_is_an_exit_code(run: Run):
    with tracked(run, CONFIG) as opened:
        log_epoch(opened, {"epoch": 0, "val_loss": 0.5})
    write_csv(run.history, [{"epoch": 0, "val_loss": 0.5}], ["epoch", "val_loss"])
    kept = (run.wandb / "id").read_text()
    with pytest.raises(RuntimeError, match="broken"), tracked(run, CONFIG, job="deploy"):
        raise RuntimeError("broken")
    folders = read_back(run)
    assert len(folders) == 2
    ids = {r.run.run_id for records in folders for r in records if r.HasField("run")}
    assert ids == {kept}
    for records in folders:  # each holds the history, for the server takes the one sent last
        logged = [r.history.item for r in records if r.HasField("history")]
        values = {item.key or item.nested_key[0]: item.value_json for item in logged[0]}
        assert json.loads(values["val_loss"]) == 0.5
    codes = [r.exit.exit_code for records in folders for r in records if r.HasField("exit")]
    assert codes == [0, 1]


def test_without_tracking_nothing_is_written(run: Run):
    config = CONFIG | {"tracking": CONFIG["tracking"] | {"name": "none"}}
    before = sorted(run.path.rglob("*"))
    with tracked(run, config) as opened:
        opened.log({"epoch": 0})
        log_results(opened, run)
    assert sorted(run.path.rglob("*")) == before


def test_deploy_rows_become_a_flat_table():
    table = deploy_table([ROW, {"mode": "int8_dynamic", "noisy": True}])
    assert table.columns == ["mode", "latency_ms.p50", "reason", "placement.CPU.n", "noisy"]
    assert table.data == [["fp32", 2.5, None, 3, None], ["int8_dynamic", None, None, None, True]]


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


def test_a_mode_that_wandb_does_not_know_is_refused(run: Run):
    config = CONFIG | {"tracking": CONFIG["tracking"] | {"mode": "onlin"}}
    with (
        pytest.raises(InputError, match=r"(?s)tracking\.mode=onlin.*tracking=none"),
        tracked(run, config),
    ):
        pytest.fail("it started")
