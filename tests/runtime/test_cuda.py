"""What can be known of CUDA without a card: options, forms, fallbacks, bindings, messages."""

from functools import partial

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from brainseg.environment import is_gpu_full
from brainseg.errors import InputError
from brainseg.runtime import cuda
from brainseg.runtime import onnxruntime as subject
from brainseg.runtime.cuda import BoundNetwork, Form, forms, why_refused
from brainseg.runtime.open import open_session
from brainseg.runtime.session import Unavailable

NO_GRAPH = (
    "This session cannot use the graph capture feature as requested by the user  as all compute "
    "graph nodes have not been partitioned to the CUDAExecutionProvider"
)


class FakeCuda:
    """onnxruntime that runs on the CPU and refuses some of what CUDA is asked for."""

    def __init__(self, refuse):
        self.refuse = refuse
        self.asked = []
        self.session = ort.InferenceSession

    def __call__(self, path, options, providers, **others):
        given = dict(each for each in providers if isinstance(each, tuple))
        asked = given["CUDAExecutionProvider"]
        self.asked.append(asked)
        for name, message in self.refuse.items():
            if asked[name] == "1":
                raise RuntimeError(message)
        inference = self.session(path, options, ["CPUExecutionProvider"], **others)
        inference.get_providers = lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
        return inference


@pytest.fixture
def fake(monkeypatch):
    def install(**refuse):
        provider = FakeCuda(refuse)
        monkeypatch.setattr(subject.ort, "InferenceSession", provider)
        monkeypatch.setattr(subject, "require_cuda", lambda: None)
        monkeypatch.setattr(subject, "BoundNetwork", partial(BoundNetwork, device="cpu"))
        return provider

    return install


def test_fp32_is_exact_and_tf32_beside_it(prepared):
    path = prepared("none").onnx("fp32")
    assert {form.tf32 for form in forms(path, None)} == {False}
    assert {form.tf32 for form in forms(path, "tf32")} == {True}
    assert Form(tf32=False, nhwc=False).options() == {
        "use_tf32": "0",
        "enable_cuda_graph": "1",
        "prefer_nhwc": "0",
    }


def test_what_stays_in_fp32_of_a_half_file_may_use_tf32(prepared, tmp_path):
    model = onnx.load(prepared("none").onnx("fp32"))
    first = model.graph.initializer[0]
    values = onnx.numpy_helper.to_array(first).astype(np.float16)
    first.CopyFrom(onnx.numpy_helper.from_array(values, first.name))
    onnx.save(model, tmp_path / "half.onnx")
    assert {form.tf32 for form in forms(tmp_path / "half.onnx", None)} == {True}


def test_the_best_form_is_tried_first_and_said(prepared, fake):
    provider = fake()
    session = open_session(prepared("none").onnx("fp32"), "cuda", precision="tf32")
    assert provider.asked == [{"use_tf32": "1", "enable_cuda_graph": "1", "prefer_nhwc": "1"}]
    assert session.device == "cuda"
    assert session.got["providers"][0] == "CUDAExecutionProvider"
    kept = ("io_binding", "cuda_graph", "layout", "tf32", "without")
    assert [session.got[key] for key in kept] == [True, True, "NHWC", True, {}]


def test_where_a_graph_cannot_be_had_the_row_says_why(prepared, fake):
    provider = fake(enable_cuda_graph=NO_GRAPH)
    session = open_session(prepared("none").onnx("fp32"), "cuda", precision="tf32")
    asked = [(each["enable_cuda_graph"], each["prefer_nhwc"]) for each in provider.asked]
    assert asked == [("1", "1"), ("0", "1")]
    assert (session.got["cuda_graph"], session.got["layout"]) == (False, "NHWC")
    assert session.got["without"] == {"cuda_graph": "not every node runs on CUDA"}


def test_where_a_layout_cannot_be_had_the_row_says_why(prepared, fake):
    fake(prefer_nhwc="no kernel for NhwcConv")
    session = open_session(prepared("none").onnx("fp32"), "cuda", precision="tf32")
    assert (session.got["cuda_graph"], session.got["layout"]) == (True, "NCHW")
    assert "no kernel for NhwcConv" in session.got["without"]["nhwc"]


def test_a_graph_that_fails_while_it_is_captured_is_done_without(prepared, fake, monkeypatch):
    def capture(self, batch):
        if len(provider.asked) == 1:
            raise RuntimeError("operation not permitted when stream is capturing")
        return bind(self, batch)

    provider, bind = fake(), BoundNetwork._bind
    monkeypatch.setattr(BoundNetwork, "_bind", capture)
    session = open_session(prepared("none").onnx("fp32"), "cuda")
    assert not session.got["cuda_graph"]
    assert "stream is capturing" in session.got["without"]["cuda_graph"]


