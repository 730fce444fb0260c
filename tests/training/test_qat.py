"""Fine-tuning for 8 bits: what it learns, how it resumes, and what it needs."""

import shutil

import numpy as np
import onnx
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from brainseg.data.parts import read_test, to_input
from brainseg.deploy.qat import trainable
from brainseg.deploy.ranges import calibrate
from brainseg.deploy.static import insert_qdq, rewrite
from brainseg.deploy.torch_graph import TorchGraph
from brainseg.errors import InputError
from brainseg.files import read_csv
from brainseg.rows import read_rows
from brainseg.run import Run
from brainseg.runtime.open import open_session
from brainseg.training import qat
from brainseg.training.fit import make_trainer, without_advice
from brainseg.training.job import run_job
from brainseg.training.modes import prepare_modes

CHOSEN = {"int8_qat": {"epochs": 3, "lr": 1e-3}}


@pytest.fixture(scope="module")
def learned(tmp_path_factory, configure):
    """A run that was trained, exported and quantized without fine-tuning."""
    run = Run(tmp_path_factory.mktemp("learned") / "ag-seed0")
    run_job(configure(), run)
    prepare_modes(run, ["int8_static"])
    return run


@pytest.fixture(scope="module")
def tuned(learned, tmp_path_factory):
    """The same fine-tuned, without a stop."""
    run = Run(shutil.copytree(learned.path, tmp_path_factory.mktemp("tuned") / "ag-seed0"))
    prepare_modes(run, ["int8_qat"], CHOSEN)
    return run


@pytest.fixture
def run(learned, tmp_path):
    return Run(shutil.copytree(learned.path, tmp_path / "ag-seed0"))


def test_a_network_learns_to_give_in_8_bits_what_it_gives_in_float(prepared, configure, tmp_path):
    exact = rewrite(onnx.load(prepared("ag").onnx("fp32")))
    images = torch.from_numpy(to_input(read_test(prepared("ag"))["images"]))
    calibrate(exact, images.numpy(), "minmax", tmp_path / "ranges.json")
    network, teacher = (
        TorchGraph(insert_qdq(exact, tmp_path / "ranges.json"), exact),
        TorchGraph(exact),
    )
    module = qat.DistillationModule(network, teacher, 1e-5, 0)

    def error():
        with torch.inference_mode():
            return (network(images).sigmoid() - teacher(images).sigmoid()).square().mean().item()

    before = error()
    loader = DataLoader(TensorDataset(images, torch.zeros_like(images)), batch_size=3)
    settings = configure()["trainer"] | {"max_epochs": 20}
    with without_advice():
        make_trainer(settings).fit(module, loader, loader)
    assert error() < 0.95 * before
    assert not any("teacher" in name for name in module.state_dict())


def test_the_file_computes_what_was_trained(tuned):
    images = to_input(read_test(tuned)["images"])
    graph = trainable(rewrite(onnx.load(tuned.onnx("fp32"))), tuned)
    before = graph(torch.from_numpy(images)).sigmoid().detach().numpy()
    graph.load_state_dict(torch.load(tuned.tuning.best, weights_only=True)["state_dict"])
    trained = graph(torch.from_numpy(images)).sigmoid().detach().numpy()
    found = open_session(tuned.onnx("int8_qat")).run(images)
    assert np.abs(found - trained).mean() < 0.2 * np.abs(found - before).mean()


def test_it_has_the_form_of_int8_static_and_a_row(tuned):
    kinds = [
        sorted(node.op_type for node in onnx.load(tuned.onnx(mode)).graph.node)
        for mode in ("int8_static", "int8_qat")
    ]
    assert kinds[0] == kinds[1]
    row = next(row for row in read_rows(tuned) if row.mode == "int8_qat")
    assert (row.status, row.options) == ("ok", CHOSEN["int8_qat"])
    assert row.delta_mean_iou is not None
    assert row.size_ratio < 1


