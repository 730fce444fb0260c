import dataclasses
import json
import os
import shutil
import subprocess
import sys

import onnx
import pytest
import torch

from brainseg import vocabulary
from brainseg.benchmark import benchmark as timer
from brainseg.benchmark.plan import TimingPlan
from brainseg.benchmark.together import time_together
from brainseg.deploy import adopt, export, quantize, stages
from brainseg.errors import InputError
from brainseg.files import read_json, write_json
from brainseg.model import checkpoint
from brainseg.rows import read_rows
from brainseg.run import Run
from brainseg.runtime import onnxruntime
from brainseg.runtime import open as opening
from brainseg.scoring.kept import home_of

ALL = ["int8_dynamic"]


@pytest.fixture(autouse=True)
def only_onnxruntime(monkeypatch):
    """What is said of one runtime need not be said of two; and processes take a second each."""
    monkeypatch.setattr("brainseg.runtime.open.is_installed", lambda name: name != "openvino")
    monkeypatch.setattr(timer, "peak_memory_mb", lambda session, batch: 100.0)


@pytest.fixture
def graph(prepared, monkeypatch):
    """The exporter takes seconds: it gives the graph of the prepared run, called otherwise."""
    model = onnx.load(prepared("none").onnx("fp32"))
    model.doc_string = "exported anew"
    monkeypatch.setattr(export, "_write_graph", lambda *given: onnx.save(model, given[-1]))


def time(run, *modes, passes=1):
    return time_together([run], TimingPlan(modes, ("cpu",), passes=passes))[run]


def other_checkpoint(run):
    """Train on: the same network with other weights."""
    content = torch.load(run.best, weights_only=True)
    content["state_dict"]["network.head.bias"] += 0.5
    torch.save(content, run.best)


def contents(run):
    return {
        file.relative_to(run.path): file.read_bytes()
        for file in run.path.rglob("*")
        if file.is_file()
    }


EVERYTHING = [
    "scored the checkpoint",
    "made model.fp32.onnx",
    "scored fp32",
    "wrote the row of fp32",
    "made model.int8_dynamic.onnx",
    "scored int8_dynamic",
    "wrote the row of int8_dynamic",
]


def test_everything_is_made_once(trained, tmp_path, graph):
    run = Run(shutil.copytree(trained.path, tmp_path / "run"))
    assert stages.prepare(run, []) == EVERYTHING[:4]
    assert stages.prepare(run, ALL) == EVERYTHING[4:]
    before = contents(run)
    assert stages.prepare(run, ALL) == []
    assert contents(run) == before


def test_dates_and_copies_change_nothing(run, tmp_path):
    time(run, *ALL)
    for file in run.path.rglob("*"):
        os.utime(file, (0, 0))
    os.utime(run.best)
    assert stages.prepare(run, ALL) == time(run, *ALL) == []
    copy = Run(tmp_path / "elsewhere" / "copied")
    shutil.copytree(run.path, copy.path, copy_function=shutil.copyfile)
    os.utime(copy.best)
    assert stages.prepare(copy, ALL) == time(copy, *ALL) == []


def test_another_checkpoint_changes_everything_that_follows(run, graph):
    time(run, *ALL)
    before = contents(run)
    other_checkpoint(run)
    assert not run.is_current("fp32")
    assert not run.is_current("int8_dynamic")
    assert stages.prepare(run, ALL) == EVERYTHING
    assert stages.prepare(run, ALL) == []
    assert all(row.latency_ms is None for row in read_rows(run))
    kept = {run.config, run.state, run.val, run.test, run.split}
    changed = {
        run.path / file for file, content in contents(run).items() if content != before[file]
    }
    assert not changed & kept
    made = {run.made(mode) for mode in ("fp32", "int8_dynamic")}  # the graph is always the same one
    assert changed >= {run.metrics, run.scored, run.deploy, *made}


@pytest.mark.parametrize("lose", ["changed", "pruned", "without record"])
def test_a_quantized_file_that_is_made_again_keeps_its_scores_and_times(run, change_graph, lose):
    time(run, *ALL)
    file, before = run.onnx("int8_dynamic"), contents(run)
    if lose == "changed":
        change_graph(file)
    else:
        (file if lose == "pruned" else run.made("int8_dynamic")).unlink()
    assert stages.prepare(run, ALL) == ["made model.int8_dynamic.onnx"]
    assert contents(run) == before
    assert time(run, *ALL) == []


