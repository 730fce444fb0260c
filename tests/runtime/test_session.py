import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from brainseg.environment import physical_cores
from brainseg.errors import InputError
from brainseg.runtime import onnxruntime as subject
from brainseg.runtime.open import is_installed, open_session
from brainseg.runtime.session import Unavailable


@pytest.mark.parametrize("mode", ["fp32", "int8_dynamic"])
def test_runs_any_batch_on_the_cpu(prepared, mode):
    session = open_session(prepared("none").onnx(mode), threads=1)
    assert (session.device, session.threads, session.image_size) == ("cpu", 1, 32)
    assert (session.runtime, session.precision) == ("onnxruntime", None)
    assert session.got == {"providers": ["CPUExecutionProvider"]}
    assert session.load_ms > 0
    for batch in (1, 2):
        found = session.run(np.zeros((batch, 1, 32, 32), np.float32))
        assert found.shape == (batch, 1, 32, 32)
        assert found.dtype == np.float32
        assert ((found >= 0) & (found <= 1)).all()


def test_threads_default_to_the_physical_cores(prepared, monkeypatch):
    assert open_session(prepared("none").onnx("fp32")).threads == physical_cores()
    opened = []

    def note(path, options, providers, **others):
        opened.append(options.intra_op_num_threads)
        return session(path, options, providers, **others)

    session = subject.ort.InferenceSession
    monkeypatch.setattr(subject.ort, "InferenceSession", note)
    open_session(prepared("none").onnx("fp32"))
    open_session(prepared("none").onnx("fp32"), threads=1)
    assert opened == [physical_cores(), 1]


def test_what_was_written_at_export_can_be_read(prepared):
    path = prepared("se").onnx("fp32")
    written = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert open_session(path).metadata == written
    assert written["attention"] == "se"


def test_a_missing_device_is_unavailable_with_its_reason(prepared, nvidia_smi, capfd):
    path = prepared("none").onnx("fp32")
    with pytest.raises(Unavailable, match="no CUDA device"):
        open_session(path, "cuda")
    nvidia_smi("echo 'NVIDIA T4, 470.82.01, 15360 MiB'")
    with pytest.raises(Unavailable, match=r"NVIDIA T4 with driver 470\.82\.01"):
        open_session(path, "cuda")
    assert capfd.readouterr() == ("", "")


def test_a_silent_fallback_to_the_cpu_is_noticed(prepared, monkeypatch, capfd):
    monkeypatch.setattr(subject, "require_cuda", lambda: None)
    with pytest.raises(Unavailable, match="fell back to CPUExecutionProvider"):
        open_session(prepared("none").onnx("fp32"), "cuda")
    assert capfd.readouterr() == ("", "")


def test_an_onnxruntime_without_cuda_names_the_package(prepared, monkeypatch):
    monkeypatch.setattr(subject.ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(Unavailable, match="install onnxruntime-gpu"):
        open_session(prepared("none").onnx("fp32"), "cuda")


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "onnxruntime-web"])
@pytest.mark.parametrize("content", [b"", b"no graph", None])
def test_a_damaged_or_missing_file_is_an_input_error(tmp_path, content, runtime):
    if not is_installed(runtime):
        pytest.skip(f"{runtime} is not installed")
    path = tmp_path / "model.fp32.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.fp32\.onnx.*brainseg export"):
        open_session(path, threads=1, runtime=runtime)


def test_a_file_of_free_size_is_not_ours(tmp_path):
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1, "H", "W"])
        for name in ("image", "probability")
    ]
    graph = helper.make_graph(
        [helper.make_node("Sigmoid", ["image"], ["probability"])], "g", values[:1], values[1:]
    )
    path = tmp_path / "other.onnx"
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    with pytest.raises(InputError, match="fixed height and width"):
        _ = open_session(path).image_size


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": "tpu"}, r"tpu.*cpu, cuda"),
        ({"runtime": "tflite"}, r"tflite.*onnxruntime, openvino"),
        ({"precision": "bf16"}, "no precision bf16"),
    ],
)
def test_what_there_is_not_is_refused(prepared, arguments, message):
    with pytest.raises(InputError, match=message):
        open_session(prepared("none").onnx("fp32"), **arguments)
