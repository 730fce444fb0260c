import io
import itertools
import json
import statistics
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from rich.console import Console

from brainseg import vocabulary
from brainseg.errors import InputError
from brainseg.evaluation.cases import summarize
from brainseg.report.answer import UNTIMED
from brainseg.report.page import Page
from brainseg.report.rows import COLUMNS
from brainseg.report.write import print_report, show_report, write_report
from brainseg.row import Row

NO_CUDA = "torch 2.14.1 finds no CUDA device (nvidia-smi lists no GPU)."


def deploy_row(mode: str, device: str = "cpu", **values: Any) -> dict[str, Any]:
    latency = {"p50": 40.0, "p90": 44.0, "p99": 50.0, "mean": 41.0}
    row = {
        **{"mode": mode, "options": {}, "runtime": "onnxruntime", "device": device, "batch": 1},
        **{"threads": 2, "status": "ok", "reason": None, "size_bytes": 132_120_576},
        **{"size_ratio": 1.0, "mean_iou": 0.8, "tumor_iou": 0.6, "dice": 0.7},
        **{"delta_mean_iou": 0.0, "parity": 1e-6, "latency_ms": latency, "speedup": 1.0},
        **{"val_mean_iou": None, "delta_val_mean_iou": None, "delta_mean_iou_interval": None},
        **{"end_to_end_ms": None, "kernels": None, "memcpy_nodes": None},
        **{"speedup_interval": [0.9, 1.1], "speedup_vs_reference": 1.0, "passes": 500},
        **{"placement": {"CPUExecutionProvider": {"nodes": 100, "share": 1.0}}, "load_ms": 80.0},
        **{"peak_memory_mb": 400.0, "session": "s1", "measured_at": "2026-01-01T00:00:00+00:00"},
        "noisy": False,
    }
    return asdict(Row.from_json(row | values))


def unavailable(mode: str, reason: str = NO_CUDA) -> dict[str, Any]:
    nothing = dict.fromkeys(("mean_iou", "tumor_iou", "dice", "latency_ms", "speedup", "placement"))
    return deploy_row(mode, "cuda", status="unavailable", reason=reason, **nothing)


def make_run(
    experiment: Path,
    name: str,
    rows: list[dict[str, Any]] | None = None,
    *,
    metrics: dict[str, float] | None = None,
    data: str = "figshare",
    facts: dict[str, Any] | None = None,
    **state: Any,
) -> None:
    folder = experiment / name
    folder.mkdir(parents=True)
    attention, seed = name.split("-")[0], int(name.split("-seed")[1].split("-")[0])
    lr = float(name.partition("-lr")[2] or 0.001)
    identity = {"seed": seed, "model.attention": attention, "optim.lr": lr, "loss.name": "bce"}
    config = {
        "experiment_name": experiment.name,
        "seed": seed,
        "data": {"name": data, "image_size": 224, "batch_size": 16},
        "split": {"name": "patient", "seed": 0},
        "model": {"attention": attention, "encoder": "resnetv2_50", "weights": "none"},
        **{"optim": {"lr": 1e-3}, "loss": {"name": "bce"}, "schedule": {"name": "plateau"}},
        "trainer": {"max_epochs": 50},
    }
    environment = {
        "cpu": {"model": "Xeon", "physical_cores": 2},
        "gpus": [],
        "versions": {"torch": "2.14.1", "onnxruntime": "1.31.1"},
        "commit": {"hash": "abc1234", "dirty": False},
    }
    done = {"stage": "done", "status": "finished", "reason": None, "attempts": 1}
    files = {
        "state.json": done | {"identity": identity} | state,
        "environment.json": environment,
        "metrics.json": metrics,
        "deploy.json": rows,
        "data.json": facts,
    }
    for file, content in files.items():
        if content is not None:
            (folder / file).write_text(json.dumps(content))
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    parts = "a,glioma,p1,test\nb,glioma,p1,test\nc,pituitary,p2,test\nd,glioma,p3,train\n"
    (folder / "split.csv").write_text("id,class,patient,split\n" + parts)


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    return tmp_path / "outputs" / "study"


def read_rows(experiment: Path) -> list[dict[str, Any]]:
    return json.loads((experiment / "report" / "table.json").read_text())["rows"]


def cells(report: Page) -> list[dict[str, str]]:
    return [dict(zip(report.tables[0].columns, row, strict=True)) for row in report.tables[0].rows]


def under(report: Page) -> str:
    """All that stands under the main table."""
    return "\n".join(report.tables[0].lines)


def printed(report: Page) -> str:
    file = io.StringIO()
    print_report(report, Console(file=file, width=80))
    return file.getvalue()


def markdown(experiment: Path) -> str:
    return (experiment / "report" / "table.md").read_text()