def test_what_fails_with_both_blames_what_is_missing_in_the_end(prepared, fake, monkeypatch):
    def capture(self, batch):
        if self.is_graph:
            raise RuntimeError("operation not permitted when stream is capturing")
        return bind(self, batch)

    fake()
    bind = BoundNetwork._bind
    monkeypatch.setattr(BoundNetwork, "_bind", capture)
    got = open_session(prepared("none").onnx("fp32"), "cuda", precision="tf32").got
    assert (got["cuda_graph"], got["layout"], list(got["without"])) == (
        *(False, "NHWC"),
        ["cuda_graph"],
    )


def test_a_damaged_file_is_told_before_any_form_is_tried(tmp_path, fake):
    fake()
    path = tmp_path / "model.fp32.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(InputError, match=r"could not be opened.*brainseg export"):
        open_session(path, "cuda")


def test_a_file_that_no_form_can_open_is_damaged(prepared, fake):
    fake(use_tf32="broken")
    with pytest.raises(InputError, match=r"could not be opened.*broken"):
        open_session(prepared("none").onnx("fp32"), "cuda", precision="tf32")


@pytest.mark.parametrize(
    "message",
    [
        "BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 9",
        "CUDA failure 2: out of memory ; GPU=0",
        "CUDNN_STATUS_ALLOC_FAILED",
    ],
)
def test_a_full_card_names_the_batch_and_what_to_do(prepared, fake, monkeypatch, message):
    fake(enable_cuda_graph=message)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda: (200 * 2**20, 16000 * 2**20))
    expected = r"64 images per pass: 200 of 16000 MiB are free\. Use a smaller --batch"
    with pytest.raises(Unavailable, match=expected):  # of the machine, not of the file
        open_session(prepared("none").onnx("fp32"), "cuda", batch=64)
    assert is_gpu_full(RuntimeError(message))


def test_bound_tensors_give_what_arrays_give(prepared):
    path = prepared("ag").onnx("fp32")
    inference = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    network = BoundNetwork(inference, device="cpu")
    rng = np.random.default_rng(0)
    for batch in (1, 3, 1):
        images = rng.random((batch, 1, 32, 32), np.float32)
        (expected,) = inference.run(None, {"image": images})
        np.testing.assert_allclose(network.predict(images), expected, atol=1e-6)
        network.repeat(batch)
        np.testing.assert_allclose(network._pass(batch).probabilities.numpy(), expected, atol=1e-6)
    assert set(network._passes) == {1, 3}


class CopyingBinding:
    """As onnxruntime binds an input that a node on another device takes: a copy is made at once."""

    def __init__(self, inference):
        self.binding = inference.io_binding()
        self.bind_ortvalue_output = self.binding.bind_ortvalue_output

    def bind_ortvalue_input(self, name, value):
        copied = ort.OrtValue.ortvalue_from_numpy(value.numpy().copy(), "cpu", 0)
        self.binding.bind_ortvalue_input(name, copied)


def test_nodes_on_another_device_see_every_image(prepared):
    path = prepared("none").onnx("fp32")
    inference = ort.InferenceSession(path, providers=["CPUExecutionProvider"])

    class Inference:
        get_inputs, get_outputs = inference.get_inputs, inference.get_outputs

        def io_binding(self):
            return CopyingBinding(inference)

        def run_with_iobinding(self, copying, options):
            inference.run_with_iobinding(copying.binding, options)

    images = np.random.default_rng(0).random((2, 1, 32, 32), np.float32)
    (expected,) = inference.run(None, {"image": images})
    network = BoundNetwork(Inference(), device="cpu")
    for found in (network.predict(images), network.predict(images)):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    stale = BoundNetwork(Inference(), is_graph=True, device="cpu").predict(images)
    assert np.abs(stale - expected).max() > 0.1  # which is why graphs take no such networks


def test_unknown_failures_blame_what_was_asked_for_last():
    error = RuntimeError("unexpected")
    assert list(why_refused(Form(tf32=True), error)) == ["nhwc"]
    assert list(why_refused(Form(tf32=True, nhwc=False), error)) == ["cuda_graph"]


def test_without_a_device_the_reason_is_given(monkeypatch):
    monkeypatch.setattr(cuda, "nvidia_gpus", lambda: [])
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(Unavailable, match="nvidia-smi lists no GPU"):
        cuda.require_cuda()
