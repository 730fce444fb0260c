import numpy as np
import pytest

from brainseg.data.parts import read_test, to_input
from brainseg.environment import cpu_flags
from brainseg.errors import InputError
from brainseg.runtime import openvino as subject
from brainseg.runtime.open import open_session
from brainseg.runtime.session import Unavailable

needs_openvino = pytest.mark.skipif(subject.openvino is None, reason="an optional extra")
attentions = pytest.mark.parametrize("attention", ["none", "ag", "se", "cbam"])
MAY_HAVE_BF16 = set(subject.BF16_FLAGS) & set(cpu_flags())


def open_fp32(run, precision=None):
    return open_session(run.onnx("fp32"), threads=1, runtime="openvino", precision=precision)


@needs_openvino
@attentions
def test_gives_what_onnxruntime_gives(prepared, attention):
    run = prepared(attention)
    images = to_input(read_test(run)["images"])
    session, reference = open_fp32(run), open_session(run.onnx("fp32"), threads=1)
    expected = reference.run(images)
    assert (session.runtime, session.device, session.threads) == ("openvino", "cpu", 1)
    assert session.image_size == reference.image_size
    assert session.metadata == reference.metadata
    assert session.load_ms > 0
    np.testing.assert_allclose(session.run(images), expected, atol=1e-4)  # compiled when seen
    np.testing.assert_allclose(session.run(images[2:3]), expected[2:3], atol=1e-4)


@needs_openvino
def test_results_are_not_overwritten_by_the_next_pass(prepared):
    session = open_fp32(prepared("none"))
    images = to_input(read_test(prepared("none"))["images"])
    first = session.run(images[:1])
    kept = first.copy()
    assert not np.array_equal(session.run(images[1:2]), kept)
    np.testing.assert_array_equal(first, kept)


@needs_openvino
def test_fp32_is_fp32_whatever_the_cpu_knows(prepared):
    assert open_fp32(prepared("none")).got == {"precision": "f32", "threads": 1, "streams": 1}


@needs_openvino
@pytest.mark.skipif(not MAY_HAVE_BF16, reason="this CPU has no bf16")
def test_bf16_has_to_be_asked_for_and_is_close(prepared):
    run = prepared("none")
    images = to_input(read_test(run)["images"])
    session = open_fp32(run, precision="bf16")
    assert session.precision == "bf16"
    assert session.got["precision"] == "bf16"
    difference = np.abs(session.run(images) - open_fp32(run).run(images))
    assert 0 < difference.mean() < 0.02


@needs_openvino
def test_a_cpu_without_bf16_does_not_imitate_it(prepared, monkeypatch):
    monkeypatch.setattr(subject, "cpu_flags", lambda: ["avx2", "avx512f"])
    with pytest.raises(Unavailable, match="no bf16 arithmetic"):
        open_fp32(prepared("none"), precision="bf16")


def test_a_missing_package_is_named_with_its_remedy(prepared, monkeypatch):
    monkeypatch.setattr(subject, "openvino", None)
    with pytest.raises(Unavailable, match=r"pip install openvino"):
        open_fp32(prepared("none"))


@needs_openvino
def test_there_is_no_openvino_on_cuda(prepared):
    with pytest.raises(Unavailable, match="CPU only"):
        open_session(prepared("none").onnx("fp32"), "cuda", runtime="openvino")


@needs_openvino
def test_an_unknown_precision_is_refused(prepared):
    with pytest.raises(InputError, match=r"precision f8.*bf16"):
        open_fp32(prepared("none"), precision="f8")


def test_errors_are_told_without_places_in_the_source():
    error = RuntimeError(
        "Exception from src/inference/core.cpp:117:\nException from src/plugin.cpp:54:\n"
        "[Shuffle] node X: CALLBACK HAS THROWN.\nWhile validating Y\n"
    )
    assert subject._shorten(error) == "[Shuffle] node X: CALLBACK HAS THROWN"
    assert subject._shorten(RuntimeError("broken")) == "broken"