def test_rows_hold_the_run_and_all_that_was_measured(experiment: Path) -> None:
    row = deploy_row("int8_static", speedup=1.7)
    make_run(experiment, "ag-seed3-lr0.01", [deploy_row("fp32"), row])
    write_report(experiment)
    rows = read_rows(experiment)
    assert [found["mode"] for found in rows] == ["fp32", "int8_static"]
    assert tuple(rows[1]) == COLUMNS
    assert rows[1] == row | {
        "run": "ag-seed3-lr0.01",
        "variant": "ag",
        "attention": "ag",
        "data": "figshare",
        "split": "patient",
        "part": "test",
        "n": 3,
        "seed": 3,
        "commit": "abc1234",
    }


def test_csv_holds_the_same_numbers_in_one_level(experiment: Path) -> None:
    make_run(
        experiment, "none-seed0", [deploy_row("fp32", mean_iou=0.8123456789), unavailable("fp32")]
    )
    make_run(experiment, "ag-seed0", stage="train", status="failed", reason="a, b")
    write_report(experiment)
    rows = read_rows(experiment)
    frame = pd.read_csv(experiment / "report" / "table.csv")
    assert len(frame) == len(rows) == 3
    assert {f"latency_ms.{name}" for name in ("p50", "p90", "p99", "mean")} < {*frame}
    assert list(frame["attention"]) == ["ag", "none", "none"]
    for row, (_, line) in zip(rows, frame.iterrows(), strict=True):
        for key in ("mean_iou", "size_bytes", "speedup", "threads"):
            assert (row[key] is None and pd.isna(line[key])) or row[key] == line[key]
        assert row["run"] == line["run"]
    timed = frame[frame["latency_ms.p50"].notna()].iloc[0]
    assert (timed["latency_ms.p50"], timed["latency_ms.mean"]) == (40.0, 41.0)
    assert timed["placement.CPUExecutionProvider.nodes"] == 100


def test_table_is_ordered_by_attention_mode_device_and_runtime(experiment: Path) -> None:
    shuffled = [
        unavailable("fp32"),
        deploy_row("int8_static", runtime="openvino"),
        deploy_row("int8_static"),
        deploy_row("int8_dynamic"),
        deploy_row("fp16"),
        deploy_row("fp32"),
    ]
    for attention in ("ag", "cbam", "none", "se"):
        make_run(experiment, f"{attention}-seed0", shuffled)
    report = write_report(experiment)
    found = [(cell["Variant"], cell["Mode"], cell["Device"]) for cell in cells(report)]
    places = [("fp32", "cpu"), ("fp32", "cuda"), ("fp16", "cpu"), ("int8_dynamic", "cpu")]
    places += [("int8_static", "cpu"), ("int8_static", "cpu (openvino)")]
    assert found == [(name, *place) for name in ("none", "ag", "se", "cbam") for place in places]


def test_cells_show_units_and_shares(experiment: Path) -> None:
    latency = {"p50": 23.456, "p90": 30, "p99": 31, "mean": 25}
    static = deploy_row(
        "int8_static",
        **{"mean_iou": 0.84512, "tumor_iou": 0.71, "dice": None, "latency_ms": latency},
        **{"size_bytes": int(32.25 * 2**20), "size_ratio": 0.2559, "speedup_vs_reference": 1.753},
        **{"delta_mean_iou": -0.00123, "delta_mean_iou_interval": [-0.002, 0.00031]},
        **{"delta_val_mean_iou": 0.0001, "end_to_end_ms": latency | {"p50": 24.56}},
    )
    make_run(experiment, "ag-seed0", [deploy_row("fp32"), static])
    fp32, int8 = cells(write_report(experiment))
    assert fp32["Size, MiB"] == "126.0 (100%)"
    assert int8 == {
        "Variant": "ag",
        "Mode": "int8_static",
        "Device": "cpu",
        "Mean IoU": "0.8451",
        "Δ mean IoU": "−0.0012",
        "95 % of Δ": "−0.0020 to +0.0003",
        "Δ validation": "+0.0001",
        "Tumour IoU": "0.7100",
        "Dice": "–",
        "Size, MiB": "32.2 (26%)",
        "Latency, ms": "23.5",
        "End to end, ms": "24.6",
        "Speed-up": "1.75",
        "Note": "",
    }


def test_a_suffix_of_all_runs_is_left_out(experiment: Path) -> None:
    for attention in ("ag", "se"):
        make_run(experiment, f"{attention}-seed0-image_size96")
    write_report(experiment)
    assert {row["variant"] for row in read_rows(experiment)} == {"ag", "se"}