def test_what_was_learned_is_kept_and_nothing_else(tuned):
    assert [path.name for path in (tuned.tuning.path / "checkpoints").iterdir()] == ["best.ckpt"]
    rows = read_csv(tuned.tuning.history)
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])


def test_done_once_it_is_not_done_again(tuned, monkeypatch):
    monkeypatch.setattr(qat, "_train", None)
    assert prepare_modes(tuned, ["int8_qat"]) == []
    assert prepare_modes(tuned, ["int8_qat"], CHOSEN) == []


def test_interrupted_and_repeated_it_ends_as_if_undisturbed(run, tuned, monkeypatch):
    step = qat.DistillationModule.training_step

    def stop(self, batch, index):
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(qat.DistillationModule, "training_step", stop)
        with pytest.raises(SystemExit):
            prepare_modes(run, ["int8_qat"], CHOSEN)
    assert run.tuning.last.exists()
    assert not run.onnx("int8_qat").exists()
    assert "fine-tuned 3 epochs" in prepare_modes(run, ["int8_qat"], CHOSEN)
    first, second = (
        torch.load(each.tuning.best, weights_only=True)["state_dict"] for each in (tuned, run)
    )
    for key, weight in first.items():
        torch.testing.assert_close(second[key], weight)
    assert len(read_csv(run.tuning.history)) == 3


def test_other_options_tune_again(run, tuned, monkeypatch):
    shutil.copytree(tuned.tuning.path, run.tuning.path)
    begun = []
    monkeypatch.setattr(qat, "_train", lambda *given: begun.append(given[-1]))
    qat.fine_tune(run, CHOSEN)
    assert begun == []
    qat.fine_tune(run, {"int8_qat": {"epochs": 1}})
    assert begun == [{"epochs": 1, "lr": 1e-5}]
    assert not run.tuning.best.exists()


def test_damaged_it_starts_again(run, tuned, monkeypatch, caplog):
    shutil.copytree(tuned.tuning.path, run.tuning.path)
    run.tuning.state.write_text("{")
    assert "--mode int8_qat` makes it again" in run.find_damage()[run.tuning.state]
    begun = []
    monkeypatch.setattr(qat, "_train", lambda *given: begun.append(given[-1]))
    qat.fine_tune(run, CHOSEN)
    assert begun == [CHOSEN["int8_qat"]]
    assert "starts again" in caplog.text


def test_all_modes_are_those_without_training(run, monkeypatch):
    monkeypatch.setattr(qat, "fine_tune", None)
    prepare_modes(run, ["fp16"])
    assert run.onnx("fp16").exists()


class TestWithoutTheTrainingImages:
    """What can be made without them is made, and the message says what is missing."""

    def refused(self, run, told):
        with pytest.raises(InputError, match=told) as caught:
            prepare_modes(run, ["fp16", "int8_qat"])
        assert "int8_qat fine-tunes" in str(caught.value)
        assert "Every other mode is made without them" in str(caught.value)
        assert run.onnx("fp16").exists()

    def test_gone(self, run, monkeypatch):
        def gone(*_):
            raise InputError("There is no folder data.")

        monkeypatch.setattr(qat, "load_data", gone)
        self.refused(run, "There is no folder data")

    def test_fewer(self, run, monkeypatch):
        load = qat.load_data

        def fewer(*given):
            table, slices = load(*given)
            return table.assign(id=table["id"].replace(trained[0], "another")), slices

        trained = [row["id"] for row in run.read(run.split) if row["split"] == "train"]
        monkeypatch.setattr(qat, "load_data", fewer)
        self.refused(run, "1 of them are not in")

    def test_others(self, run, monkeypatch):
        val = dict(np.load(run.val))
        monkeypatch.setattr(qat, "read_val", lambda _: val | {"images": 255 - val["images"]})
        self.refused(run, "differ by .* grey levels")