@pytest.mark.parametrize("modes", [[], ALL])
@pytest.mark.parametrize("checkpoint", [True, False])
def test_a_lost_record_of_the_export_costs_nothing(run, graph, modes, checkpoint):
    time(run, *ALL)
    if not modes:
        run.onnx("int8_dynamic").unlink()
        run.made("int8_dynamic").unlink()
    if not checkpoint:
        run.best.unlink()
    kept = run.read_made("fp32")
    before = contents(run)
    run.made("fp32").write_bytes(b"{")
    removed, written = stages.prepare(run, modes)
    assert (removed, written) == (
        "removed model.fp32.json, which was damaged",
        "wrote model.fp32.json again",
    )
    if checkpoint:
        assert contents(run) == before
    else:
        assert run.read_made("fp32") == kept | {"checkpoint": None}
    assert stages.prepare(run, modes) == []


def test_a_lost_record_of_an_export_of_another_checkpoint_is_no_excuse(run, graph):
    other_checkpoint(run)
    run.made("fp32").unlink()
    assert stages.prepare(run, ALL) == EVERYTHING


def test_an_export_that_is_made_again_as_it_was_costs_nothing(run, monkeypatch):
    time(run, *ALL)
    before, content = contents(run), run.onnx("fp32").read_bytes()
    monkeypatch.setattr(export, "_write_graph", lambda *given: given[-1].write_bytes(content))
    run.onnx("fp32").unlink()
    assert stages.prepare(run, ALL) == ["made model.fp32.onnx"]
    assert contents(run) == before


def test_damaged_timings_are_put_aside(run, caplog):
    time(run, *ALL)
    damaged = run.deploy.read_text()[:-2]
    run.deploy.write_text(damaged)
    assert stages.prepare(run, ALL)[0] == (
        "put deploy.json, which was damaged, aside as deploy.json.damaged"
    )
    assert run.deploy.with_name("deploy.json.damaged").read_text() == damaged
    run.benchmarks.write_text("{")
    time(run, *ALL)
    assert "put aside as benchmarks.json.damaged" in caplog.text
    assert run.benchmarks.with_name("benchmarks.json.damaged").read_text() == "{"
    assert run.find_damage() == {}


def test_one_checkpoint_is_built_and_each_file_opened_once_and_profiled_once(
    trained, tmp_path, graph, monkeypatch
):
    built, opened, profiled = [], [], []

    def load(run):
        built.append(run)
        return load_network(run)

    def open_file(path, *given):
        (profiled if len(given) > 2 else opened).append(path.name)
        return open_session(path, *given)

    load_network, open_session = checkpoint.load_network, onnxruntime.open_inference
    monkeypatch.setattr(checkpoint, "load_network", load)
    monkeypatch.setattr(onnxruntime, "open_inference", open_file)
    run = Run(shutil.copytree(trained.path, tmp_path / "run"))
    stages.prepare(run, ALL)
    assert len(built) == 1
    assert opened == profiled == ["model.fp32.onnx", "model.int8_dynamic.onnx"]


def test_rows_before_timing_hold_size_and_accuracy(run):
    fp32, int8 = read_rows(run)
    assert (fp32.mode, int8.mode) == ("fp32", "int8_dynamic")
    assert fp32.parity <= 1e-4
    assert int8.size_bytes == run.onnx("int8_dynamic").stat().st_size
    assert int8.delta_mean_iou == int8.mean_iou - fp32.mean_iou
    assert fp32.latency_ms is int8.latency_ms is None
    assert [row.network for row in (fp32, int8)] == [
        run.hash_network(mode) for mode in ("fp32", "int8_dynamic")
    ]


