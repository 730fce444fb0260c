"""A job: what it leaves behind, and that it is skipped, resumed, refused and retried rightly."""

import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from brainseg.data.phantom.write import write_phantom
from brainseg.errors import InputError
from brainseg.files import read_csv, read_json, write_text
from brainseg.model.checkpoint import load_weights
from brainseg.model.registry import build_network
from brainseg.run import Run
from brainseg.training.checkpoint import checkpoint_callbacks
from brainseg.training.fit import choose_precision
from brainseg.training.job import run_job
from brainseg.training.module import SegmentationModule

LEARNT = ("epoch", "train_loss", "val_loss", "val_mean_iou", "val_tumor_iou", "lr")


def learnt(run: Run) -> list[list[str]]:
    """The history without its times."""
    return [[row[key] for key in LEARNT] for row in read_csv(run.history)]


def fail_in_epoch(monkeypatch: pytest.MonkeyPatch, epoch: int, error: BaseException) -> None:
    """Make training raise `error` in the middle of an epoch."""
    step = SegmentationModule.training_step

    def training_step(self, batch, batch_index):
        if (self.current_epoch, batch_index) == (epoch, 1):
            raise error
        return step(self, batch, batch_index)

    monkeypatch.setattr(SegmentationModule, "training_step", training_step)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("undisturbed") / "ag-seed0")


@pytest.fixture
def finished(undisturbed: Run, configure) -> Run:
    run_job(configure(), undisturbed)  # the second time there is nothing left to do
    return undisturbed


def test_a_finished_run_holds_what_it_promises(finished: Run):
    state = finished.read_state()
    assert (state["status"], state["stage"], state["attempts"]) == ("finished", "done", 1)
    assert len(state["identity"]["data.fingerprint"]) == 64
    assert finished.best.exists()
    assert not finished.last.exists()
    assert [row["epoch"] for row in read_csv(finished.history)] == ["0", "1", "2"]
    parts = [row["split"] for row in read_csv(finished.split)]
    assert len(parts) == 24
    metrics = read_json(finished.metrics)
    assert metrics["n"] == parts.count("test")
    assert read_json(finished.model)["parameters"] > 0
    assert finished.read_environment()["folder"] == str(Path.cwd())


def test_best_checkpoint_loads_safely_and_is_the_best_epoch(finished: Run):
    content = torch.load(finished.best, weights_only=True)
    scores = [float(row["val_mean_iou"]) for row in read_csv(finished.history)]
    assert content["epoch"] == scores.index(max(scores))
    model = finished.read_config()["model"]
    network = build_network(model)
    load_weights(network, finished.best)


def test_a_finished_run_of_an_older_version_is_recognised(finished: Run, configure, monkeypatch):
    monkeypatch.setattr("brainseg.training.job.fit", lambda *_, **__: pytest.fail("trained again"))
    state, config = finished.read_state(), finished.config.read_text()
    identity = state["identity"] | {"data.harmonize": False}
    finished.update_state(identity=identity)
    finished.config.write_text(config.replace("data:\n", "data:\n  harmonize: false\n"))
    assert finished.read_config()["data"]["harmonize"] is False
    run_job(configure(), finished)
    assert finished.read_state() == state | {"identity": identity}
    finished.update_state(identity=identity | {"data.harmonize": True})
    with pytest.raises(InputError, match=r"data\.harmonize: True there, None now"):
        run_job(configure(), finished)
    finished.update_state(identity=state["identity"])
    finished.config.write_text(config)


def test_a_finished_run_is_left_alone(finished: Run, configure, caplog, monkeypatch):
    monkeypatch.setattr("brainseg.training.job.fit", lambda *_, **__: pytest.fail("trained again"))
    before = {path: path.stat().st_mtime_ns for path in finished.path.rglob("*.npz")}
    with caplog.at_level(logging.INFO, "brainseg"):
        run_job(configure(), finished)
    assert "nothing to do" in caplog.text
    assert before == {path: path.stat().st_mtime_ns for path in finished.path.rglob("*.npz")}


@pytest.mark.parametrize("schedule", ["one_cycle", "plateau"])
def test_a_cut_off_run_resumes_to_the_same_end(
    schedule: str, tmp_path: Path, configure, monkeypatch, caplog
):
    options = {"factor": 0.5, "patience": 0, "min_lr": 1e-6} if schedule == "plateau" else {}
    config = configure()
    config["schedule"] = {"name": schedule, **options}
    straight, cut = Run(tmp_path / "straight"), Run(tmp_path / "cut")
    run_job(config, straight)
    with monkeypatch.context() as patch:
        fail_in_epoch(patch, 2, RuntimeError("power cut"))
        with pytest.raises(RuntimeError, match="power cut"):
            run_job(config, cut)
    state = cut.read_state()
    assert (state["status"], state["stage"]) == ("failed", "train")
    assert "power cut" in state["reason"]
    assert len(learnt(cut)) == 2
    cut.update_state(devices=[2])
    run_job(config, cut)
    assert "trained on 2 devices until now, and goes on with 1" in caplog.text
    assert cut.read_state()["attempts"] == 2
    assert cut.read_state()["devices"] == [2, 1]
    assert learnt(cut) == learnt(straight)
    assert cut.metrics.read_bytes() == straight.metrics.read_bytes()
    weights = [torch.load(run.best, weights_only=True)["state_dict"] for run in (cut, straight)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[1])


