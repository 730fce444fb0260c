import dataclasses

import numpy as np
import pytest
import torch

from brainseg.benchmark import benchmark as timer
from brainseg.benchmark.plan import TimingPlan, parse_threads
from brainseg.benchmark.together import time_together, untimed
from brainseg.environment import physical_cores
from brainseg.errors import InputError
from brainseg.rows import read_rows, upsert_rows
from brainseg.runtime import openvino

ALL = ["int8_dynamic"]
CORES = physical_cores()
needs_openvino = pytest.mark.skipif(openvino.openvino is None, reason="an optional extra")
without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is present")


@pytest.fixture(autouse=True)
def only_onnxruntime(monkeypatch):
    """What is said of one runtime need not be said of two; and processes take a second each."""
    monkeypatch.setattr("brainseg.runtime.open.is_installed", lambda name: name != "openvino")
    monkeypatch.setattr(timer, "peak_memory_mb", lambda session, batch: 100.0)


def plan(modes, devices, passes=1, threads=(), **others):
    return TimingPlan(tuple(modes), tuple(devices), passes=passes, threads=threads, **others)


def time_missing(run, *given, **options):
    return time_together([run], plan(*given, **options))[run]


def missing(run, *given, **options):
    return untimed(run, plan(*given, **options))


def contents(*runs):
    return {
        file: file.read_bytes() for run in runs for file in run.path.rglob("*") if file.is_file()
    }


def test_what_is_timed_is_not_timed_again(run):
    fp32, int8 = ((mode, "onnxruntime", "cpu", CORES) for mode in ("fp32", "int8_dynamic"))
    assert missing(run, ALL, ["cpu"]) == [fp32, int8]
    done = time_missing(run, ALL, ["cpu"], passes=2)
    assert done == [
        "timed fp32 with onnxruntime on cpu",
        "timed int8_dynamic with onnxruntime on cpu",
    ]
    before = contents(run)
    assert time_missing(run, ALL, ["cpu"], passes=2) == []
    assert contents(run) == before
    run.onnx("int8_dynamic").write_bytes(b"another")
    assert missing(run, ALL, ["cpu"], passes=2) == [int8]
    run.onnx("fp32").unlink()
    assert fp32 in missing(run, ALL, ["cpu"], passes=2)


def test_runs_are_timed_together_where_something_of_one_is_missing(two_runs):
    first, second = two_runs
    time_missing(first, ALL, ["cpu"], passes=2)
    phrases = ["timed fp32 with onnxruntime on cpu", "timed int8_dynamic with onnxruntime on cpu"]
    done = time_together(two_runs, plan(ALL, ["cpu"], passes=2))
    assert done == {first: phrases, second: phrases}
    assert len({row.session for run in two_runs for row in read_rows(run)}) == 1
    before = contents(*two_runs)
    assert time_together(two_runs, plan(ALL, ["cpu"], passes=2)) == {first: [], second: []}
    assert contents(*two_runs) == before


@without_cuda
def test_only_devices_where_something_is_missing_are_timed(run):
    time_missing(run, [], ["cpu"], passes=2)
    before = read_rows(run)
    done = time_missing(run, [], ["cpu", "cuda"], passes=2)
    assert done == ["fp32 with onnxruntime on cuda: unavailable"]
    assert read_rows(run)[: len(before)] == before


def test_a_failed_mode_is_told(run):
    run.onnx("int8_dynamic").write_bytes(b"damaged")
    run.note_made("int8_dynamic", options={})
    done = time_missing(run, ALL, ["cpu"], passes=1)
    assert done[1] == "int8_dynamic with onnxruntime on cpu: failed"


@needs_openvino
def test_a_runtime_that_appears_gets_its_chance(run, monkeypatch):
    time_missing(run, [], ["cpu"], passes=1)
    assert missing(run, [], ["cpu"], passes=1) == []
    monkeypatch.setattr("brainseg.runtime.open.is_installed", lambda name: True)
    assert missing(run, [], ["cpu"], passes=1) == [("fp32", "openvino", "cpu", CORES)]
    done = time_missing(run, [], ["cpu"], passes=1)
    assert done[:2] == ["timed fp32 with onnxruntime on cpu", "timed fp32 with openvino on cpu"]
    assert "fp32 (bf16) with openvino on cpu" in done[2]
    assert missing(run, [], ["cpu"], passes=1) == []


