"""`train.py` as a user types it: sweeps, from another folder, with mistakes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from brainseg.files import read_csv, read_json
from brainseg.lock import locked
from brainseg.run import Run

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
    assert "ynthetic data" in sweep.stdout.split("epoch 1")[0]
    assert "W&B: offline. To send the run: wandb sync" in sweep.stdout
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


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("optim.lr=1e-3,abc", "Value 'abc' of type 'str' could not be converted to Float"),
        ("deploy.modes=[int8]", "Unknown mode int8"),
    ],
)
def test_a_bad_value_is_told_before_there_is_a_run(tmp_path: Path, override: str, told: str):
    result = train("-m", override, folder=tmp_path)
    assert result.returncode == 1
    assert told in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert not list(tmp_path.glob("outputs/*/*"))


def test_a_run_in_other_hands_is_left_and_the_sweep_goes_on(sweep, folder: Path):
    with locked(folder / find(folder, "none")):
        again = train(*SMOKE, "model.attention=none,cbam", folder=folder)
    assert again.returncode == 1
    assert "is being worked on by process" in again.stdout
    assert "Traceback" not in again.stdout + again.stderr
    assert again.stdout.count("Finished already: nothing to do.") == 1


def test_ctrl_c_after_training_says_how_to_go_on(folder: Path, tmp_path: Path):
    settings = ("model.attention=none", "deploy.passes=1000000", "tracking=none")
    command = [sys.executable, str(ROOT / "train.py"), "+sweeps=smoke", *settings]
    command.append(f"data.cache_dir={folder}/cache")
    pipe = subprocess.PIPE
    # What a shell puts into the background, such as these tests, hands down deafness to Ctrl-C.
    listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True, preexec_fn=listen
    ) as process:
        while process.poll() is None and not is_finished(tmp_path):  # then all are timed
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        try:
            told, errors = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 130, told + errors
    assert told.splitlines()[-1].startswith("Interrupted. What is finished is kept: the same")
    assert "Traceback" not in told + errors


def is_finished(folder: Path) -> bool:
    runs = (Run(path.parent) for path in folder.rglob("state.json"))
    return any(run.read_state()["status"] == "finished" for run in runs)


LEARNT = ("epoch", "train_loss", "val_loss", "val_mean_iou", "val_tumor_iou", "lr")


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_jobs_side_by_side_leave_what_they_leave_one_after_the_other(
    sweep, folder: Path, tmp_path: Path, launcher: str
):
    # Both draw the phantoms: the cache is new.
    beside = f"hydra/launcher={launcher}"
    result = train(*SMOKE, "model.attention=none,cbam", beside, folder=tmp_path)
    told = result.stdout + result.stderr
    assert result.returncode == 0, told
    for noise in ("Warning", "wandb:", "━", "Traceback"):
        assert noise not in told.split("Accuracy, size and speed")[0]
    if launcher == "joblib":
        assert "2 jobs at once (hydra.launcher.n_jobs) on 1 cores" in result.stdout
        assert re.search(r"Where the time went: 2 jobs \d+ s, 2 at once \(data", result.stdout)
    else:  # each job has a log of its own
        logs = re.findall(r"^Job \d is local's job \d+: (.+)$", told, re.MULTILINE)
        told = "".join((tmp_path / log).read_text() for log in logs)
    assert len(re.findall("epoch ./2  val_mean_iou", told)) == 4
    names = [path.name for path in (tmp_path / "outputs/smoke").glob("*-seed0-*")]
    assert len(names) == 2
    for name in names:
        one, other = (Run(where / "outputs/smoke" / name) for where in (folder, tmp_path))
        # Later tests change the sweep's runs: what only training writes is compared here.
        for file in (one.best, one.split, one.test, one.metrics, one.onnx("fp32")):
            same = other.path / file.relative_to(one.path)
            assert file.read_bytes() == same.read_bytes(), file
        assert [[row[key] for key in LEARNT] for row in read_csv(one.history)] == [
            [row[key] for key in LEARNT] for row in read_csv(other.history)
        ]
    sessions = [set(read_json(path)) for path in tmp_path.glob("outputs/smoke/*/benchmarks.json")]
    assert len(sessions) == 2
    assert sessions[0] & sessions[1]


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


def make_setup(folder: Path, *arguments: str) -> str:
    """What `make setup` would do in `folder`."""
    command = ["make", "--dry-run", "setup", *arguments]
    alone = {"PATH": os.environ["PATH"]}  # `make test` hands its own settings on
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True, env=alone
    ).stdout


def test_setup_installs_another_torch_once(tmp_path: Path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / ".venv").mkdir()
    for name in ("pyproject.toml", "constraints.txt", ".venv/torch", ".venv/installed"):
        (tmp_path / name).touch()
    assert "pip install" not in make_setup(tmp_path)
    assert "pip install --quiet torch==2.7\n" in make_setup(tmp_path, "TORCH=torch==2.7")
    (tmp_path / ".venv/torch").write_text("torch==2.7\n")
    assert "pip install --quiet torch==2.7\n" in make_setup(tmp_path)  # not there yet
    (tmp_path / ".venv/installed").touch()
    for again in ([], ["TORCH=torch==2.7"]):
        assert "pip install" not in make_setup(tmp_path, *again)
    assert "pip install --quiet torch==2.8\n" in make_setup(tmp_path, "TORCH=torch==2.8")


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
    best = folder / cbam / "checkpoints/best.ckpt"
    best.touch()
    second = brainseg(*command, folder=folder)
    assert second.stdout == first.stdout
    content = torch.load(best, weights_only=True)
    content["state_dict"]["network.head.bias"] += 0.1
    torch.save(content, best)
    third = brainseg(*command, folder=folder).stdout.splitlines()
    assert f"{none}: up to date, nothing to do" in third
    (prepared, timed) = [line for line in third if line.startswith(f"{cbam}: ")]
    assert "scored the checkpoint" in prepared
    assert "made model.int8_dynamic.onnx" in prepared
    assert "timed fp32 with onnxruntime on cpu" in timed
    # The run it is compared with is timed beside it.
    sessions = [
        {row["session"] for row in json.loads((folder / run / "deploy.json").read_text())}
        for run in (none, cbam)
    ]
    assert len(sessions[0]) == 1
    assert sessions[0] == sessions[1]
    offline = list((folder / cbam / "wandb").glob("offline-run-*"))
    assert len(offline) == 4  # training, benchmark and two later stages: the same W&B run


def test_a_device_that_is_not_there_is_a_row_and_exit_code_1(sweep, folder: Path):
    run = find(folder, "none")
    result = brainseg("benchmark", run, "--device", "cuda", folder=folder)
    assert result.returncode == 1
    assert "finds no CUDA device" in result.stderr
    rows = json.loads((folder / run / "deploy.json").read_text())
    missing = [row for row in rows if row["device"] == "cuda"]
    made = {path.name.split(".")[1] for path in (folder / run).glob("model.*.onnx")}
    assert {row["mode"] for row in missing} == made > {"fp32"}
    assert all(row["status"] == "unavailable" and row["reason"] for row in missing)


def test_a_run_predicts_on_image_files(sweep, folder: Path):
    images = next((folder / "cache").glob("phantom-*/images"))
    files = sorted(images.iterdir())[:2]
    result = brainseg("predict", find(folder, "none"), *files, "--out", "masks", folder=folder)
    assert result.returncode == 0, result.stderr
    assert (folder / "masks" / "predictions.csv").read_text().count("\n") == 3
    assert len(list((folder / "masks").glob("*.png"))) == 4