def test_another_identity_is_refused_and_the_run_stays(finished: Run, configure):
    state = finished.state.read_bytes()
    with pytest.raises(InputError, match=r"optim\.lr: 0\.001 there, 0\.1 now"):
        run_job(configure(optim={"lr": 0.1}), finished)
    assert finished.state.read_bytes() == state


def test_other_data_are_refused_and_the_run_stays(
    finished: Run, configure, tmp_path: Path, monkeypatch
):
    state = finished.state.read_bytes()
    monkeypatch.setattr("brainseg.data.load.load_slices", _refingerprinted)
    with pytest.raises(InputError, match=r"the data: other files, or another data\.root"):
        run_job(configure(), finished)
    assert finished.state.read_bytes() == state


def _refingerprinted(cases, size, folder):
    from dataclasses import replace

    from brainseg.data.cache import load_slices

    return replace(load_slices(cases, size, folder), fingerprint="0" * 64)


def test_force_starts_over(tmp_path: Path, configure, monkeypatch):
    run = Run(tmp_path / "run")
    run.update_state(stage="done", status="finished", identity={"optim.lr": 5})
    (run.path / "old.txt").touch()
    fail_in_epoch(monkeypatch, 0, RuntimeError("far enough"))
    with pytest.raises(RuntimeError, match="far enough"):
        run_job(configure(force=True), run)
    assert not (run.path / "old.txt").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"data": {"negatives": "/no/such/folder"}}, "does not exist"),
        ({"data": {"patients": 2}}, "The class glioma has 1 patients"),
        ({"trainer": {"precision": "no-such"}}, "Lightning does not accept"),
        ({"trainer": {"devices": "no-such"}}, "Lightning does not accept"),
    ],
)
def test_force_keeps_the_run_where_the_new_one_is_refused(
    tmp_path: Path, configure, changes: dict, told: str
):
    run = Run(tmp_path / "run")
    run.update_state(stage="done", status="finished", identity={"optim.lr": 5})
    for file in (run.best, run.onnx("fp32"), run.evaluations / "other" / "evaluation.json"):
        write_text(file, "kept")
    before = contents(run)
    with pytest.raises(InputError, match=told):
        run_job(configure(force=True, **changes), run)
    assert contents(run) == before


def contents(run: Run) -> dict[Path, bytes]:
    """Every file of a run, but for the lock."""
    files = [path for path in run.path.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path: path.read_bytes() for path in files}


def test_unusable_data_are_noted_and_may_be_mended(tmp_path: Path, configure):
    run = Run(tmp_path / "run")
    with pytest.raises(InputError, match="The class glioma has 1 patients"):
        run_job(configure(data={"patients": 2}), run)
    state = run.read_state()
    assert (state["status"], state["stage"]) == ("failed", "data")
    assert state["reason"].startswith("The class glioma")
    with pytest.raises(InputError, match="encoder=resnetv2_51"):
        run_job(configure(model={"encoder": "resnetv2_51"}), run)
    assert "resnetv2_51" in run.read_state()["reason"]


def test_early_stopping_stops(tmp_path: Path, configure):
    run = Run(tmp_path / "run")
    config = configure(optim={"lr": 0.0}, trainer={"max_epochs": 9, "early_stopping": 1})
    config["schedule"] = {"name": "plateau", "factor": 0.2, "patience": 4, "min_lr": 0}
    run_job(config, run)
    assert len(read_csv(run.history)) < 9


