"""What needs an NVIDIA GPU: the forms in which onnxruntime runs a network there, and training."""

import shutil

import numpy as np
import pytest
from PIL import Image

from brainseg.benchmark.benchmark import benchmark
from brainseg.benchmark.plan import TimingPlan
from brainseg.data.parts import read_test, to_input
from brainseg.deploy.stages import prepare
from brainseg.predict.predict import predict
from brainseg.rows import read_rows
from brainseg.run import Run
from brainseg.runtime import onnxruntime
from brainseg.runtime.cuda import Form
from brainseg.runtime.open import open_session

pytestmark = pytest.mark.cuda


@pytest.fixture(scope="module")
def quantized(trained, tmp_path_factory) -> Run:
    run = Run(tmp_path_factory.mktemp("quantized") / trained.name)
    shutil.copytree(trained.path, run.path)
    prepare(run, ["fp16", "int8_dynamic"])
    return run


@pytest.fixture(scope="module")
def images(quantized):
    return to_input(read_test(quantized)["images"])


@pytest.mark.parametrize(
    ("mode", "precision", "tolerance"),
    [("fp32", None, 1e-4), ("fp32", "tf32", 2e-2), ("fp16", None, 5e-2)],
)
def test_a_gpu_predicts_what_a_cpu_does(quantized, images, capfd, mode, precision, tolerance):
    expected = open_session(quantized.onnx("fp32")).run(images)
    session = open_session(quantized.onnx(mode), "cuda", precision=precision)
    for batch in (1, len(images), 2, 1):  # one session, a graph for each number
        for first in (0, len(images) - batch):
            taken = slice(first, first + batch)
            found = session.run(images[taken])
            np.testing.assert_allclose(found, expected[taken], atol=tolerance, rtol=0)
    assert session.got["providers"][0] == "CUDAExecutionProvider"
    assert session.got["cuda_graph"]
    assert session.got["io_binding"]
    assert session.got["tf32"] == ((mode, precision) != ("fp32", None))
    assert session.got["without"] == {}
    assert capfd.readouterr() == ("", "")  # cuDNN's frontend complains of layouts


def test_a_graph_computes_what_single_launches_do(quantized, images, monkeypatch):
    graph = open_session(quantized.onnx("fp32"), "cuda")
    form = Form(tf32=False, graph=False, nhwc=False)
    monkeypatch.setattr(onnxruntime, "forms", lambda path, precision: [form])
    launches = open_session(quantized.onnx("fp32"), "cuda")
    assert (graph.got["cuda_graph"], launches.got["cuda_graph"]) == (True, False)
    np.testing.assert_allclose(graph.run(images), launches.run(images), atol=1e-6, rtol=0)


def test_a_pass_on_the_device_uses_the_images_that_are_there(quantized, images):
    session = open_session(quantized.onnx("fp32"), "cuda", batch=2)
    before = session.run(images[:2])
    session.run_on_device()
    np.testing.assert_allclose(session.run(images[:2]), before, atol=1e-6, rtol=0)


def test_what_cuda_has_no_kernel_for_runs_without_a_graph_and_says_so(quantized, images, capfd):
    session = open_session(quantized.onnx("int8_dynamic"), "cuda")
    expected = open_session(quantized.onnx("int8_dynamic")).run(images)
    np.testing.assert_allclose(session.run(images), expected, atol=5e-2, rtol=0)
    assert not session.got["cuda_graph"]
    assert "cuda_graph" in session.got["without"]
    assert capfd.readouterr() == ("", "")


def test_rows_of_a_gpu_tell_how_they_were_run(quantized):
    plan = TimingPlan(("fp16",), ("cpu", "cuda"), ("onnxruntime",), passes=20, progress=False)
    benchmark([quantized], plan)
    rows = {(row.mode, row.precision): row for row in read_rows(quantized) if row.device == "cuda"}
    assert {("fp32", None), ("fp32", "tf32"), ("fp16", None)} <= rows.keys()
    for row in rows.values():
        assert (row.status, row.got["cuda_graph"]) == ("ok", True)
        assert set(row.placement) == {"CUDAExecutionProvider"}
        assert row.latency_ms["p50"] > 0
        assert row.device_ms["p50"] > 0
        assert row.mean_iou is not None


def test_masks_are_those_of_the_cpu(quantized, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number, image in enumerate(read_test(quantized)["images"]):
        Image.fromarray(image).save(folder / f"{number}.png")
    masks = []
    for device in ("cpu", "cuda"):
        predict(quantized.onnx("fp32"), [folder], tmp_path / device, device=device)
        files = sorted((tmp_path / device).glob("*.mask.png"))
        masks.append([np.asarray(Image.open(file)) for file in files])
    np.testing.assert_array_equal(*masks)