def test_seeds_become_mean_and_standard_deviation_and_suffixes_stay_apart(experiment: Path) -> None:
    scores = [0.80, 0.82, 0.87]
    for seed, score in enumerate(scores):
        latency = {"p50": 40.0 + seed, "p90": 0, "p99": 0, "mean": 0}
        row = deploy_row("fp32", mean_iou=score, latency_ms=latency)
        make_run(experiment, f"ag-seed{seed}", [row])
    make_run(experiment, "ag-seed0-lr0.01", [deploy_row("fp32", mean_iou=0.5)])
    report = write_report(experiment)
    merged, apart = cells(report)
    assert merged["Variant"] == "ag lr 0.001 (3 seeds)"
    assert merged["Mean IoU"] == f"{sum(scores) / 3:.4f} ± {statistics.stdev(scores):.4f}"
    assert merged["Mean IoU"] == "0.8300 ± 0.0361"
    assert merged["Latency, ms"] == "41.0 ± 1.0"
    assert merged["Size, MiB"] == "126.0 (100%)"
    assert (apart["Variant"], apart["Mean IoU"]) == ("ag lr 0.01 (1 seed)", "0.5000")
    assert "standard deviation" in under(report)
    assert [row["variant"] for row in read_rows(experiment)] == [
        "ag lr 0.001",
        "ag lr 0.01",
        "ag lr 0.001",
        "ag lr 0.001",
    ]


def test_runs_of_one_name_but_another_identity_are_not_averaged(experiment: Path) -> None:
    make_run(experiment, "ag-seed0", [deploy_row("fp32")])
    for seed in (1, 2):
        make_run(
            experiment,
            f"ag-seed{seed}",
            [deploy_row("fp32")],
            identity={"seed": seed, "trainer.max_epochs": 99},
        )
    make_run(experiment, "ag-seed3", status="failed", stage="data", identity={"seed": 3})
    names = [cell["Variant"] for cell in cells(write_report(experiment))]
    assert names == ["ag (1 seed)", "ag (1 seed)", "ag (ag-seed1) (2 seeds)"]


def test_a_copy_of_a_run_is_no_second_training(experiment: Path) -> None:
    for name in ("ag-seed0", "copies/ag-seed0", "ag-seed1"):
        make_run(experiment, name, [deploy_row("fp32")])
    names = [cell["Variant"] for cell in cells(write_report(experiment))]
    assert names == ["ag (2 seeds)", "ag (copies/ag-seed0) (1 seed)"]


@pytest.mark.parametrize("timed", [True, False])
def test_seeds_that_were_not_timed_are_told(experiment: Path, timed: bool) -> None:
    make_run(experiment, "ag-seed0", [deploy_row("fp32")])
    latency = deploy_row("fp32")["latency_ms"] if timed else None
    make_run(experiment, "ag-seed1", [deploy_row("fp32", latency_ms=latency)])
    told = "Not all seeds were timed."
    assert (told in under(write_report(experiment))) == (not timed)


def test_one_seed_of_two_without_numbers_is_counted(experiment: Path) -> None:
    make_run(experiment, "ag-seed0", [deploy_row("fp32", mean_iou=0.81)])
    failed = deploy_row("fp32", status="failed", reason="out of memory", mean_iou=None)
    make_run(experiment, "ag-seed1", [failed])
    report = write_report(experiment)
    (row,) = cells(report)
    assert (row["Mean IoU"], row["Note"]) == ("0.8100", "1 of 2: failed [1]")
    assert report.tables[0].notes == ["[1] out of memory"]


def test_failed_and_running_runs_say_so(experiment: Path) -> None:
    make_run(experiment, "none-seed0", [deploy_row("fp32")])
    make_run(experiment, "se-seed0", stage="train", status="failed", reason="loss is\nNaN")
    make_run(experiment, "cbam-seed0", stage="train", status="running")
    report = write_report(experiment)
    statuses = {row["run"]: (row["status"], row["mode"]) for row in read_rows(experiment)}
    assert statuses["se-seed0"] == ("failed", None)
    assert statuses["cbam-seed0"] == ("running", None)
    notes = {cell["Variant"]: cell["Note"] for cell in cells(report)}
    assert notes == {"none": "", "se": "failed [1]", "cbam": "running [2]"}
    assert report.tables[0].notes == [
        "[1] se-seed0: loss is NaN (stage: train)",
        "[2] cbam-seed0: not finished yet (stage: train)",
    ]


def test_a_run_that_failed_before_it_had_a_configuration_is_visible(experiment: Path) -> None:
    (experiment / "cbam-seed1").mkdir(parents=True)
    state = {"stage": "data", "status": "failed", "reason": "no such folder: /data"}
    (experiment / "cbam-seed1" / "state.json").write_text(json.dumps(state))
    report = write_report(experiment)
    (row,) = read_rows(experiment)
    assert (row["attention"], row["seed"], row["status"]) == ("cbam", 1, "failed")
    assert "no such folder: /data" in printed(report)


def test_unavailable_devices_share_one_footnote(experiment: Path) -> None:
    make_run(experiment, "none-seed0", [deploy_row("fp32"), unavailable("fp32")])
    make_run(experiment, "ag-seed0", [deploy_row("fp32"), unavailable("fp32")])
    report = write_report(experiment)
    cuda = [cell for cell in cells(report) if cell["Device"] == "cuda"]
    assert [cell["Note"] for cell in cuda] == ["unavailable [1]"] * 2
    assert {cell[name] for cell in cuda for name in ("Mean IoU", "Latency, ms", "Size, MiB")} == {
        "–"
    }
    assert report.tables[0].notes == [f"[1] {NO_CUDA}"]


