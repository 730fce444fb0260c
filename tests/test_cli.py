"""The verbs: what they do, what they say, and their exit codes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from brainseg import cli
from brainseg.benchmark.plan import TimingPlan
from brainseg.errors import InputError
from brainseg.files import read_csv, read_json, write_json, write_text
from brainseg.row import Row
from brainseg.run import Run
from brainseg.scoring.models import Model

OK = Row(mode="fp32", device="cpu", threads=1)
BROKEN = Row(mode="fp16", device="cpu", threads=1, status="failed", reason="broken")
VERBS = (
    *("export", "quantize", "benchmark", "evaluate", "report", "dashboard", "predict", "data"),
    *("package", "push", "robustness"),
)


def brainseg(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str | int | None:
    """Type `brainseg ARGUMENTS`; returns what the process would exit with."""
    monkeypatch.setattr(sys, "argv", ["brainseg", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return caught.value.code


@pytest.fixture
def finished(tmp_path: Path) -> Run:
    run = Run(tmp_path / "demo" / "ag-seed0")
    write_json(run.state, {"stage": "done", "status": "finished"})
    write_text(run.best, "weights")
    write_text(run.config, "tracking: {name: none, mode: offline}\n")
    return run


def export(run: Run, *modes: str) -> None:
    for mode in modes:
        write_text(run.onnx(mode), "network")


def test_help_loads_nothing_heavy():
    heavy = ("torch", "onnxruntime", "pandas", "wandb", "matplotlib", "cv2", "albumentations")
    script = (
        "import sys; sys.argv = ['brainseg', '--help']\n"
        "from brainseg import cli\n"
        "try: cli.main()\n"
        f"finally: print('loaded:', [name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0
    assert "loaded: []" in done.stdout
    for verb in VERBS:
        assert verb in done.stdout


def test_module_and_command_are_the_same():
    done = subprocess.run([sys.executable, "-m", "brainseg"], capture_output=True, text=True)
    assert "quantize" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["quantize", "gone"], "gone is not a folder"),
        (["report", "gone"], "gone is not a folder"),
        (["robustness", "gone", "--bits", "8,x"], "whole numbers from 2 to 8"),
        (["report", "gone", "--margin", "nan"], "a margin of mean IoU, from 0 to 1, found nan"),
        (["report", "gone", "--margin", "-1"], "a margin of mean IoU, from 0 to 1, found -1.0"),
        (["predict", "gone.onnx", "x.png", "--out", "o"], "gone.onnx"),
        (["evaluate", "gone", "--data", "."], "gone is not a folder"),
        (["evaluate", "gone.onnx", "--data", "."], "gone.onnx does not exist"),
        (["dashboard", "gone"], "gone is not a folder"),
        (["data", "labels", ".", "--from-mat", "."], "No N.mat below"),
        (["data", "phantom", "--out", "."], "exists already"),
        (["data", "phantom", "--out", "new", "--difficulty", "x"], "easy"),
        (["data", "audit", ".", "gone", "--out", "o"], "is none of the layouts"),
        (["data", "show", "gone", "--out", "o.png"], "gone does not exist"),
        (["data", "show", ".", "--out", "o.txt"], "a file ending in .png"),
        (["data", "convert", "gone", "--out", "o"], "gone does not exist"),
        (["data", "benchmark", "."], "is none of the layouts"),
    ],
)
def test_mistakes_are_told_in_one_message(
    monkeypatch, tmp_path: Path, arguments: list[str], message: str
):
    monkeypatch.chdir(tmp_path)
    code = brainseg(monkeypatch, *arguments)
    assert str(code).startswith("Error: ")  # what sys.exit prints, with exit code 1
    assert message in str(code)
    assert not list(tmp_path.iterdir())


def test_runs_in_training_are_named_and_skipped(monkeypatch, tmp_path: Path, capsys):
    run = Run(tmp_path / "demo" / "ag-seed0")
    write_json(run.state, {"stage": "train", "status": "running"})
    write_text(run.best, "the best so far")
    code = brainseg(monkeypatch, "quantize", tmp_path)
    assert "None of these runs is trained" in str(code)
    assert f"{run.path}: skipped, its training is not finished" in capsys.readouterr().out


def test_phantoms_are_written_in_the_layout_of_the_real_data(monkeypatch, tmp_path: Path, capsys):
    out = tmp_path / "new"
    options = ("--patients", "12", "--slices", "1", "--size", "48")
    assert brainseg(monkeypatch, "data", "phantom", "--out", out, *options) == 0
    assert "12 slices of 12 patients" in capsys.readouterr().out
    rows = read_csv(out / "labels.csv")
    assert {row["class"] for row in rows} == {"glioma", "meningioma", "pituitary", "notumor"}
    for row in rows:
        mask = np.asarray(Image.open(out / "masks" / f"{row['id']}.png"))
        assert mask.shape == (48, 48)
        assert mask.any() == (row["class"] != "notumor")


def test_data_verbs_on_a_small_data_set(monkeypatch, tmp_path: Path, capsys):
    monkeypatch.chdir(tmp_path)
    options = ("--patients", "4", "--slices", "2", "--size", "48", "--healthy-slices", "1")
    assert brainseg(monkeypatch, "data", "phantom", "--out", "set", *options) == 0
    assert "11 slices of 4 patients" in capsys.readouterr().out
    for out in ("audit", "audit"):  # an existing folder is written into
        assert brainseg(monkeypatch, "data", "audit", "set", "--out", out) == 0
    assert "11 images in" in capsys.readouterr().out
    facts = read_json(tmp_path / "audit" / "audit.json")
    assert (facts["roots"], facts["pairs"], facts["problems"]) == (["set"], [], [])
    assert "Audit of set" in (tmp_path / "audit" / "index.html").read_text()
    assert brainseg(monkeypatch, "data", "show", "set", "--out", "sheet.png") == 0
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 500
    timed = ("--size", "32", "--images", "8", "--batch", "4")
    assert brainseg(monkeypatch, "data", "benchmark", "set", *timed) == 0
    assert "read the cache and augment" in capsys.readouterr().out
    code = brainseg(monkeypatch, "data", "convert", "set", "--out", "slices")
    assert "set has the layout folder. Expected volumes: nifti, lgg, dicom" in str(code)


def test_report_prints_and_writes_the_table(monkeypatch, tmp_path: Path, capsys):
    run = Run(tmp_path / "demo" / "ag-seed0")
    write_json(run.state, {"stage": "train", "status": "failed", "reason": "power cut"})
    assert brainseg(monkeypatch, "report", tmp_path / "demo") == 0
    assert "power cut" in capsys.readouterr().out
    assert "power cut" in (tmp_path / "demo" / "report" / "table.md").read_text()


def test_a_run_that_breaks_does_not_stop_the_others(monkeypatch, tmp_path: Path, capsys):
    for name in ("a-seed0", "b-seed0"):
        run = Run(tmp_path / "demo" / name)
        write_json(run.state, {"stage": "done", "status": "finished"})
        write_text(run.best, "weights")

    def prepare(run, modes):
        if run.name == "a-seed0":
            raise RuntimeError("the exporter broke")
        return []

    monkeypatch.setattr("brainseg.deploy.stages.prepare", prepare)
    code = brainseg(monkeypatch, "export", tmp_path)
    assert "a-seed0: RuntimeError: the exporter broke" in str(code)
    assert "b-seed0: up to date, nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "asked"),
    [
        ([], {}),
        (
            ["--device", "cpu", "--runtime", "openvino,onnxruntime", "--passes", "7"],
            {"devices": ("cpu",), "passes": 7, "runtimes": ("openvino", "onnxruntime")},
        ),
        (
            ["--runtime", "all", "--threads", "3", "--batch", "8"],
            {"threads": (3,), "batch": 8, "runtimes": ("all",)},
        ),
    ],
)
def test_benchmark_asks_for_what_was_typed(finished, monkeypatch, flags: list[str], asked: dict):
    calls = []

    def benchmark(runs, plan):
        calls.append((runs, plan))
        return {finished: [OK]}

    export(finished, "fp32", "fp16", "int8_static")
    monkeypatch.setattr("brainseg.benchmark.benchmark.benchmark", benchmark)
    experiment, mode = finished.experiment, "int8_static,fp16"
    arguments = ("benchmark", experiment, finished.path, "--mode", mode, *flags)
    assert brainseg(monkeypatch, *arguments) == 0
    assert calls == [([finished], TimingPlan(("fp32", "int8_static", "fp16"), **asked))]


def test_benchmark_times_the_modes_that_there_are(finished, monkeypatch):
    def benchmark(runs, plan):
        calls.append(plan.modes)
        return {finished: [OK]}

    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr("brainseg.benchmark.benchmark.benchmark", benchmark)
    code = brainseg(monkeypatch, "benchmark", finished.path)
    assert str(code).endswith(f"Make it first: brainseg export {finished.path}")
    export(finished, "fp32")
    assert brainseg(monkeypatch, "benchmark", finished.path) == 0
    export(finished, "int8_static")
    assert brainseg(monkeypatch, "benchmark", finished.path) == 0
    code = brainseg(monkeypatch, "benchmark", finished.path, "--mode", "int8_static,fp16")
    assert str(code).endswith(f"Make it first: brainseg quantize {finished.path} --mode fp16")
    code = brainseg(monkeypatch, "benchmark", finished.path, "--mode", "int4")
    assert "Unknown mode int4" in str(code)
    assert calls == [("fp32",), ("fp32", "int8_static")]


def test_benchmark_fails_only_where_nothing_was_timed(finished, monkeypatch):
    export(finished, "fp32")
    gone = Row(mode="fp32", device="cuda", threads=1, status="unavailable", reason="no GPU")
    rows = [OK, gone, gone, BROKEN]
    monkeypatch.setattr("brainseg.benchmark.benchmark.benchmark", lambda *_, **__: {finished: rows})
    assert brainseg(monkeypatch, "benchmark", finished.path) == 0
    del rows[0]
    assert brainseg(monkeypatch, "benchmark", finished.path) == "Error: no GPU\nbroken"


def test_a_mirror_that_fails_is_a_warning_at_the_end(finished, monkeypatch, caplog, capsys):
    export(finished, "fp32")
    finished.wandb.mkdir()
    tracking = "{name: wandb, mode: offline, project: brainseg, entity: null}"
    config = f"tracking: {tracking}\nexperiment_name: demo\nmodel: {{attention: ag}}\n"
    write_text(finished.config, f"{config}data: {{name: phantom}}\nsplit: {{name: patient}}\n")
    monkeypatch.setenv("WANDB_MODE", "bogus")
    monkeypatch.setattr("brainseg.benchmark.benchmark.benchmark", lambda *_, **__: {finished: [OK]})
    monkeypatch.setattr("brainseg.deploy.stages.prepare", lambda run, modes: ["made a file"])
    for verb in ("benchmark", "export"):
        caplog.clear()
        assert brainseg(monkeypatch, verb, finished.path) in (0, None)
        assert (finished.experiment / "report" / "table.md").exists()
        assert "ag-seed0" in capsys.readouterr().out
        (record,) = [record for record in caplog.records if record.name == "brainseg.cli.work"]
        assert f"{finished.path}: its new results are not in W&B: " in record.getMessage()


def test_the_margin_reaches_the_report(monkeypatch, tmp_path):
    def show_report(experiment, margin):
        asked.append((experiment.name, margin))

    asked = []
    monkeypatch.setattr("brainseg.report.write.show_report", show_report)
    assert brainseg(monkeypatch, "report", tmp_path / "a", tmp_path / "b") == 0
    assert brainseg(monkeypatch, "report", tmp_path / "a", "--margin", "0.001") == 0
    assert asked == [("a", 0.0004), ("b", 0.0004), ("a", 0.001)]


def test_a_report_that_fails_hides_no_other_failure(finished, monkeypatch):
    other = Run(finished.experiment / "se-seed0")
    write_json(other.state, {"stage": "done", "status": "finished"})
    write_text(other.best, "weights")

    def prepare(run, modes):
        if run == other:
            raise RuntimeError("the exporter broke")
        return ["made a file"]

    def show_report(experiment):
        raise InputError("the report broke")

    monkeypatch.setattr("brainseg.deploy.stages.prepare", prepare)
    monkeypatch.setattr("brainseg.report.write.show_report", show_report)
    code = str(brainseg(monkeypatch, "export", finished.experiment))
    assert "se-seed0: RuntimeError: the exporter broke" in code
    assert f"{finished.experiment}: the report broke" in code


@pytest.mark.parametrize(
    ("flags", "chosen"),
    [
        ([], {}),
        (
            ["--max-drop", "0.0004", "--images", "7", "--per-channel"],
            {
                "int8_static": {"max_drop": "0.0004", "images": 7},
                "int8_weights": {"per_channel": True},
            },
        ),
        (["--max-drop", "none"], {"int8_static": {"max_drop": "none"}}),
    ],
)
def test_quantize_passes_on_what_was_typed(finished, monkeypatch, flags, chosen):
    calls = []

    def prepare(run, modes, chosen):
        calls.append(chosen)
        return []

    monkeypatch.setattr("brainseg.training.modes.prepare_modes", prepare)
    assert brainseg(monkeypatch, "quantize", finished.path, *flags) in (0, None)
    assert calls == [chosen]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--max-drop", "little"], "max_drop=little cannot be used. Expected a number of at least"),
        (["--method", "kl"], "kl. Choose from: minmax, percentile, entropy"),
        (["--runtime", "tflite"], "Unknown runtime tflite. Choose from: onnxruntime, openvino"),
        (["--mode", "int4"], "Unknown mode int4"),
    ],
)
def test_quantize_refuses_before_any_work(finished, monkeypatch, flags, message):
    monkeypatch.setattr("brainseg.training.modes.prepare_modes", lambda *_: pytest.fail("worked"))
    assert message in str(brainseg(monkeypatch, "quantize", finished.path, *flags))


def test_runs_of_an_experiment_are_timed_together(finished, monkeypatch):
    runs = [finished]
    for place in ("demo/se-seed0", "other/ag-seed0"):
        run = Run(finished.experiment.parent / place)
        write_json(run.state, {"stage": "done", "status": "finished"})
        write_text(run.best, "weights")
        runs.append(run)
    timed = []

    def time_together(runs, plan):
        timed.append((runs, plan))
        return {run: [] for run in runs}

    monkeypatch.setattr("brainseg.training.modes.prepare_modes", lambda *_: [])
    monkeypatch.setattr("brainseg.benchmark.together.time_together", time_together)
    flags = ["--time", "--mode", "fp16", "--device", "cpu", "--threads", "1", "--passes", "9"]
    root = finished.experiment.parent
    assert brainseg(monkeypatch, "quantize", root, *flags) in (0, None)
    plan = TimingPlan(("fp16",), ("cpu",), passes=9, threads=(1,))
    assert timed == [(runs[:2], plan), (runs[2:], plan)]


def test_each_model_is_evaluated_and_told(monkeypatch, finished: Run, tmp_path: Path):
    done: list[tuple] = []
    other = tmp_path / "demo" / "model.int8_static.onnx"
    write_text(other, "")
    monkeypatch.setattr(
        "brainseg.scoring.models.find_models",
        lambda paths, modes: [
            Model(None, dict.fromkeys(modes, path), False, 32, str(path)) for path in paths
        ],
    )

    def evaluate(model, data, *, layout, data_options, out, device, same_patients, loaded):
        path, modes = Path(model.name), tuple(model.files)
        done.append((path, modes, data, layout, data_options, out, device, same_patients))
        return path

    monkeypatch.setattr("brainseg.scoring.evaluate.evaluate", evaluate)
    shown: list[Path] = []
    monkeypatch.setattr("brainseg.report.scores.show_evaluation", shown.append)
    arguments = ["evaluate", other, finished.path.parent, "--data", "there", "--mode", "fp32,fp16"]
    arguments += ["--option", "image=t1c"]
    assert brainseg(monkeypatch, *arguments) in (0, None)
    modes = ("fp32", "fp16")
    assert done == [
        (other, modes, Path("there"), None, {"image": "t1c"}, None, "cpu", True),
        (finished.path, modes, Path("there"), None, {"image": "t1c"}, None, "cpu", True),
    ]
    assert shown == [other, finished.path]
    code = brainseg(monkeypatch, *arguments, "--out", "one")
    assert "--out takes one model, 2 were given" in str(code)