def test_a_new_export_leaves_no_row_of_the_old_network(run, graph):
    time(run, *ALL)
    elsewhere = [run.predictions(mode, "openvino-cpu") for mode in ("fp32", "int8_dynamic")]
    for file in elsewhere:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"of the old network")
    run.onnx("fp32").unlink()
    stages.prepare(run, [])
    assert not any(file.exists() for file in elsewhere)
    (row,) = read_rows(run)
    assert row.mode == "fp32"
    scores = ["cases.checkpoint.csv", "cases.fp32.csv", "cases.val.fp32.csv"]
    assert sorted(file.name for file in run.path.glob("cases.*")) == scores
    assert stages.prepare(run, ALL)[-1] == "wrote the row of int8_dynamic"


def test_scores_that_are_gone_cost_no_mode_its_row(run):
    time(run, *ALL)
    before = read_rows(run)
    run.cases("fp32").unlink()
    assert stages.prepare(run, ALL) == ["scored fp32"]
    assert read_rows(run) == before


def test_metrics_that_are_gone_are_written_again(run):
    run.metrics_of("fp32").unlink()
    assert stages.prepare(run, ALL) == ["scored fp32"]
    assert stages.prepare(run, ALL) == []


def interrupt(*_):
    raise KeyboardInterrupt


def test_taking_over_that_was_interrupted_goes_on(run, monkeypatch):
    rows = [{"mode": mode, "device": "cpu", "threads": 1} for mode in ("fp32", "int8_dynamic")]
    write_json(older(run).deploy, [row | {"latency_ms": {"p50": 1.0}} for row in rows])
    with monkeypatch.context() as patch:
        patch.setattr(adopt, "note_scored", interrupt)
        with pytest.raises(KeyboardInterrupt):
            stages.prepare(run, ALL)
    assert stages.prepare(run, ALL) == []
    assert [row.median_ms for row in read_rows(run)] == [1.0, 1.0]


def test_a_failing_mode_keeps_the_old_file_and_its_rows(run, monkeypatch):
    def fail(model, run, options):
        raise RuntimeError("interrupted")

    monkeypatch.setitem(quantize.QUANTIZERS, "int8_dynamic", fail)
    run.made("int8_dynamic").unlink()
    with pytest.raises(RuntimeError, match="interrupted"):
        stages.prepare(run, ALL)
    for row in read_rows(run):
        assert row.network == run.hash_network(row.mode)


@pytest.fixture
def gpu(monkeypatch):
    """A GPU, or what looks like one: it computes what the CPU does, or does not start."""

    def put(starts):
        def open_file(path, device="cpu", *given, **named):
            if device == "cuda" and not starts:
                raise InputError("the card is full")
            return dataclasses.replace(open_session(path, "cpu", *given, **named), device=device)

        open_session = opening.open_session
        monkeypatch.setattr(opening, "open_session", open_file)
        monkeypatch.setattr(opening, "may_be_had", lambda runtime, device: True)

    return put


def test_a_gpu_scores_what_runs_on_it_and_the_cpu_agrees(trained, tmp_path, graph, gpu):
    gpu(starts=True)
    run = Run(shutil.copytree(trained.path, tmp_path / "run"))
    assert stages.prepare(run, ALL) == EVERYTHING
    assert home_of(run, "fp32") == "onnxruntime-cuda"
    assert home_of(run, "int8_dynamic") == "onnxruntime-cpu"
    fp32, int8 = read_rows(run)
    assert (fp32.device, fp32.scores_from) == ("cpu", "onnxruntime-cuda")
    assert int8.scores_from is None
    assert int8.delta_mean_iou == int8.mean_iou - fp32.mean_iou
    assert stages.prepare(run, ALL) == []


def test_a_gpu_that_does_not_start_leaves_the_scoring_to_the_cpu(trained, tmp_path, graph, gpu):
    gpu(starts=False)
    run = Run(shutil.copytree(trained.path, tmp_path / "run"))
    stages.prepare(run, [])
    assert home_of(run, "fp32") == "onnxruntime-cpu"


