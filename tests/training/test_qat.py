"""Fine-tuning for 8 bits: what it learns, how it resumes, and what it needs."""

import shutil
import signal
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
import yaml
from torch.utils.data import DataLoader, TensorDataset
from typer.testing import CliRunner

from brainseg import cli
from brainseg.data.parts import read_test, read_val, to_input
from brainseg.deploy.qat import choose_tuning, trainable
from brainseg.deploy.quantize import quantize
from brainseg.deploy.ranges import calibrate
from brainseg.deploy.static import insert_qdq, rewrite
from brainseg.deploy.torch_graph import TorchGraph
from brainseg.errors import InputError
from brainseg.experiment import find_runs
from brainseg.files import read_csv, read_json, write_text
from brainseg.report.write import write_report
from brainseg.rows import read_rows
from brainseg.run import Run
from brainseg.runtime.open import open_session
from brainseg.training import origin, qat
from brainseg.training.fit import make_trainer, without_advice
from brainseg.training.job import run_job
from brainseg.training.modes import prepare_modes
from brainseg.vocabulary import all_modes

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


def test_a_network_learns_to_give_in_8_bits_what_it_gives_in_float(
    prepared, configure, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # where Lightning puts checkpoints of its own
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


def test_its_record_tells_on_what_it_was_calibrated(tuned):
    made = tuned.read_made("int8_qat")
    assert made["options"] == CHOSEN["int8_qat"]
    assert made["method"] == "minmax"
    assert made["calibration"]["part"] == "val"
    assert {*made["calibration"]["ids"]} <= {*read_val(tuned)["ids"]}


def test_it_is_no_run_of_its_own(tuned, monkeypatch):
    monkeypatch.setattr("brainseg.report.figures.gallery.draw_all", lambda *_: [])
    assert find_runs(tuned.experiment) == [tuned]
    with pytest.raises(InputError, match="No run below"):
        find_runs(tuned.tuning.path)
    write_report(tuned.experiment)
    table = read_json(tuned.experiment / "report" / "table.json")
    assert {row["run"] for row in table["rows"]} == {tuned.name}
    listed = CliRunner().invoke(cli.app, ["runs", "prune", str(tuned.experiment), "--quantized"])
    assert "--mode int8_qat" in " ".join(listed.output.split())


def test_done_once_it_is_not_done_again(tuned, monkeypatch):
    monkeypatch.setattr(qat, "_train", None)
    assert prepare_modes(tuned, ["int8_qat"]) == []
    assert prepare_modes(tuned, ["int8_qat"], CHOSEN) == []


def test_interrupted_and_repeated_it_ends_as_if_undisturbed(
    run, tuned, monkeypatch, capsys, restored
):
    step = qat.DistillationModule.training_step

    def stop(self, batch, index):
        if self.current_epoch == 1:
            signal.raise_signal(signal.SIGINT)
        return step(self, batch, index)

    typed = ["quantize", str(run.path), "--mode", "int8_qat", "--epochs", "3", "--lr", "1e-3"]
    with monkeypatch.context() as patch:
        patch.setattr(qat.DistillationModule, "training_step", stop)
        patch.setattr(sys, "argv", ["brainseg", *typed])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert ended.value.code == 130
    assert "Interrupted." in capsys.readouterr().err
    assert run.tuning.last.exists()
    with pytest.raises(InputError, match="unfinished"):
        quantize(run, "int8_qat")
    assert "fine-tuned 3 epochs" in prepare_modes(run, ["int8_qat"])
    assert run.read_made("int8_qat")["options"] == CHOSEN["int8_qat"]
    first, second = (
        torch.load(each.tuning.best, weights_only=True)["state_dict"] for each in (tuned, run)
    )
    for key, weight in first.items():
        torch.testing.assert_close(second[key], weight)
    assert len(read_csv(run.tuning.history)) == 3


def test_a_notebook_is_not_ended_and_an_older_configuration_will_do(run, monkeypatch):
    config = run.read_config()
    del config["data"]["workers"], config["data"]["batch_size"], config["split"]["seed"]
    config["trainer"] = {"max_epochs": 3}
    write_text(run.config, yaml.safe_dump(config))

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(qat.DistillationModule, "training_step", stop)
    with pytest.raises(KeyboardInterrupt):
        qat.fine_tune(run, CHOSEN["int8_qat"])


def test_what_to_try_where_the_loss_is_no_number():
    module = qat.DistillationModule(torch.nn.Identity(), torch.nn.Identity(), 1e-3, 0)
    assert module.advise().endswith("kept in qat/. Try a lower rate, --lr 0.0001.")


class TestAnew:
    """What starts another fine-tuning, and that it is told."""

    @pytest.fixture
    def begun(self, run, tuned, monkeypatch):
        """The options of each fine-tuning of `run`, which has what `tuned` has but for the file."""
        shutil.copytree(tuned.tuning.path, run.tuning.path)
        begun = []
        monkeypatch.setattr(qat, "_train", lambda *given: begun.append(given[-1]))
        return begun

    def test_other_options(self, run, begun, caplog):
        qat.fine_tune(run, choose_tuning(run, {}))
        assert begun == []
        qat.fine_tune(run, choose_tuning(run, {"int8_qat": {"epochs": 1}}))
        assert begun == [{"epochs": 1, "lr": 1e-3}]
        assert not run.tuning.best.exists()
        assert "is discarded: its options were others" in caplog.text

    def test_another_network(self, run, begun, change_graph, caplog):
        change_graph(run.onnx("fp32"))
        with pytest.raises(InputError, match="of another network"):
            quantize(run, "int8_qat")
        qat.fine_tune(run, choose_tuning(run, {}))
        assert begun == [CHOSEN["int8_qat"]]
        assert "is discarded: it is of another network" in caplog.text

    def test_damaged_weights(self, run, begun, caplog):
        content = bytearray(run.tuning.best.read_bytes())
        content[len(content) // 2] ^= 16
        run.tuning.best.write_bytes(content)
        with pytest.raises(InputError, match="damaged"):
            quantize(run, "int8_qat")
        qat.fine_tune(run, choose_tuning(run, {}))
        assert begun == [CHOSEN["int8_qat"]]
        assert "is discarded: its weights are damaged" in caplog.text

    def test_nothing_while_the_images_are_gone(self, run, begun, monkeypatch):
        monkeypatch.setattr(qat, "load_origin", None)
        with pytest.raises(TypeError):
            qat.fine_tune(run, {"epochs": 1, "lr": 1e-3})
        assert run.tuning.best.exists()


@pytest.mark.parametrize("name", ["state.json", "history.csv", "ranges.json"])
def test_what_is_damaged_is_not_needed_beside_the_file(tuned, tmp_path, monkeypatch, name):
    run = Run(shutil.copytree(tuned.path, tmp_path / tuned.name))
    monkeypatch.setattr(qat, "_train", None)
    file = run.tuning.path / name
    file.write_text(file.read_text().replace("1", "2").removesuffix("}\n"))
    assert "--mode int8_qat` makes it again" in run.find_damage()[file]
    assert prepare_modes(run, ["int8_qat"]) == [f"removed qat/{name}, which was damaged"]
    assert prepare_modes(run, ["int8_qat"]) == []
    assert run.find_damage() == {}


def test_all_modes_are_those_without_training(run, monkeypatch):
    made = []
    monkeypatch.setattr("brainseg.training.modes.prepare_modes", lambda *given: made.append(given))
    CliRunner().invoke(cli.app, ["quantize", str(run.path)])
    assert made[0][1] == tuple(all_modes())
    assert "int8_qat" not in made[0][1]


class TestWithoutTheTrainingImages:
    """What can be made without them is made, and the message says what is missing."""

    def refused(self, run, told):
        with pytest.raises(InputError, match=told) as caught:
            prepare_modes(run, ["fp16", "int8_qat"])
        assert "int8_qat fine-tunes" in str(caught.value)
        assert "Every other mode is made without them" in str(caught.value)
        assert run.onnx("fp16").exists()

    def change(self, monkeypatch, change):
        load = origin.load_data
        monkeypatch.setattr(origin, "load_data", lambda *given: change(*load(*given)))

    def test_gone(self, run, monkeypatch):
        def gone(*_):
            raise InputError("There is no folder data.")

        monkeypatch.setattr(origin, "load_data", gone)
        self.refused(run, "There is no folder data")

    @pytest.mark.parametrize("part", ["train", "val"])
    def test_fewer(self, run, monkeypatch, part):
        gone = next(row["id"] for row in run.read(run.split) if row["split"] == part)
        self.change(
            monkeypatch,
            lambda table, slices: (table.assign(id=table["id"].replace(gone, "another")), slices),
        )
        with pytest.raises(InputError, match="1 of them are not in the phantoms"):
            origin.load_origin(run)

    def test_others(self, run, monkeypatch):
        first = read_val(run)["ids"][0]

        def other(table, slices):
            images = np.array(slices.images)
            images[table.index[table["id"] == first]] = 128
            return table, replace(slices, images=images, fingerprint="another")

        self.change(monkeypatch, other)
        with pytest.raises(InputError, match="1 of the validation images are not"):
            origin.load_origin(run)

    def test_the_same_resized_elsewhere(self, run, monkeypatch):
        def noisy(table, slices):
            images = np.array(slices.images)
            images[:, ::2] ^= 1
            return table, replace(slices, images=images, fingerprint="another")

        self.change(monkeypatch, noisy)
        slices, parts = origin.load_origin(run)
        assert len(slices.images) == len(parts)
