import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

from brainseg.deploy import export, stages
from brainseg.deploy.quantize import MODES
from brainseg.errors import InputError
from brainseg.rows import read_rows, upsert_rows
from brainseg.run import Run
from brainseg.runtime import openvino

ALL = ["int8_dynamic"]
needs_openvino = pytest.mark.skipif(openvino.openvino is None, reason="an optional extra")
without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is present")


@pytest.fixture(autouse=True)
def only_onnxruntime(monkeypatch):
    """What is said of one runtime need not be said of two; and processes take a second each."""
    monkeypatch.setattr("brainseg.runtime.available.is_installed", lambda name: name != "openvino")
    monkeypatch.setattr("brainseg.benchmark.benchmark.peak_memory_mb", lambda session, batch: 100.0)


def touch(path):
    """Make a file newer than all others of its run."""
    newest = max(file.stat().st_mtime_ns for file in path.parent.rglob("*"))
    os.utime(path, ns=(newest + 1, newest + 1))


def files(run):
    return {file: file.stat().st_mtime_ns for file in run.path.rglob("*") if file.is_file()}


def test_prepare_makes_everything_once_and_again_after_a_change(
    trained, prepared, tmp_path, monkeypatch
):
    graph = prepared("none").onnx("fp32").read_bytes()  # the exporter itself takes seconds
    monkeypatch.setattr(export, "_write_graph", lambda *given: given[-1].write_bytes(graph))
    run = Run(shutil.copytree(trained.path, tmp_path / "run"))
    everything = [
        "scored the checkpoint",
        "made model.fp32.onnx",
        "scored fp32",
        "wrote the row of fp32",
        "made model.int8_dynamic.onnx",
        "scored int8_dynamic",
        "wrote the row of int8_dynamic",
    ]
    assert stages.prepare(run, []) == everything[:4]
    assert stages.prepare(run, ALL) == everything[4:]
    before = files(run)
    assert stages.prepare(run, ALL) == []
    assert files(run) == before
    os.utime(run.best)
    assert stages.prepare(run, ALL) == everything
    assert stages.prepare(run, ALL) == []
    kept = {run.config, run.state, run.val, run.test, run.best}
    changed = {file for file, made in files(run).items() if made != before[file]}
    assert changed == before.keys() - kept | {run.best}


def test_rows_before_timing_hold_size_and_accuracy(run):
    fp32, int8 = read_rows(run)
    assert (fp32["mode"], int8["mode"]) == ("fp32", "int8_dynamic")
    assert fp32["parity"] <= 1e-4
    assert int8["size_bytes"] == run.onnx("int8_dynamic").stat().st_size
    assert int8["delta_mean_iou"] == int8["mean_iou"] - fp32["mean_iou"]
    assert fp32["latency_ms"] is int8["latency_ms"] is None


def test_a_touched_quantized_file_redoes_only_its_mode(run):
    stages.time_missing(run, ALL, ["cpu"], passes=1)
    timed = read_rows(run)[0]
    touch(run.onnx("int8_dynamic"))
    assert stages.prepare(run, ALL) == [
        "made model.int8_dynamic.onnx",
        "scored int8_dynamic",
        "wrote the row of int8_dynamic",
    ]
    fp32, int8 = read_rows(run)
    assert fp32 == timed
    assert int8["latency_ms"] is None


def test_a_new_export_leaves_no_row_of_the_old_network(run, monkeypatch):
    graph = run.onnx("fp32").read_bytes()
    monkeypatch.setattr(export, "_write_graph", lambda *given: given[-1].write_bytes(graph))
    os.utime(run.best)
    stages.prepare(run, [])
    (row,) = read_rows(run)
    assert row["mode"] == "fp32"
    scores = ["cases.checkpoint.csv", "cases.fp32.csv", "cases.val.fp32.csv"]
    assert sorted(file.name for file in run.path.glob("cases.*")) == scores
    assert stages.prepare(run, ALL)[-1] == "wrote the row of int8_dynamic"
    run.onnx("fp32").unlink()
    stages.prepare(run, [])
    assert [row["mode"] for row in read_rows(run)] == ["fp32"]