def test_a_runtime_that_was_named_and_is_missing_is_settled(run, monkeypatch):
    monkeypatch.setattr(openvino, "openvino", None)
    monkeypatch.setattr("brainseg.runtime.open.is_installed", lambda name: name != "openvino")
    done = time_missing(run, [], ["cpu"], passes=1, runtimes=("openvino",))
    assert done[0] == "fp32 with openvino on cpu: unavailable"
    assert missing(run, [], ["cpu"], passes=1, runtimes=("openvino",)) == []
    monkeypatch.setattr("brainseg.runtime.open.is_installed", lambda name: True)
    assert len(missing(run, [], ["cpu"], passes=1, runtimes=("openvino",))) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"devices": ("tpu",)}, r"device tpu.*cpu, cuda"),
        ({"runtimes": ("tflite",)}, r"runtime tflite.*onnxruntime, openvino"),
        ({"modes": ("int4",)}, r"mode int4.*int8_dynamic"),
        ({"passes": 0}, "passes=0.*at least 1"),
        ({"threads": (2, 0)}, "threads=0.*at least 1"),
    ],
)
def test_a_plan_refuses_what_cannot_be_timed(changes, message):
    with pytest.raises(InputError, match=message):
        TimingPlan(**changes)


@pytest.mark.parametrize(
    ("typed", "threads"), [(["all"], (CORES,)), (["1", "2", "all"], (1, 2, CORES)), ([4], (4,))]
)
def test_threads_are_typed_as_numbers_or_all(typed, threads):
    assert parse_threads(typed) == threads


@pytest.mark.parametrize("typed", ["", "two", "-1", "1.5"])
def test_other_threads_are_refused(typed):
    with pytest.raises(InputError, match=r"Expected numbers, or all"):
        parse_threads([typed])


def test_a_gpu_has_no_use_for_several_threads():
    several = TimingPlan(threads=(1, 4, 2, 4))
    assert several.threads_on("cpu") == (1, 4, 2)
    assert several.threads_on("cuda") == (4,)


def test_a_row_that_was_sure_early_is_settled(run, monkeypatch):
    def steady(variants, rounds, images, rng):
        return np.ones((len(variants), len(list(rounds))))

    monkeypatch.setattr("brainseg.benchmark.rounds.time_rounds", steady)
    time_missing(run, [], ["cpu"], passes=500)
    (row,) = (row for row in read_rows(run) if row.median_ms)
    assert row.passes == 50
    assert missing(run, [], ["cpu"], passes=500) == []
    assert missing(run, [], ["cpu"], passes=501) != []


def test_a_plan_always_times_fp32():
    assert TimingPlan(("int8_dynamic",)).modes == ("fp32", "int8_dynamic")


def test_other_threads_are_timed_by_themselves(run):
    time_missing(run, [], ["cpu"], passes=1, threads=(1,))
    assert missing(run, [], ["cpu"], passes=1, threads=(1,)) == []
    others = missing(run, [], ["cpu"], passes=1, threads=(3, 1, 2))
    assert others == [("fp32", "onnxruntime", "cpu", 3), ("fp32", "onnxruntime", "cpu", 2)]


@without_cuda
def test_a_missing_device_is_settled(run):
    done = time_missing(run, ALL, ["cuda"], passes=1)
    assert done == [
        "fp32 with onnxruntime on cuda: unavailable",
        "int8_dynamic with onnxruntime on cuda: unavailable",
    ]
    assert time_missing(run, ALL, ["cuda"], passes=1) == []


@without_cuda
def test_a_gpu_that_appears_gets_its_chance(run, monkeypatch):
    time_missing(run, ALL, ["cpu", "cuda"], passes=1)
    monkeypatch.setattr("brainseg.runtime.open.nvidia_gpus", lambda: [{"name": "NVIDIA H100"}])
    assert missing(run, ALL, ["cpu", "cuda"], passes=1) == [
        ("fp32", "onnxruntime", "cuda", CORES),
        ("int8_dynamic", "onnxruntime", "cuda", CORES),
    ]


def test_more_passes_are_timed_again_and_a_failure_is_not(run):
    time_missing(run, ALL, ["cpu"], passes=2)
    assert missing(run, ALL, ["cpu"], passes=1) == []
    assert len(missing(run, ALL, ["cpu"], passes=3)) == 2
    upsert_rows(
        run, [dataclasses.replace(row, status="failed", passes=None) for row in read_rows(run)]
    )
    assert missing(run, ALL, ["cpu"], passes=3) == []


@without_cuda
def test_what_was_timed_on_a_device_that_is_gone_stays(run):
    rows = [dataclasses.replace(row, device="cuda", passes=2) for row in read_rows(run)]
    upsert_rows(run, rows)
    time_missing(run, ALL, ["cpu"], passes=3)
    assert time_missing(run, ALL, ["cpu", "cuda"], passes=3) == []
    assert [row.status for row in read_rows(run) if row.device == "cuda"] == ["ok", "ok"]