def test_a_failed_late_stage_does_not_train_again(tmp_path: Path, configure, monkeypatch):
    run = Run(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr("brainseg.training.job.prepare_modes", _raise_disk_full)
        with pytest.raises(InputError, match="disk is full"):
            run_job(configure(), run)
    assert run.read_state()["stage"] == "deploy"
    monkeypatch.setattr("brainseg.training.job.fit", lambda *_, **__: pytest.fail("trained again"))
    run_job(configure(), run)
    assert run.read_state()["status"] == "finished"


def test_configuration_and_environment_tell_of_one_place(tmp_path: Path, configure, monkeypatch):
    run = Run(tmp_path / "run")
    for root in ("a/set", "b/moved"):
        write_phantom(tmp_path / root, patients=12, slices=2, size=32, seed=0)
    with monkeypatch.context() as patch:
        patch.setattr("brainseg.training.job.prepare_modes", _raise_disk_full)
        patch.chdir(tmp_path / "a")
        with pytest.raises(InputError, match="disk is full"):
            run_job(configure(data={"name": "folder", "root": "set"}), run)
    monkeypatch.chdir(tmp_path / "b")
    run_job(configure(data={"name": "folder", "root": "moved"}), run)
    assert run.read_state()["status"] == "finished"
    assert run.read_config()["data"]["root"] == "set"
    assert run.read_environment()["folder"] == str(tmp_path / "a")


def _raise_disk_full(*_, **__):
    raise InputError("The disk is full")


def test_random_split_warns_of_leaks(tmp_path: Path, configure, caplog, monkeypatch):
    fail_in_epoch(monkeypatch, 0, RuntimeError("far enough"))
    config = configure(data={"slices": 6}, split={"name": "random"})
    with pytest.raises(RuntimeError, match="far enough"):
        run_job(config, Run(tmp_path / "run"))
    assert "show patients who are also in training" in caplog.text


def test_random_split_of_unknown_patients_warns_too(tmp_path: Path, configure, caplog, monkeypatch):
    root = tmp_path / "data"
    write_phantom(root, patients=12, slices=2, size=32, seed=0)
    (root / "labels.csv").unlink()
    fail_in_epoch(monkeypatch, 0, RuntimeError("far enough"))
    run = Run(tmp_path / "run")
    data = {"name": "folder", "root": str(root)}
    with pytest.raises(RuntimeError, match="far enough"):
        run_job(configure(data=data, split={"name": "random"}), run)
    assert "Patients are unknown" in caplog.text
    assert {row["patient"] for row in read_csv(run.split)} == {""}
    assert {row["class"] for row in read_csv(run.split)} == {"tumor", "notumor"}


def test_a_moved_run_keeps_its_best_score(tmp_path: Path):
    saved, restored = (
        checkpoint_callbacks(Run(tmp_path / name), None)[0] for name in ("here", "there")
    )
    best = str(Run(tmp_path / "here").best)
    saved.best_model_path = saved.kth_best_model_path = best
    saved.best_model_score = torch.tensor(0.8)
    saved.best_k_models = {best: torch.tensor(0.8)}
    restored.load_state_dict(saved.state_dict())
    moved = str(Run(tmp_path / "there").best)
    assert restored.best_model_score == torch.tensor(0.8)
    assert restored.best_model_path == moved
    assert list(restored.best_k_models) == [moved]


@pytest.mark.parametrize(("waited", "stops"), [(1, False), (2, True)])
def test_patience_that_ran_out_before_the_cut_is_remembered(
    tmp_path: Path, waited: int, stops: bool
):
    stopping = checkpoint_callbacks(Run(tmp_path), 2)[0]
    stopping.load_state_dict(stopping.state_dict() | {"wait_count": waited})
    trainer = SimpleNamespace(should_stop=False)
    stopping.on_train_start(trainer, None)
    assert trainer.should_stop == stops


def test_precision_follows_the_device(monkeypatch):
    assert choose_precision("16-mixed", "cpu") == "16-mixed"
    for supported, expected in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda s=supported: s)
        assert choose_precision("auto", "cpu") == expected


def test_a_gpu_that_is_not_there_is_told(tmp_path: Path, configure):
    with pytest.raises(InputError, match=r"trainer\.accelerator=cpu"):
        run_job(configure(trainer={"accelerator": "gpu"}), Run(tmp_path / "run"))


def test_a_run_tells_what_its_data_are(finished: Run):
    facts = read_json(finished.data)
    parts = [row["split"] for row in read_csv(finished.split)]
    assert {part: sum(counts.values()) for part, counts in facts["images"].items()} == {
        part: parts.count(part) for part in ("train", "val", "test")
    }
    assert facts["leaks"] == {}
    assert read_csv(finished.leaks) == []
    shares = [float(row["waiting_share"]) for row in read_csv(finished.history)]
    assert all(0 <= share < 1 for share in shares)
    assert read_json(finished.metrics)["negatives"]["others"]["n"] > 0


def test_a_leaking_test_set_stops_the_run_before_training(configure, tmp_path: Path):
    phantoms, copies = tmp_path / "phantoms", tmp_path / "copies"
    write_phantom(phantoms, patients=12, slices=2, size=32, seed=5)
    shutil.copytree(phantoms, copies)
    labels = (copies / "labels.csv").read_text()
    (copies / "labels.csv").write_text(labels.replace("phantom-", "other-"))
    data = {"name": "folder", "root": str(phantoms), "test": str(copies)}
    run = Run(tmp_path / "ag-seed0")
    with pytest.raises(InputError, match="24 of 24 test images are also in training"):
        run_job(configure(data=data), run)
    assert run.read_state()["status"] == "failed"
    assert len(read_csv(run.leaks)) == 24
    assert not run.best.exists()
    run_job(configure(data=data, split={"leaks": "allow"}), run)  # told otherwise
    assert run.read_state()["status"] == "finished"
    assert [row["split"] for row in read_csv(run.split)].count("test") == 24