def test_scores_that_are_gone_cost_no_other_mode_its_row(run):
    stages.time_missing(run, ALL, ["cpu"], passes=1)
    timed = read_rows(run)[1]
    run.cases("fp32").unlink()
    assert stages.prepare(run, ALL) == ["scored fp32", "wrote the row of fp32"]
    assert {row["mode"]: row for row in read_rows(run)}["int8_dynamic"] == timed


def test_a_failing_mode_keeps_no_row_of_the_old_file(run, monkeypatch):
    def fail(model, run, options):
        raise RuntimeError("interrupted")

    monkeypatch.setitem(MODES, "int8_dynamic", fail)
    touch(run.onnx("fp32"))
    with pytest.raises(RuntimeError, match="interrupted"):
        stages.prepare(run, ALL)
    assert [row["mode"] for row in read_rows(run)] == ["fp32"]


def test_what_is_timed_is_not_timed_again(run):
    fp32, int8 = ("fp32", "onnxruntime", "cpu"), ("int8_dynamic", "onnxruntime", "cpu")
    assert stages.untimed(run, ALL, ["cpu"]) == [fp32, int8]
    done = stages.time_missing(run, ALL, ["cpu"], passes=2)
    assert done == [
        "timed fp32 with onnxruntime on cpu",
        "timed int8_dynamic with onnxruntime on cpu",
    ]
    before = files(run)
    assert stages.time_missing(run, ALL, ["cpu"], passes=2) == []
    assert stages.prepare(run, ALL) == []
    assert files(run) == before
    touch(run.onnx("int8_dynamic"))
    assert stages.untimed(run, ALL, ["cpu"], passes=2) == [int8]
    run.onnx("fp32").unlink()
    assert fp32 in stages.untimed(run, ALL, ["cpu"], passes=2)


def test_runs_are_timed_together_where_something_of_one_is_missing(two_runs):
    first, second = two_runs
    stages.time_missing(first, ALL, ["cpu"], passes=2)
    phrases = ["timed fp32 with onnxruntime on cpu", "timed int8_dynamic with onnxruntime on cpu"]
    done = stages.time_together(two_runs, ALL, ["cpu"], passes=2)
    assert done == {first: phrases, second: phrases}
    assert len({row["session"] for run in two_runs for row in read_rows(run)}) == 1
    before = files(first) | files(second)
    assert stages.time_together(two_runs, ALL, ["cpu"], passes=2) == {first: [], second: []}
    assert files(first) | files(second) == before


@without_cuda
def test_only_devices_where_something_is_missing_are_timed(run):
    stages.time_missing(run, [], ["cpu"], passes=2)
    before = read_rows(run)
    done = stages.time_missing(run, [], ["cpu", "cuda"], passes=2)
    assert done == ["fp32 with onnxruntime on cuda: unavailable"]
    assert read_rows(run)[: len(before)] == before


def test_a_failed_mode_is_told(run):
    run.onnx("int8_dynamic").write_bytes(b"damaged")
    done = stages.time_missing(run, ALL, ["cpu"], passes=1)
    assert done[1] == "int8_dynamic with onnxruntime on cpu: failed"


@needs_openvino
def test_a_runtime_that_appears_gets_its_chance(run, monkeypatch):
    stages.time_missing(run, [], ["cpu"], passes=1)
    assert stages.untimed(run, [], ["cpu"], passes=1) == []
    monkeypatch.setattr("brainseg.runtime.available.is_installed", lambda name: True)
    assert stages.untimed(run, [], ["cpu"], passes=1) == [("fp32", "openvino", "cpu")]
    done = stages.time_missing(run, [], ["cpu"], passes=1)
    assert done[:2] == ["timed fp32 with onnxruntime on cpu", "timed fp32 with openvino on cpu"]
    assert "fp32 (bf16) with openvino on cpu" in done[2]
    assert stages.untimed(run, [], ["cpu"], passes=1) == []