def test_every_mode_of_a_missing_device_has_its_row(experiment: Path) -> None:
    modes = ["fp32", "fp16", "int8_dynamic", "int8_static"]
    for attention in ("none", "ag"):
        rows = [*map(deploy_row, modes), *map(unavailable, modes)]
        make_run(experiment, f"{attention}-seed0", rows)
    report = write_report(experiment)
    found = [(cell["Variant"], cell["Mode"], cell["Device"]) for cell in cells(report)]
    assert found == list(itertools.product(("none", "ag"), modes, ("cpu", "cuda")))
    notes = {cell["Device"]: cell["Note"] for cell in cells(report)}
    assert notes == {"cpu": "", "cuda": "unavailable [1]"}
    nothing = " | ".join(["–"] * 7)
    lines = markdown(experiment).splitlines()
    for attention in ("none", "ag"):
        assert f"| {attention} | int8_dynamic | cuda | {nothing} | unavailable [1] |" in lines


def test_noisy_rows_and_nodes_that_ran_elsewhere_are_named(experiment: Path) -> None:
    placement = {
        "CUDAExecutionProvider": {"nodes": 30, "share": 0.3},
        "CPUExecutionProvider": {"nodes": 70, "share": 0.7},
    }
    dynamic = deploy_row("int8_dynamic", "cuda", placement=placement)
    make_run(experiment, "ag-seed0", [deploy_row("fp32", noisy=True), dynamic])
    report = write_report(experiment)
    assert [cell["Note"] for cell in cells(report)] == ["noisy", "70% of nodes on CPU"]
    assert "Noisy: " in under(report)


def test_threads_and_batches_are_shown_where_they_differ(experiment: Path) -> None:
    rows = [deploy_row("fp32", threads=1), deploy_row("fp32", batch=8), deploy_row("fp32")]
    make_run(experiment, "ag-seed0", rows)
    found = [cell["Device"] for cell in cells(write_report(experiment))]
    assert found == ["cpu (threads 1)", "cpu (threads 2)", "cpu (batch 8) (threads 2)"]


def test_threads_are_named_on_the_device_that_has_several(experiment: Path) -> None:
    rows = [deploy_row("fp32", threads=1), deploy_row("fp32"), deploy_row("fp32", "cuda")]
    make_run(experiment, "ag-seed0", rows)
    found = [cell["Device"] for cell in cells(write_report(experiment))]
    assert found == ["cpu (threads 1)", "cpu (threads 2)", "cuda"]


def test_a_terminal_shows_one_number_of_threads_and_counts_the_others(experiment: Path) -> None:
    timed = [deploy_row(mode, threads=n) for mode in ("fp32", "fp16") for n in (1, 2, 4)]
    alone = deploy_row("int8_static", threads=2)  # with 4, it was not timed
    make_run(experiment, "ag-seed0", [*timed, alone, unavailable("fp32")])
    report = write_report(experiment)
    assert len(cells(report)) == 8
    assert markdown(experiment).count("| cpu (threads 1) |") == 2
    main = printed(report).partition("What to deploy")[0]
    shown = report.tables[0].narrow.short
    assert [row[1:3] for row in shown.rows] == [
        ["fp32", "cpu (threads 4)"],
        ["fp32", "cuda"],
        ["fp16", "cpu (threads 4)"],
        ["int8_static", "cpu (threads 2)"],
    ]
    assert "Rows with other numbers of threads: 4 more in table.md." in main
    page = (experiment / "report" / "index.html").read_text()
    assert page.count('<td class="">cpu (threads 1)</td>') == 2


def test_passes_stand_once_or_in_each_row(experiment: Path) -> None:
    make_run(experiment, "ag-seed0", [deploy_row("fp32"), deploy_row("fp16")])
    report = write_report(experiment)
    assert "Passes" not in report.tables[0].columns
    assert "median of one image in 500 passes, 2 threads." in under(report)
    slow = deploy_row("int8_dynamic", passes=20, latency_ms={"p50": 2000.0})
    untimed = deploy_row("int8_static", passes=None, latency_ms=None)
    make_run(experiment, "se-seed0", [deploy_row("fp32", passes=140), slow, untimed])
    report = write_report(experiment)
    assert [cell["Passes"] for cell in cells(report)] == ["500", "500", "140", "20", "–"]
    assert "in 20–500 passes, 2 threads." in printed(report)
    assert "| 20 |" in markdown(experiment)


def test_passes_of_seeds_are_a_range(experiment: Path) -> None:
    for seed, passes in enumerate((300, 120, 500)):
        rows = [deploy_row("fp32", passes=passes), deploy_row("fp16", passes=80)]
        make_run(experiment, f"ag-seed{seed}", rows)
    assert [cell["Passes"] for cell in cells(write_report(experiment))] == ["120–500", "80"]


FORM = {
    **{"io_binding": True, "cuda_graph": True, "layout": "NHWC", "tf32": False},
    **{"cudnn": "9.19.0", "without": {}},
}


