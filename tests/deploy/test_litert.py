import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from brainseg.benchmark.plan import TimingPlan
from brainseg.benchmark.variant import Choice, open_variant
from brainseg.data.parts import read_test, to_input
from brainseg.deploy import litert as subject
from brainseg.deploy.to_litert import Cropped, crop_transposed
from brainseg.errors import DamagedFile, InputError
from brainseg.model.checkpoint import load_network
from brainseg.rows import read_rows
from brainseg.run import Run, place_name, runtime_of
from brainseg.runtime import litert as runtime
from brainseg.runtime.open import open_session
from brainseg.runtime.session import Unavailable
from brainseg.scoring.kept import source_of
from brainseg.scoring.measure import measure
from brainseg.vocabulary import RUNTIMES

needs_litert = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("ai_edge_litert", *subject.CONVERTERS)),
    reason="an optional extra: make litert",
)


@pytest.fixture(scope="module")
def converted(prepared, tmp_path_factory) -> Run:
    """A run with attention in LiteRT's files, too; not to be changed."""
    run = copy_run(prepared("se"), tmp_path_factory.mktemp("converted"))
    made = subject.convert(run, ["int8_dynamic"])
    assert [file.name for file in made] == ["model.fp32.tflite", "model.int8_dynamic.tflite"]
    return run


def copy_run(run: Run, folder: Path) -> Run:
    return Run(shutil.copytree(run.path, folder / run.name))


def open_litert(run, mode="fp32", threads=1):
    return open_session(run.network(mode, "litert"), threads=threads, runtime="litert")


@needs_litert
def test_computes_what_the_checkpoint_does(converted):
    images = to_input(read_test(converted)["images"])
    session = open_litert(converted)
    with torch.inference_mode():
        expected = load_network(converted)(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(session.run(images), expected, atol=1e-4)
    np.testing.assert_allclose(session.run(images[2:3]), expected[2:3], atol=1e-4)
    assert (session.image_size, session.threads) == (32, 1)
    assert converted.read_made("fp32", "litert")["parity"] < 1e-4


@needs_litert
def test_dynamic_range_is_small_and_close(converted):
    images = to_input(read_test(converted)["images"])
    exact, quantized = (
        open_litert(converted, mode).run(images) for mode in ("fp32", "int8_dynamic")
    )
    assert 0 < np.abs(quantized - exact).mean() < 0.05
    files = [converted.network(mode, "litert") for mode in ("int8_dynamic", "fp32")]
    small, large = (file.stat().st_size for file in files)
    assert 0.24 < small / large < 0.4  # a small network has more beside its weights


@needs_litert
def test_a_row_is_about_its_own_file(converted):
    session = open_litert(converted, "int8_dynamic")
    values = measure(converted, "int8_dynamic", session, progress=False)
    assert values["size_bytes"] == session.path.stat().st_size
    assert values["network"] == converted.hash_network("int8_dynamic", "litert")
    assert values["network"] != converted.hash_network("int8_dynamic")
    assert 0 <= values["mean_iou"] <= 1
    assert "placement" not in values
    place = place_name("litert", "cpu")
    assert source_of(converted, "int8_dynamic", place) is not None
    session.path.touch()  # the same file is scored once
    assert measure(converted, "int8_dynamic", session, progress=False)["dice"] == values["dice"]


@needs_litert
def test_what_is_up_to_date_is_not_made_again(converted, monkeypatch):
    monkeypatch.setattr(subject, "_make", lambda *given: pytest.fail("made again"))
    assert subject.convert(converted, ["int8_dynamic"]) == []


@needs_litert
def test_a_file_of_another_export_is_not_timed(converted, tmp_path, change_graph):
    run = copy_run(converted, tmp_path)
    choice = Choice(run, "fp32", "litert", "cpu", 1)
    images = to_input(read_test(run)["images"])
    assert open_variant(choice, images, 1).session.path == run.network("fp32", "litert")
    change_graph(run.onnx("fp32"))
    with pytest.raises(InputError, match=r"model\.fp32\.tflite is missing, or not made from"):
        open_variant(choice, images, 1)


@needs_litert
def test_a_changed_or_damaged_file_is_an_input_error(converted, tmp_path):
    run = copy_run(converted, tmp_path)
    path = run.network("fp32", "litert")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DamagedFile, match="not the file that was written"):
        open_litert(run)
    run.made("fp32", "litert").unlink()
    with pytest.raises(InputError, match=r"model\.fp32\.tflite could not be opened"):
        open_litert(run)


@needs_litert
def test_it_is_for_the_cpu_in_the_precision_of_the_file(converted):
    path = converted.network("fp32", "litert")
    with pytest.raises(Unavailable, match="CPU only"):
        open_session(path, "cuda", runtime="litert")
    with pytest.raises(InputError, match="no precision bf16"):
        open_session(path, runtime="litert", precision="bf16")


def test_a_missing_package_is_named_with_its_remedy(run, monkeypatch):
    monkeypatch.setattr(runtime, "Interpreter", None)
    with pytest.raises(Unavailable, match="make litert"):
        open_litert(run)
    monkeypatch.setattr(subject, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="make litert"):
        subject.convert(run, [])


def test_a_run_that_cannot_be_converted_is_named(run, monkeypatch, caplog):
    monkeypatch.setattr(subject, "find_spec", lambda name: None)
    subject.convert_all([run], TimingPlan())  # nobody asked for LiteRT
    assert not caplog.messages
    subject.convert_all([run], TimingPlan(runtimes=("litert",)))
    assert "Not converted" in caplog.text


def test_what_the_converter_says_is_told(run, monkeypatch):
    monkeypatch.setattr(subject, "find_spec", lambda name: True)
    run.best.unlink()
    monkeypatch.setattr(subject.sys, "executable", "false")
    with pytest.raises(InputError, match="could not be converted"):
        subject.convert(run, [])
    assert not run.network("fp32", "litert").exists()


def test_a_mode_that_it_lacks_is_refused_by_name(run):
    with pytest.raises(InputError, match="no int8_static for litert, only fp32 and int8_dynamic"):
        open_variant(Choice(run, "int8_static", "litert", "cpu", 1), np.zeros((1, 1, 32, 32)), 1)


@pytest.mark.parametrize("size", [(14, 14), (13, 14)])
def test_a_cropped_transposed_convolution_gives_the_same(size):
    torch.manual_seed(0)
    network = nn.Sequential(nn.ConvTranspose2d(3, 5, 3, stride=2, padding=1))
    x = torch.rand(2, 3, 7, 7)
    expected = network[0](x, output_size=size)
    crop_transposed(network)
    assert isinstance(network[0], Cropped)
    torch.testing.assert_close(network[0](x, output_size=size), expected)


def test_places_name_their_runtime():
    for name in RUNTIMES:
        assert runtime_of(place_name(name, "cpu")) == name
    assert runtime_of("torch") == "onnxruntime"


def test_rows_of_other_files_stay_apart(run):
    assert all(row.network == run.hash_network(row.mode, row.runtime) for row in read_rows(run))
    assert run.made("fp32", "litert").name == "model.fp32.tflite.json"
    assert not run.is_converted("fp32", "litert")
