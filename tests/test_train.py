"""`train.py` as a user types it: sweeps, from another folder, with mistakes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from brainseg.deploy.quantize import MODES

ROOT = Path(__file__).parents[1]
SMOKE = ("+sweeps=smoke", "deploy.passes=3", "deploy.devices=[cpu]")


def train(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Type `python train.py ARGUMENTS` in `folder`, which keeps the cache too."""
    command = [sys.executable, str(ROOT / "train.py"), *arguments, f"data.cache_dir={folder}/cache"]
    # Where this process has used W&B before, its children would write through it, elsewhere.
    alone = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=alone)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def sweep(folder: Path) -> subprocess.CompletedProcess[str]:
    return train(*SMOKE, "model.attention=none,cbam", folder=folder)


def test_a_sweep_from_another_folder_ends_in_a_table(sweep, folder: Path):
    assert sweep.returncode == 0, sweep.stderr
    assert "ynthetic data" in sweep.stdout.split("Epoch")[0]
    assert "W&B: offline. To send it later: wandb sync" in sweep.stdout
    runs = folder / "outputs" / "smoke"
    assert {path.name.split("-")[0] for path in runs.iterdir()} == {"none", "cbam", "report"}
    rows = json.loads((runs / "report" / "table.json").read_text())["rows"]
    found = {(row["attention"], row["mode"], row["device"], row["status"]) for row in rows}
    assert found == {
        (attention, mode, "cpu", "ok")
        for attention in ("none", "cbam")
        for mode in ("fp32", "int8_dynamic")
    }
    assert all(row["latency_ms"]["p50"] > 0 and row["size_bytes"] > 0 for row in rows)
    assert "int8_dynamic" in sweep.stdout


def test_a_sweep_ends_with_one_session_over_its_runs(sweep, folder: Path):
    sessions = [
        set(json.loads(path.read_text())) for path in folder.glob("outputs/smoke/*/benchmarks.json")
    ]
    assert len(sessions) == 2
    assert sessions[0] & sessions[1]


def test_hydra_writes_nothing_into_runs_and_logs_are_quiet(sweep, folder: Path):
    assert not list(folder.rglob(".hydra"))
    assert not [path for path in folder.rglob("*.log") if "wandb" not in path.parts]
    for noise in ("litlogger", "GPU available", "HYDRA", "Warning", "wandb:"):
        assert noise not in sweep.stdout + sweep.stderr


def test_each_run_keeps_its_wandb_folder(sweep, folder: Path):
    for run in (folder / "outputs" / "smoke").glob("*-seed0-*"):
        assert len(list(run.glob("wandb/offline-run-*/*.wandb"))) == 2  # training, benchmark
        assert (run / "wandb" / "id").read_text() in str(list(run.glob("wandb/offline-run-*")))


def test_a_failed_job_does_not_stop_the_others(sweep, folder: Path):
    again = train(
        *SMOKE, "model.attention=none", "model.encoder=resnetv2_51,resnetv2_50", folder=folder
    )
    assert again.returncode == 1
    assert "model.encoder=resnetv2_51 is not a network" in again.stdout
    assert "Traceback" not in again.stdout + again.stderr
    assert "Finished already: nothing to do." in again.stdout
    rows = json.loads((folder / "outputs/smoke/report/table.json").read_text())["rows"]
    (failed,) = [row for row in rows if row["status"] == "failed"]
    assert "resnetv2_51" in failed["reason"]
    assert "failed" in again.stdout.split("Device")[1]  # the table


def test_one_bad_attention_stops_the_sweep_before_its_first_job(tmp_path: Path):
    result = train("-m", "model.attention=none,agg,se,cbam", folder=tmp_path)
    assert result.returncode == 1
    assert "expected one of [none, ag, se, cbam]" in result.stderr
    assert not (tmp_path / "outputs" / "demo").exists()


def test_values_that_differ_make_folders_that_differ(tmp_path: Path):
    # too few patients: each job stops as soon as it has its folder
    result = train("-m", "optim.lr=1e-3,1e-4", "data.patients=2", "tracking=none", folder=tmp_path)
    assert result.returncode == 1
    folders = {path.parent.name for path in tmp_path.glob("outputs/demo/*/state.json")}
    assert folders == {"none-seed0-patients2", "none-seed0-patients2-lr0.0001"}


def test_a_mandatory_value_is_asked_for(tmp_path: Path):
    result = train("experiment=paper", folder=tmp_path)
    assert result.returncode == 1
    assert "data.root must be set. Add to the command: data.root=" in result.stdout
    assert not list(tmp_path.glob("outputs/*"))


def test_outside_the_environment_it_says_how_to_get_in(tmp_path: Path):
    result = subprocess.run(
        [sys.executable, "-S", str(ROOT / "train.py")], capture_output=True, text=True, cwd=tmp_path
    )
    assert result.returncode == 1
    assert "source .venv/bin/activate" in result.stderr


def find(folder: Path, attention: str) -> str:
    """The run of an attention, as it is typed in `folder`."""
    (checkpoint,) = folder.glob(f"outputs/smoke/{attention}-seed0-*/checkpoints/best.ckpt")
    return str(checkpoint.parents[1].relative_to(folder))


def brainseg(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "brainseg", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_quantize_all_is_incremental(sweep, folder: Path):
    command = ("quantize", "outputs", "--time", "--device", "cpu", "--passes", 3)
    assert "made model.int8_static.onnx" in brainseg(*command, folder=folder).stdout
    first = brainseg(*command, folder=folder)
    assert first.stdout.count("up to date, nothing to do") == 2
    none, cbam = (find(folder, attention) for attention in ("none", "cbam"))
    (folder / cbam / "checkpoints/best.ckpt").touch()
    second = brainseg(*command, folder=folder).stdout.splitlines()
    assert f"{none}: up to date, nothing to do" in second
    (line,) = [line for line in second if line.startswith(f"{cbam}: ")]
    for done in (
        "scored the checkpoint",
        "made model.int8_dynamic.onnx",
        "timed fp32 with onnxruntime on cpu",
    ):
        assert done in line
    offline = list((folder / cbam / "wandb").glob("offline-run-*"))
    assert len(offline) == 4  # training, benchmark and two later stages: the same W&B run


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_is_not_there_is_a_row_and_exit_code_1(sweep, folder: Path):
    run = find(folder, "none")
    result = brainseg("benchmark", run, "--device", "cuda", folder=folder)
    assert result.returncode == 1
    assert "finds no CUDA device" in result.stderr
    rows = json.loads((folder / run / "deploy.json").read_text())
    missing = [row for row in rows if row["device"] == "cuda"]
    assert {row["mode"] for row in missing} == {"fp32", *MODES}
    assert all(row["status"] == "unavailable" and row["reason"] for row in missing)


def test_a_run_predicts_on_image_files(sweep, folder: Path):
    images = next((folder / "cache").glob("phantom-*/images"))
    files = sorted(images.iterdir())[:2]
    result = brainseg("predict", find(folder, "none"), *files, "--out", "masks", folder=folder)
    assert result.returncode == 0, result.stderr
    assert (folder / "masks" / "predictions.csv").read_text().count("\n") == 3
    assert len(list((folder / "masks").glob("*.png"))) == 4