def test_how_cuda_ran_it_is_told_with_the_reasons(experiment: Path) -> None:
    nowhere: dict[str, Any] = {"placement": None}
    why = {"cuda_graph": "not every node\nruns on CUDA", "nhwc": "no kernel"}
    plain = FORM | {"cuda_graph": False, "layout": "NCHW", "without": why}
    tf32 = deploy_row("fp32", "cuda", options={"precision": "tf32"}, got=FORM | {"tf32": True})
    rows = [
        deploy_row("fp32", got={"providers": ["CPUExecutionProvider"]}),
        deploy_row("fp32", "cuda", got=FORM, **nowhere),
        tf32 | nowhere,
        deploy_row("int8_dynamic", "cuda", got=plain, noisy=True, **nowhere),
        deploy_row("int8_static", "cuda", got={"use_tf32": "0"}, **nowhere),  # older
    ]
    make_run(experiment, "ag-seed0", rows)
    report = write_report(experiment)
    assert [(cell["Mode"], cell["Note"]) for cell in cells(report)] == [
        ("fp32", ""),
        ("fp32", "graph, NHWC"),
        ("fp32 (tf32)", "graph, NHWC, TF32"),
        ("int8_dynamic", "noisy [1] [2]"),
        ("int8_static", ""),
    ]
    assert report.tables[0].notes == [
        "[1] no CUDA graph: not every node runs on CUDA",
        "[2] no NHWC: no kernel",
    ]
    assert "(cuDNN 9.19.0)." in under(report)
    assert "tf32: factors are rounded" in (experiment / "report" / "index.html").read_text()


def test_without_cuda_its_forms_are_not_explained(experiment: Path) -> None:
    make_run(experiment, "ag-seed0", [deploy_row("fp32"), unavailable("fp32")])
    assert "cuDNN" not in under(write_report(experiment))


def test_time_on_the_device_has_a_column_where_it_was_measured(experiment: Path) -> None:
    make_run(experiment, "ag-seed0", [deploy_row("fp32")])
    assert "On device, ms" not in write_report(experiment).tables[0].columns
    cuda = deploy_row("fp32", "cuda", latency_ms={"p50": 3.64}, device_ms={"p50": 3.58})
    make_run(experiment, "se-seed0", [deploy_row("fp32"), cuda])
    report = write_report(experiment)
    assert [cell["On device, ms"] for cell in cells(report)] == ["–", "–", "3.6"]
    assert "without copies to and from the GPU" in under(report)
    frame = pd.read_csv(experiment / "report" / "table.csv")
    assert frame["device_ms.p50"].max() == 3.58


def test_scores_that_were_taken_over_are_told(experiment: Path) -> None:
    taken = deploy_row("fp32", runtime="openvino", scores_from="onnxruntime-cpu")
    make_run(experiment, "ag-seed0", [deploy_row("fp32"), taken])
    report = write_report(experiment)
    assert [cell["Note"] for cell in cells(report)] == ["", "[1]"]
    told = "the predictions agree to the pixel on 3 test images"  # as many as there are
    assert report.tables[0].notes == [f"[1] scores of onnxruntime-cpu: {told}"]


STATIC = {
    **{"method": "minmax", "equalize": False, "weight_bits": "auto"},
    **{"images": 200, "seed": 0, "max_drop": None},
}


@pytest.mark.parametrize(
    ("mode", "options", "names"),
    [
        ("fp32", [{}, {"precision": "bf16"}], ["fp32", "fp32 (bf16)"]),
        ("int8_weights", [{"per_channel": False}], ["int8_weights"]),
        ("int8_weights", [{"per_channel": True}], ["int8_weights (per channel)"]),
        ("int8_static", [STATIC], ["int8_static"]),
        ("int8_static", [STATIC | {"max_drop": 4e-4}], ["int8_static (drop 0.0004)"]),
        ("int8_static", [STATIC | {"method": "mse"}], ["int8_static (mse)"]),
        (
            "int8_static",
            [STATIC | {"equalize": True, "weight_bits": "7"}],
            ["int8_static (equalize, weight bits 7)"],
        ),
        (
            "int8_static",
            [STATIC, STATIC | {"method": "entropy", "images": 500}],
            ["int8_static (entropy, images 500)", "int8_static (minmax, images 200)"],
        ),
        ("int8_static", [{"float_layers": ["a", "b"]}, {}], ["int8_static", "int8_static"]),
        (
            "int8_static",
            [{"float_layers": ["a", "b"]}, {"float_layers": []}],
            ["int8_static (2 float layers)", "int8_static (0 float layers)"],
        ),
    ],
)
def test_options_are_named_where_they_tell_something(
    experiment: Path, mode: str, options: list[dict[str, Any]], names: list[str]
) -> None:
    rows = [deploy_row(mode, options=each) for each in options]
    # A row that was never measured does not know its options.
    make_run(experiment, "ag-seed0", [*rows, unavailable(mode)])
    found = [cell["Mode"] for cell in cells(write_report(experiment)) if cell["Device"] == "cpu"]
    assert sorted(found) == sorted(names)


