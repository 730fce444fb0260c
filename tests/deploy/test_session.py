import numpy as np
import pytest
import torch

from brainseg.deploy import session as subject
from brainseg.deploy.environment import physical_cores
from brainseg.deploy.session import Unavailable, open_session
from brainseg.errors import InputError

without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is present")


@pytest.mark.parametrize("mode", ["fp32", "int8_dynamic"])
def test_runs_any_batch_on_the_cpu(prepared, mode):
    session = open_session(prepared("none").onnx(mode), threads=1)
    assert (session.device, session.threads, session.image_size) == ("cpu", 1, 32)
    assert session.load_ms > 0
    for batch in (1, 2):
        found = session.run(np.zeros((batch, 1, 32, 32), np.float32))
        assert found.shape == (batch, 1, 32, 32)
        assert found.dtype == np.float32
        assert ((found >= 0) & (found <= 1)).all()


def test_placement_counts_every_node_once(prepared):
    session = open_session(prepared("cbam").onnx("fp32"))
    assert list(session.placement) == ["CPUExecutionProvider"]
    assert sum(place["share"] for place in session.placement.values()) == pytest.approx(1)
    assert session.placement["CPUExecutionProvider"]["nodes"] > 50


def test_placement_shares_between_providers():
    class Subgraph:
        def __init__(self, ep_name, nodes):
            self.ep_name, self.nodes = ep_name, nodes

        def get_nodes(self):
            return self.nodes

    class Inference:
        def get_provider_graph_assignment_info(self):
            return [Subgraph("CUDA", [1, 2]), Subgraph("CPU", [3]), Subgraph("CUDA", [4])]

    assert subject._placement(Inference()) == {
        "CUDA": {"nodes": 3, "share": 0.75},
        "CPU": {"nodes": 1, "share": 0.25},
    }


def test_threads_default_to_the_physical_cores(prepared):
    session = open_session(prepared("none").onnx("fp32"))
    assert session.threads == physical_cores()
    assert session.inference.get_session_options().intra_op_num_threads == physical_cores()


@without_cuda
def test_a_missing_device_is_unavailable_with_its_reason(prepared, nvidia_smi, capfd):
    path = prepared("none").onnx("fp32")
    with pytest.raises(Unavailable, match="no CUDA device"):
        open_session(path, "cuda")
    nvidia_smi("echo 'NVIDIA T4, 470.82.01, 15360 MiB'")
    with pytest.raises(Unavailable, match=r"NVIDIA T4 with driver 470\.82\.01"):
        open_session(path, "cuda")
    assert capfd.readouterr() == ("", "")


@without_cuda
def test_a_silent_fallback_to_the_cpu_is_noticed(prepared, monkeypatch, capfd):
    monkeypatch.setattr(subject, "_require_cuda", lambda: None)
    with pytest.raises(Unavailable, match="fell back to CPUExecutionProvider"):
        open_session(prepared("none").onnx("fp32"), "cuda")
    assert capfd.readouterr() == ("", "")


def test_an_onnxruntime_without_cuda_names_the_package(prepared, monkeypatch):
    monkeypatch.setattr(subject.ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(Unavailable, match="install onnxruntime-gpu"):
        open_session(prepared("none").onnx("fp32"), "cuda")


@pytest.mark.parametrize("content", [b"", b"no graph", None])
def test_a_damaged_or_missing_file_is_an_input_error(tmp_path, content):
    path = tmp_path / "model.fp32.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.fp32\.onnx.*brainseg export"):
        open_session(path)


def test_an_unknown_device_is_refused_with_those_that_there_are(prepared):
    with pytest.raises(InputError, match=r"tpu.*cpu, cuda"):
        open_session(prepared("none").onnx("fp32"), "tpu")
