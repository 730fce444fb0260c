import logging

import numpy as np
import onnx
import pytest
import torch

from brainseg import __version__
from brainseg.data.likeness import Likeness
from brainseg.data.parts import read_test, to_input
from brainseg.deploy import export as subject
from brainseg.deploy.export import check_parity, export, parity
from brainseg.errors import InputError
from brainseg.model.checkpoint import load_network, load_weights
from brainseg.model.unet import build_resunet
from brainseg.runtime.open import open_session

ATTENTIONS = ["none", "ag", "se", "cbam"]


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_graph_equals_the_checkpoint(prepared, attention, batch):
    run = prepared(attention)
    network = build_resunet(**run.read_config()["model"]).eval()
    load_weights(network, run.best)
    images = to_input(read_test(run)["images"][:batch])
    with torch.no_grad():
        expected = torch.sigmoid(network(torch.from_numpy(images))).numpy()
    found = open_session(run.onnx("fp32")).run(images)
    assert expected.std() > 0.1  # a constant would prove nothing
    assert found.shape == images.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_the_file_says_what_it_is(prepared, attention):
    run = prepared(attention)
    model = onnx.load(run.onnx("fp32"), load_external_data=False)
    onnx.checker.check_model(model)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 18)]
    (image,), (probability,) = model.graph.input, model.graph.output
    assert (image.name, probability.name) == ("image", "probability")
    shape = [dim.dim_param or dim.dim_value for dim in image.type.tensor_type.shape.dim]
    assert shape == ["batch", 1, 32, 32]
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert 0 <= run.read_made("fp32")["parity"] <= 1e-4
    assert properties == {
        "brainseg": __version__,
        "model": "resunet",
        "attention": attention,
        "image_size": "32",
        "mode": "fp32",
        "input_range": "[0, 1]",
        "keep_aspect": "False",
        "likeness": Likeness.of(run.read(run.val)["images"]).to_text(),
    }


def test_it_is_one_file_without_paths_of_this_machine(prepared):
    run = prepared("none")
    assert len(list(run.path.glob("*fp32.onnx*"))) == 1
    assert b"site-packages" not in run.onnx("fp32").read_bytes()


def test_export_prints_and_warns_nothing(run, capfd, recwarn, caplog):
    small = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 3, padding=1), torch.nn.Sigmoid()).eval()
    assert export(run, small) == run.onnx("fp32")
    assert capfd.readouterr() == ("", "")
    assert list(recwarn) == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_parity_is_the_largest_difference(prepared):
    run = prepared("none")
    images = to_input(read_test(run)["images"])
    network = load_network(run)
    shifted = torch.nn.Sequential(network, Shift())
    session = open_session(run.onnx("fp32"))
    assert parity(network, session, images) < 1e-5
    assert parity(shifted, session, images) == pytest.approx(0.25, abs=1e-5)


class Shift(torch.nn.Module):
    def forward(self, x):
        x = x.clone()
        x[-1, 0, -1, -1] += 0.25
        return x


def test_a_graph_that_differs_is_a_warning(run, caplog):
    session = open_session(run.onnx("fp32"))
    with caplog.at_level(logging.WARNING):
        assert check_parity(run, load_network(run), session) < 1e-5
        assert caplog.text == ""
        difference = check_parity(run, torch.nn.Sequential(load_network(run), Shift()), session)
    assert difference == pytest.approx(0.25, abs=1e-5)
    assert "model.fp32.onnx differs from its checkpoint by up to 2.5e-01" in caplog.text


def test_a_failing_export_leaves_the_old_file(run, monkeypatch):
    before = run.onnx("fp32").read_bytes()
    names = sorted(run.path.iterdir())

    def fail(*_):
        raise RuntimeError("interrupted")

    monkeypatch.setattr(subject, "_write_graph", fail)
    with pytest.raises(RuntimeError, match="interrupted"):
        export(run, load_network(run))
    assert run.onnx("fp32").read_bytes() == before
    assert sorted(run.path.iterdir()) == names


@pytest.mark.parametrize("missing", ["config", "best"])
def test_what_training_leaves_must_be_there(run, missing):
    getattr(run, missing).unlink()
    with pytest.raises(InputError, match=getattr(run, missing).name):
        load_network(run)