def test_a_mode_that_is_added_goes_all_the_way(run, monkeypatch):
    """A mode is an entry of the vocabulary and a quantizer; nothing else knows it."""
    option = vocabulary.Option(2, int, "digits that are kept", low=1)
    mode = vocabulary.Mode("rounded", "Weights with few digits.", {"digits": option})
    monkeypatch.setitem(vocabulary.MODES, "rounded", mode)
    monkeypatch.setitem(quantize.QUANTIZERS, "rounded", lambda model, run, options: (model, {}))
    assert stages.prepare(run, ["rounded"])[0] == "made model.rounded.onnx"
    assert stages.prepare(run, ["rounded"], {"rounded": {"digits": 2}}) == []
    assert stages.prepare(run, ["rounded"], {"rounded": {"digits": 3}}) != []
    time(run, "rounded")
    row = read_rows(run)[-1]
    assert (row.mode, row.options, row.delta_mean_iou) == ("rounded", {"digits": 3}, 0)
    assert row.latency_ms


def older(run):
    """As a brainseg left it that recorded no hashes, but the parity in the file."""
    model = onnx.load(run.onnx("fp32"))
    onnx.helper.set_model_props(model, {"parity": "1e-6"})
    onnx.save(model, run.onnx("fp32"))
    write_json(run.deploy, [])
    run.scored.unlink()
    run.made("fp32").unlink()
    write_json(run.made("int8_dynamic"), {"mode": "int8_dynamic", "options": {}})
    return run


def test_the_files_of_an_older_run_are_taken_over(run):
    rows = [{"mode": mode, "device": "cpu", "threads": 1} for mode in ("fp32", "int8_dynamic")]
    kept = contents(older(run))
    write_json(run.deploy, rows)
    assert run.is_current("fp32")
    assert run.is_current("int8_dynamic")
    assert stages.prepare(run, ALL) == []
    assert all(row.network for row in read_rows(run))
    changed = {"deploy.json", "scored.json", "model.fp32.json", "model.int8_dynamic.json"}
    after = contents(run)
    assert {str(file) for file in after if after[file] != kept.get(file)} == changed


def test_files_of_another_checkpoint_in_an_older_run_are_made_again(run, graph):
    other_checkpoint(older(run))
    assert stages.prepare(run, ALL) == EVERYTHING


def test_having_nothing_to_do_loads_no_heavy_library(run, monkeypatch):
    monkeypatch.undo()  # another process sees all runtimes that are installed
    time(run, *ALL)
    code = (
        "import json, sys; from pathlib import Path; from brainseg.run import Run;"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'openvino', 'pandas'};"
        "from brainseg.benchmark.plan import TimingPlan;"
        "from brainseg.benchmark.together import time_together;"
        "from brainseg.deploy import stages; run = Run(Path(sys.argv[1]));"
        "done = stages.prepare(run, ['int8_dynamic'])"
        " + time_together([run], TimingPlan(('int8_dynamic',), ('cpu',), passes=1))[run];"
        "print(json.dumps([done, sorted(heavy & set(sys.modules))]))"
    )
    command = [sys.executable, "-c", code, str(run.path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(output) == [[], []]


@pytest.mark.parametrize(
    ("modes", "chosen", "message"),
    [
        (["int4"], {}, "int4"),
        (ALL, {"int4": {}}, "int4"),
        (ALL, {"int8_static": {"speed": 1}}, "speed.*method"),
        (ALL, {"int8_static": {"images": 0}}, "at least 1"),
    ],
)
def test_wrong_requests_are_refused_before_any_work(run, modes, chosen, message):
    run.onnx("fp32").unlink()
    with pytest.raises(InputError, match=message):
        stages.prepare(run, modes, chosen)
    assert not run.onnx("fp32").exists()


def test_a_run_without_checkpoint_and_export_is_refused(run):
    run.best.unlink()
    run.onnx("fp32").unlink()
    with pytest.raises(InputError, match=r"best\.ckpt is missing or damaged, and so are"):
        stages.prepare(run, ALL)


def test_what_a_killed_command_was_writing_goes(run):
    part = run.path / ".model.fp32.onnx.x1y2.onnx"
    part.touch()

    stages.prepare(run, [])
    assert not part.exists()


def test_scores_of_a_checkpoint_that_were_cut_off_before_their_note_are_made_again(run):
    run.update_state(files=run.hash_trained())  # as training leaves it
    whole = read_json(run.scored)
    write_json(run.scored, {key: each for key, each in whole.items() if key != "checkpoint"})

    assert "scored the checkpoint" in stages.prepare(run, [])
    assert read_json(run.scored) == whole