def test_without_a_deployment_the_checkpoint_is_shown(experiment: Path) -> None:
    scores = {"mean_iou": 0.75, "tumor_iou": 0.5, "dice": 0.6, "hd95_px": 9.0, "n": 3}
    metrics = summarize([]) | {"unmasked": {}} | scores
    make_run(experiment, "ag-seed0", metrics=metrics)
    make_run(experiment, "none-seed0", [deploy_row("fp32", mean_iou=0.74)], metrics=metrics)
    make_run(experiment, "se-seed0")
    report = write_report(experiment)
    none, ag, se = cells(report)
    assert (none["Mean IoU"], none["Note"]) == ("0.7400", "")
    assert (ag["Mode"], ag["Device"], ag["Mean IoU"], ag["Note"]) == ("fp32", "–", "0.7500", "[1]")
    assert "checkpoint" in report.tables[0].notes[0]
    assert (se["Mode"], se["Note"]) == ("–", "unavailable [2]")
    assert [row["mean_iou"] for row in read_rows(experiment)] == [0.75, 0.74, None]


def reported(experiment: Path) -> list[str]:
    """Lines of `table.md` once it was written."""
    write_report(experiment)
    return markdown(experiment).splitlines()


def test_data_sets_that_joined_are_named(experiment: Path) -> None:
    make_run(experiment, "ag-seed0", [deploy_row("fp32")])
    config = experiment / "ag-seed0" / "config.yaml"
    changed = yaml.safe_load(config.read_text())
    joined = {"negatives": "/k", "test": "/t", "duplicates": "one_per_cluster"}
    changed["data"] |= joined
    changed["split"] = {"name": "kfold", "seed": 0, "fold": 2, "folds": 5}
    config.write_text(yaml.safe_dump(changed))
    (line,) = (line for line in reported(experiment) if "Data:" in line)
    for part in (
        "figshare, slices without tumour from /k",
        "tested on /t, one image of each cluster of copies. Split: kfold (seed 0, fold 2 of 5)",
        "3 images of 2 known patients, 0 of them notumor",
    ):
        assert part in line


def test_what_flatters_the_numbers_is_told(tmp_path: Path) -> None:
    facts = {
        **{"leaking_patients": 2, "leaks": {"image": 1, "patient": 2}, "shortcut_auc": 0.93456},
        "images": {"test": {"glioma": 3}, "left_out": {"notumor": 4}},
    }
    make_run(tmp_path / "real", "ag-seed0", [deploy_row("fp32")], facts=facts)
    text = "\n".join(reported(tmp_path / "real"))
    assert "2 of 3 test images show patients who are also in training or validation" in text
    assert "1 test images are also in training or validation; see leaks.csv" in text
    assert "area under the curve of 0.935" in text
    assert "Left out: 4 images" in text
    honest = {"leaking_patients": 0, "leaks": {}, "shortcut_auc": None, "images": {}}
    make_run(tmp_path / "clean", "ag-seed0", [deploy_row("fp32")], facts=honest)
    clean = "\n".join(reported(tmp_path / "clean"))
    assert "Leakage" not in clean
    assert "shortcut" not in clean


@pytest.mark.parametrize("data", ["figshare", "phantom"])
def test_data_and_machine_are_named(experiment: Path, data: str) -> None:
    for name in ("none-seed0", "ag-seed0"):
        make_run(experiment, name, [deploy_row("fp32")], data=data)
    report = write_report(experiment)
    text = markdown(experiment)
    assert "Latency: median of one image in 500 passes, 2 threads." in text
    assert report.sentences == [UNTIMED]
    synthetic = "Synthetic data (phantoms): these numbers say nothing about patients"
    for shown in (text, printed(report)):
        assert (synthetic in " ".join(shown.split())) == (data == "phantom")
    assert ("Data: figshare." in text) == (data == "figshare")
    assert "test: 3 images of 2 known patients" in text
    assert "At most 50 epochs in batches of 16; Adam, learning rate 0.001" in text
    (machine,) = (line for line in text.splitlines() if "Trained on" in line)
    for part in ("Xeon", "2 cores", "GPU: none", "onnxruntime 1.31.1", "abc1234"):
        assert part in machine