def test_a_runtime_that_was_named_and_is_missing_is_settled(run, monkeypatch):
    monkeypatch.setattr(openvino, "openvino", None)
    monkeypatch.setattr(stages, "is_installed", lambda name: name != "openvino")
    done = stages.time_missing(run, [], ["cpu"], passes=1, runtimes=["openvino"])
    assert done[0] == "fp32 with openvino on cpu: unavailable"
    assert stages.untimed(run, [], ["cpu"], passes=1, runtimes=["openvino"]) == []
    monkeypatch.setattr(stages, "is_installed", lambda name: True)
    assert len(stages.untimed(run, [], ["cpu"], passes=1, runtimes=["openvino"])) == 1


@pytest.mark.parametrize(
    ("devices", "runtimes"), [(["tpu"], None), (["cpu"], ["tflite"]), (["tpu"], [])]
)
def test_wrong_devices_and_runtimes_are_refused(run, devices, runtimes):
    with pytest.raises(InputError, match=r"tpu|tflite"):
        stages.time_missing(run, ALL, devices, runtimes=runtimes)


def test_other_threads_are_timed_by_themselves(run):
    stages.time_missing(run, [], ["cpu"], passes=1, threads=1)
    assert stages.untimed(run, [], ["cpu"], passes=1, threads=1) == []
    missing = stages.untimed(run, [], ["cpu"], passes=1, threads=3)
    assert missing == [("fp32", "onnxruntime", "cpu")]


@without_cuda
def test_a_missing_device_is_settled(run):
    done = stages.time_missing(run, ALL, ["cuda"], passes=1)
    assert done == [
        "fp32 with onnxruntime on cuda: unavailable",
        "int8_dynamic with onnxruntime on cuda: unavailable",
    ]
    assert stages.time_missing(run, ALL, ["cuda"], passes=1) == []


@without_cuda
def test_a_gpu_that_appears_gets_its_chance(run, monkeypatch):
    stages.time_missing(run, ALL, ["cpu", "cuda"], passes=1)
    monkeypatch.setattr(stages, "nvidia_gpus", lambda: [{"name": "NVIDIA H100"}])
    assert stages.untimed(run, ALL, ["cpu", "cuda"], passes=1) == [
        ("fp32", "onnxruntime", "cuda"),
        ("int8_dynamic", "onnxruntime", "cuda"),
    ]


def test_more_passes_are_timed_again_and_a_failure_is_not(run):
    stages.time_missing(run, ALL, ["cpu"], passes=2)
    assert stages.untimed(run, ALL, ["cpu"], passes=1) == []
    assert len(stages.untimed(run, ALL, ["cpu"], passes=3)) == 2
    upsert_rows(run, [row | {"status": "failed", "passes": None} for row in read_rows(run)])
    assert stages.untimed(run, ALL, ["cpu"], passes=3) == []


@without_cuda
def test_what_was_timed_on_a_device_that_is_gone_stays(run):
    rows = [row | {"device": "cuda", "passes": 2} for row in read_rows(run)]
    upsert_rows(run, rows)
    stages.time_missing(run, ALL, ["cpu"], passes=3)
    assert stages.time_missing(run, ALL, ["cpu", "cuda"], passes=3) == []
    assert [row["status"] for row in read_rows(run) if row["device"] == "cuda"] == ["ok", "ok"]


def test_having_nothing_to_do_loads_no_heavy_library(run, monkeypatch):
    monkeypatch.undo()  # another process sees all runtimes that are installed
    stages.time_missing(run, ALL, ["cpu"], passes=1)
    code = (
        "import json, sys; from pathlib import Path; from brainseg.run import Run;"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'openvino'};"
        "from brainseg.deploy import stages; run = Run(Path(sys.argv[1]));"
        "done = stages.prepare(run, ['int8_dynamic'])"
        " + stages.time_missing(run, ['int8_dynamic'], ['cpu'], passes=1);"
        "print(json.dumps([done, sorted(heavy & set(sys.modules))]))"
    )
    command = [sys.executable, "-c", code, str(run.path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(output) == [[], []]


def test_wrong_requests_are_refused(run):
    with pytest.raises(InputError, match="int4"):
        stages.prepare(run, ["int4"])
    run.best.unlink()
    with pytest.raises(InputError, match=r"best\.ckpt"):
        stages.prepare(run, ALL)
