import dataclasses
import subprocess
import sys

import numpy as np
import psutil
import pytest

from brainseg.runtime import openvino
from brainseg.runtime.memory import peak_memory_mb, peak_of_this_process_mb
from brainseg.runtime.open import open_session


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_network_takes_some_memory(prepared, runtime):
    if runtime == "openvino" and openvino.openvino is None:
        pytest.skip("an optional extra")
    session = open_session(prepared("none").onnx("fp32"), threads=1, runtime=runtime)
    peak = peak_memory_mb(session, 2)
    assert 20 < peak < 2000
    # What this process holds besides is not counted.
    ballast = np.ones(2**26)  # 512 MiB
    assert peak_memory_mb(session, 2) < ballast.nbytes / 2**20


def test_a_process_that_fails_gives_nothing(prepared, tmp_path):
    session = open_session(prepared("none").onnx("fp32"), threads=1)
    gone = dataclasses.replace(session, path=tmp_path / "gone.onnx")
    assert peak_memory_mb(gone) is None


def test_the_peak_is_that_of_the_largest_moment():
    code = (
        "from brainseg.runtime.memory import peak_of_this_process_mb as peak; before = peak();"
        "block = bytearray(300 * 2**20); del block; print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(300, abs=10)


def test_the_peak_is_at_least_what_is_held_now():
    assert peak_of_this_process_mb() >= 0.99 * psutil.Process().memory_info().rss / 2**20
