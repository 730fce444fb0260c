import subprocess
import sys

import pytest
from brainseg.runtime.available import check_devices, check_runtimes, is_installed, runtimes_on

from brainseg.errors import InputError
from brainseg.runtime import open as subject


def test_what_is_installed_is_used_where_it_knows_the_device(monkeypatch):
    monkeypatch.setattr(subject, "is_installed", lambda name: True)
    assert runtimes_on("cpu") == ["onnxruntime", "openvino"]
    assert runtimes_on("cuda") == ["onnxruntime"]
    monkeypatch.setattr(subject, "is_installed", lambda name: name != "openvino")
    assert runtimes_on("cpu") == ["onnxruntime"]


def test_what_is_named_is_used_in_any_case(monkeypatch):
    monkeypatch.setattr(subject, "is_installed", lambda name: False)
    assert runtimes_on("cuda", ["openvino", "onnxruntime", "openvino"]) == [
        "openvino",
        "onnxruntime",
    ]


def test_unknown_names_are_refused_with_those_that_there_are():
    check_devices(["cpu", "cuda"])
    check_runtimes(["onnxruntime", "openvino"])
    with pytest.raises(InputError, match=r"device tpu.*cpu, cuda"):
        check_devices(["cpu", "tpu"])
    with pytest.raises(InputError, match=r"runtime tflite.*onnxruntime, openvino"):
        check_runtimes(["tflite"])


def test_asking_imports_no_runtime():
    assert is_installed("onnxruntime")
    code = (
        "import sys; from brainseg.runtime.available import runtimes_on; runtimes_on('cpu');"
        "print(sorted({'onnxruntime', 'openvino'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
