"""Runtimes that take part when they are named: in the same session, rows and scores."""

import psutil
import pytest

from brainseg.benchmark import benchmark as subject
from brainseg.benchmark import session as timing_session
from brainseg.benchmark.plan import TimingPlan
from brainseg.benchmark.timing import _own_seconds
from brainseg.rows import read_rows
from brainseg.runtime import web_files
from brainseg.runtime.open import open_session
from brainseg.scoring.kept import source_of

WEB = "onnxruntime-web"
needs_web = pytest.mark.skipif(
    not web_files.runs_in_node(), reason="needs Node and onnxruntime-web: make web"
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(subject, "peak_memory_mb", lambda session, batch: 100.0)
    monkeypatch.setattr(timing_session, "WARMUP", 2)


@needs_web
def test_webassembly_is_timed_and_scored_beside_the_native_runtime(run):
    plan = TimingPlan(
        *(("int8_dynamic",), ("cpu",), ("onnxruntime", WEB)), passes=3, threads=(1,), progress=False
    )
    rows = {(row.runtime, row.mode): row for row in subject.benchmark([run], plan)[run]}
    assert len(rows) == 4
    assert {row.status for row in rows.values()} == {"ok"}
    assert len({row.session for row in rows.values()}) == 1
    web, native = rows[WEB, "int8_dynamic"], rows["onnxruntime", "int8_dynamic"]
    assert web.got["threads"] == 1
    assert (web.network, web.size_bytes) == (native.network, native.size_bytes)
    assert web.speedup > 0
    assert web.speedup_vs_reference > 0
    assert web.mean_iou == pytest.approx(native.mean_iou, abs=0.02)
    assert web.placement is None
    assert native.placement is not None
    assert source_of(run, "int8_dynamic", f"{WEB}-cpu") is not None
    assert {row.runtime for row in read_rows(run)} == {"onnxruntime", WEB}


def test_what_was_not_converted_is_a_row_with_its_reason(run, monkeypatch):
    monkeypatch.setattr("brainseg.benchmark.variant.is_installed", lambda name: True)
    plan = TimingPlan(
        *(("int8_dynamic",), ("cpu",), ("litert",)), passes=2, threads=(1,), progress=False
    )
    rows = subject.benchmark([run], plan)[run]
    assert [(row.mode, row.status) for row in rows] == [
        ("fp32", "failed"),
        ("int8_dynamic", "failed"),
    ]
    assert "was not converted" in rows[0].reason


@needs_web
def test_what_another_process_computes_for_us_is_our_own_work(run):
    before = _own_seconds()
    session = open_session(run.onnx("fp32"), threads=1, runtime=WEB)
    (child,) = (each for each in psutil.Process().children() if "worker.mjs" in str(each.cmdline()))
    assert _own_seconds() - before >= 0.9 * sum(child.cpu_times()[:2])
    assert session.got["threads"] == 1