def test_the_machine_is_the_one_that_timed(experiment: Path) -> None:
    make_run(experiment, "ag-seed0", [deploy_row("fp32")])
    run = experiment / "ag-seed0"
    environment = json.loads((run / "environment.json").read_text())
    environment["gpus"] = [{"name": "H100", "driver": "580", "memory": "80 GiB"}]
    environment["commit"] = {"hash": "fff0000", "dirty": True}
    control = {"mode": "fp32", "runtime": "onnxruntime", "ratio": 1.004, "interval": [0.99, 1.02]}
    session = {
        **{"environment": environment, "device": "cuda", "threads": 2, "passes": 100},
        **{"started_at": "2026-01-01T00:00:00+00:00", "other_cpu_share": 0.01, "control": control},
    }
    off = control | {"ratio": 0.918, "interval": [0.911, 0.928]}
    off_session = session | {"control": off, "other_cpu_share": 0.19, "threads": [1, 2, 4]}
    cut_off = session | {"control": None, "other_cpu_share": None, "device": "cpu"}
    sessions = {"a": session, "b": off_session, "c": cut_off}
    (run / "benchmarks.json").write_text(json.dumps(sessions))
    good, bad, short = (line for line in reported(experiment) if "Timed on" in line)
    assert "GPU: H100;" in good
    assert "commit fff0000-dirty." in good
    assert good.endswith(
        "Up to 100 rounds on cuda with 2 threads, started 2026-01-01T00:00:00+00:00. Other "
        "processes used 1% of the CPU or the GPU. Control, fp32 with onnxruntime against itself: "
        "1.00 (0.99–1.02)."
    )
    assert "on cuda with 1, 2, 4 threads, started" in bad
    assert bad.endswith("0.92 (0.91–0.93); a speed-up closer to 1 means nothing.")
    assert short.endswith("an unknown share of the CPU. There was no room for a control.")
    assert read_rows(experiment)[0]["commit"] == "abc1234"


def test_markdown_is_well_formed(experiment: Path) -> None:
    make_run(experiment, "none-seed0", [deploy_row("fp32"), unavailable("fp32")])
    make_run(experiment, "a|b-seed0", status="failed", stage="train", reason="x | y")
    report = write_report(experiment)
    text = markdown(experiment)
    lines = [line for line in text.partition("## What")[0].splitlines() if line.startswith("|")]
    widths = {line.replace("\\|", "").count("|") for line in lines}
    assert widths == {len(report.tables[0].columns) + 1}
    assert len(lines) == 2 + 3
    assert set(lines[1]) == set("|-: ")
    assert text.startswith("# study\n\n## Accuracy, size and speed\n\n| Variant |")
    assert "a\\|b" in text
    assert f"- [1] {NO_CUDA}\n- [2] a|b-seed0: x | y (stage: train)\n" in text


def test_printed_table_fits_100_columns_and_keeps_numbers_whole(experiment: Path) -> None:
    modes = ("fp32", "fp16", "int8_dynamic", "int8_weights", "int8_static")
    for seed in range(3):
        rows = [deploy_row(mode, mean_iou=0.81 + seed / 100, noisy=True) for mode in modes]
        rows += [deploy_row("int8_static", runtime="openvino", delta_mean_iou=-0.0012)]
        rows += [deploy_row("fp32", runtime="openvino", options={"precision": "bf16"})]
        rows += [deploy_row("int8_weights", options={"per_channel": True})]
        rows += [
            deploy_row("fp32", threads=1),
            deploy_row("fp32", "cuda", device_ms={"p50": 13.6}, got=FORM),
        ]
        rows += map(unavailable, modes[1:])
        make_run(experiment, f"cbam-seed{seed}", rows)
    make_run(experiment, "ag-seed0", status="failed", stage="train", reason="[/b] is no markup")
    text = printed(write_report(experiment))
    assert max(map(len, text.splitlines())) <= 100
    words = {
        *modes,
        "Tumour",
        "Latency,",
        "0.8200",
        "± 0.0100",
        "± 0.0000",
        "(openvino)",
        "(bf16)",
        "(per channel)",
        "−0.0012",
        "126.0",
        "[/b]",
        "13.6",
        "NHWC",
    }
    assert [word for word in words if word not in text] == []


def test_columns_that_nobody_measured_are_left_out(experiment: Path) -> None:
    make_run(experiment, "ag-seed0", [deploy_row("fp32")])
    assert "Δ validation" not in write_report(experiment).tables[0].columns
    row = deploy_row("fp32", delta_val_mean_iou=0.0, end_to_end_ms={"p50": 41.0})
    make_run(experiment, "se-seed0", [row])
    report = write_report(experiment)
    assert {"Δ validation", "End to end, ms"} < {*report.tables[0].columns}
    assert "End to end: image file to mask" in markdown(experiment)
    assert "End to end" not in printed(report)  # a terminal is too narrow
    frame = pd.read_csv(experiment / "report" / "table.csv")
    assert frame["end_to_end_ms.p50"].max() == 41.0


def test_the_answer_stands_under_the_table(experiment: Path) -> None:
    fast = {"p50": 10.0, "p90": 0, "p99": 0, "mean": 0}
    static = deploy_row("int8_static", latency_ms=fast, speedup_vs_reference=4.0)
    rows = [row | {"val_mean_iou": 0.8} for row in (deploy_row("fp32"), static)]
    for name in ("none", "ag", "se", "cbam"):
        make_run(experiment, f"{name}-seed0", [*rows, unavailable("fp32")])
    report = write_report(experiment)
    line = "| cpu | ag | int8_static with onnxruntime | 10.0 | 4.0× | 0.0000 | fastest; not tested"
    assert f"{line} over patients |" in markdown(experiment)
    assert [row[0] for row in report.answer.rows] == ["cpu"] * 4 + ["cuda"]
    text = printed(report)
    assert text.index("Accuracy, size and speed") < text.index("What to deploy")
    assert 1 <= len(report.sentences) <= 5
    assert " ".join(text.split()).endswith(" ".join(report.sentences))


