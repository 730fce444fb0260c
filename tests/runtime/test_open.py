import subprocess
import sys

from brainseg.runtime import open as subject
from brainseg.runtime.open import is_installed, may_be_had, runtimes_on


def test_what_is_installed_is_used_where_it_knows_the_device(monkeypatch):
    monkeypatch.setattr(subject, "is_installed", lambda name: True)
    assert runtimes_on("cpu") == ["onnxruntime", "openvino"]
    assert runtimes_on("cuda") == ["onnxruntime"]
    monkeypatch.setattr(subject, "is_installed", lambda name: name != "openvino")
    assert runtimes_on("cpu") == ["onnxruntime"]


def test_those_that_take_long_take_part_when_they_are_named(monkeypatch):
    monkeypatch.setattr(subject, "is_installed", lambda name: name != "openvino")
    assert runtimes_on("cpu", ["all"]) == ["onnxruntime", "onnxruntime-web", "litert"]
    assert runtimes_on("cpu", ["openvino", "all"])[0] == "openvino"
    assert runtimes_on("cuda", ["all"]) == ["onnxruntime"]
    assert runtimes_on("cpu", ["litert"]) == ["litert"]


def test_what_is_named_is_used_in_any_case(monkeypatch):
    monkeypatch.setattr(subject, "is_installed", lambda name: False)
    assert runtimes_on("cuda", ["openvino", "onnxruntime", "openvino"]) == [
        "openvino",
        "onnxruntime",
    ]


def test_asking_imports_no_runtime():
    assert is_installed("onnxruntime")
    code = (
        "import sys; from brainseg.runtime.open import runtimes_on; runtimes_on('cpu');"
        "print(sorted({'onnxruntime', 'openvino'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_gpu_that_is_seen_and_a_runtime_that_is_installed_may_be_had(monkeypatch):
    monkeypatch.setattr(subject, "is_installed", lambda name: name != "openvino")
    monkeypatch.setattr(subject, "nvidia_gpus", lambda: [])
    assert may_be_had("onnxruntime", "cpu")
    assert not may_be_had("onnxruntime", "cuda")
    assert not may_be_had("openvino", "cpu")
    monkeypatch.setattr(subject, "nvidia_gpus", lambda: [{"name": "H100"}])
    assert may_be_had("onnxruntime", "cuda")