def test_a_mode_that_is_registered_is_shown_in_its_place(
    experiment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    option = vocabulary.Option(8, int, "bits", telling=True)
    mode = vocabulary.Mode("int4_test", "Weights in 4 bits.", {"bits": option})
    monkeypatch.setitem(vocabulary.MODES, mode.name, mode)
    names = ["int4_test", "int8_static", "fp32", "a_stranger"]
    rows = [deploy_row(name, options={"bits": 4} if "4" in name else {}) for name in names]
    make_run(experiment, "ag-seed0", rows)
    shown = [cell["Mode"] for cell in cells(write_report(experiment))]
    assert shown == ["fp32", "int8_static", "int4_test (bits 4)", "a_stranger"]
    assert "int4_test: Weights in 4 bits." in (experiment / "report" / "index.html").read_text()


def test_a_run_without_attention_is_named_after_its_model(experiment: Path) -> None:
    for name in ("smp_unet-seed0", "own-seed0", "cbam-seed0"):
        make_run(experiment, name, [deploy_row("fp32")])
        config = experiment / name / "config.yaml"
        if not name.startswith("cbam"):
            changed = yaml.safe_load(config.read_text())
            changed["model"] = {"name": name.partition("-")[0], "target": "a.Net"}
            config.write_text(yaml.safe_dump(changed))
    write_report(experiment)
    rows = read_rows(experiment)
    found = [(row["variant"], row["attention"]) for row in rows]
    assert found == [("cbam", "cbam"), ("own", None), ("smp_unet", None)]
    frame = pd.read_csv(experiment / "report" / "table.csv")
    assert frame["attention"].isna().tolist() == [False, True, True]
    assert "own-seed0/" not in markdown(experiment)


@pytest.mark.parametrize(("name", "rows"), [("state.json", 0), ("deploy.json", 0), ("test.npz", 1)])
def test_what_a_damaged_file_held_is_left_out_and_named(
    experiment: Path, name: str, rows: int
) -> None:
    for run in ("none-seed0", "ag-seed0"):
        make_run(experiment, run, [deploy_row("fp32")])
    (experiment / "ag-seed0" / name).write_bytes(b'[{"mode": "fp32", "la')
    report = write_report(experiment)
    assert [(cell["Variant"], cell["Mode"]) for cell in cells(report)] == [
        *(("none", "fp32"), *[("ag", "fp32")] * rows, ("ag", "–"))
    ]
    assert f"[1] ag-seed0: {name} is damaged: " in printed(report)
    assert "makes it again." in " ".join(printed(report).split())


def test_labels_name_only_what_differs(experiment: Path) -> None:
    shared = {"data.image_size": 96, "loss.name": "dice", "trainer.max_epochs": 400}
    runs = {"ag": {"model.attention_at": "skips"}, "ag ": {"model.attention_at": "paper"}, "se": {}}
    for place, (name, own) in enumerate(runs.items()):
        identity = {"seed": 0, "model.attention": name.strip()} | shared | own
        identity["data.fingerprint"] = str(place)
        folder = f"{name.strip()}-seed0-image_size96-dice{'-x' * (name == 'ag ')}"
        make_run(experiment, folder, [deploy_row("fp32")], identity=identity)
    names = [cell["Variant"] for cell in cells(write_report(experiment))]
    assert names == ["ag attention_at paper", "ag attention_at skips", "se"]


def test_show_report_prints_the_table_and_where_it_is(
    experiment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(experiment, "none-seed0", [deploy_row("fp32", mean_iou=0.8765)])
    show_report(experiment)
    text = capsys.readouterr().out
    assert "0.8765" in text
    assert text.splitlines()[-1] == f"Report: {experiment / 'report' / 'index.html'}"


def test_a_second_report_is_the_same_and_reads_no_report(experiment: Path) -> None:
    make_run(experiment, "none-seed0", [deploy_row("fp32")])
    first = write_report(experiment)
    before = {file: file.read_bytes() for file in (experiment / "report").iterdir()}
    assert {file.name for file in before} == {
        *("table.json", "table.csv", "table.md", "index.html"),
        "comparisons.json",
    }
    assert write_report(experiment) == first
    assert {file: file.read_bytes() for file in (experiment / "report").iterdir()} == before


def test_a_run_is_not_an_experiment(experiment: Path) -> None:
    make_run(experiment, "none-seed0", [deploy_row("fp32")])
    with pytest.raises(InputError, match=r"is a run\. Give its experiment's folder: .*study"):
        write_report(experiment / "none-seed0")


def test_report_needs_no_network_and_no_decoder() -> None:
    heavy = "{'torch', 'pytorch_lightning', 'cv2', 'h5py', 'pydicom', 'onnxruntime', 'matplotlib'}"
    code = f"import sys, brainseg.report.write; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
