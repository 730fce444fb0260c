import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from PIL import Image

from brainseg import vocabulary
from brainseg.report.figures import accuracy_latency
from brainseg.report.figures.accuracy_latency import AREA
from brainseg.report.figures.style import mode_marker
from brainseg.report.points import collect_points
from brainseg.report.rows import TableRow
from brainseg.report.write import write_report

Row = dict[str, Any]


def row(mode: str, ms: float, iou: float, **values: Any) -> Row:
    found = {
        "run": "ag-seed0",
        "variant": "ag",
        "attention": "ag",
        "mode": mode,
        "runtime": "onnxruntime",
        "device": "cpu",
        "threads": 2,
        "latency_ms": {"p50": ms},
        "mean_iou": iou,
        "size_bytes": 100 * 2**20,
    }
    return found | values


def panels(rows: list[Row]) -> list[Any]:
    return [axes for axes in draw(rows).get_axes() if axes.get_visible()]


def draw(rows: list[Row]) -> Figure:
    drawing = accuracy_latency.draw(collect_points(TableRow(**each) for each in rows))
    assert drawing is not None
    return drawing.figure


def test_each_device_and_variant_has_a_panel() -> None:
    variants = ("none", "ag", "se", "cbam", "se lr0.01")
    names = [{"variant": name, "run": name, "attention": name.split()[0]} for name in variants]
    cpu = [row(mode, 40.0, 0.8) | name for name in names for mode in ("fp32", "fp16")]
    gone = [each | {"device": "cuda", "status": "unavailable"} for each in cpu]
    assert sorted(axes.get_title() for axes in panels([*cpu, *gone])) == sorted(variants)
    figure = draw([*cpu, cpu[0] | {"device": "cuda"}])
    shown = [axes for axes in figure.get_axes() if axes.get_visible()]
    assert len(shown) == 2 * len(variants)
    assert {axes.get_xscale() for axes in shown} == {"log"}
    assert [part.get_supxlabel() for part in figure.subfigs] == [
        f"median latency of one image on {device}, ms" for device in ("cpu", "cuda")
    ]
    texts = [text.get_text() for axes in shown for text in axes.texts]
    assert texts == ["not measured"] * 4


def test_markers_tell_place_size_and_mode() -> None:
    (axes,) = panels(
        [row("fp32", 40.0, 0.8), row("int8_static", 10.0, 0.79, size_bytes=25 * 2**20)]
    )
    large, small = markers(axes)
    assert large.get_xydata().tolist() == [[40.0, 0.8]]
    assert small.get_xydata().tolist() == [[10.0, 0.79]]
    sizes = [large.get_markersize() ** 2, small.get_markersize() ** 2]
    assert sizes == pytest.approx([100 * AREA, 25 * AREA])
    colours = [marker.get_markerfacecolor() for marker in (large, small)]
    assert colours == [mode_marker(mode)["color"] for mode in ("fp32", "int8_static")]
    assert large.get_markeredgewidth() > small.get_markeredgewidth()


def test_modes_differ_in_more_than_colour() -> None:
    modes = list(vocabulary.MODES)
    (axes,) = panels([row(mode, 40.0 + index, 0.8) for index, mode in enumerate(modes)])
    assert len({marker.get_fillstyle() for marker in markers(axes)}) == len(modes)


def markers(axes: Any) -> list[Any]:
    """Large ones first."""
    return [line for line in axes.lines if line.get_marker() not in ("", "None", None)]


def test_front_joins_what_is_not_beaten() -> None:
    rows = [
        row("fp32", 40.0, 0.82),
        row("fp16", 50.0, 0.81),
        row("int8_static", 10.0, 0.80),
        row("int8_weights", 20.0, 0.79),
    ]
    (axes,) = panels(rows)
    # The best accuracy holds on to the slowest configuration.
    assert axes.lines[0].get_xydata().tolist() == [[10.0, 0.80], [40.0, 0.82], [50.0, 0.82]]


def test_options_are_written_beside_their_marker() -> None:
    hinted = row("fp32", 20.0, 0.8, runtime="openvino", options={"precision": "bf16"})
    (axes,) = panels([row("fp32", 40.0, 0.8), hinted])
    assert [text.get_text() for text in axes.texts] == ["bf16"]


def test_of_several_numbers_of_threads_the_largest_is_drawn_and_named() -> None:
    rows = [row(mode, 40.0, 0.8) for mode in ("fp32", "fp16")]
    every = [each | {"threads": threads} for each in rows for threads in (1, 2, 4)]
    figure = draw(every)
    assert [part.get_supxlabel() for part in figure.subfigs] == [
        "median latency of one image on cpu (threads 4), ms"
    ]
    assert len(panels(every)) == 1


@pytest.mark.parametrize(("slowest", "most"), [(45.0, 8), (100.0, 8), (2000.0, 8), (2e5, 8)])
def test_a_hopelessly_slow_row_leaves_the_axis_readable(slowest: float, most: int) -> None:
    rows = [row("fp32", 40.0, 0.8), row("int8_static", 20.0, 0.8), row("fp16", slowest, 0.8)]
    (axes,) = panels(rows)
    low, high = axes.get_xlim()
    assert low < 20
    assert high > slowest
    shown = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert 2 <= len(shown) <= most


def test_seeds_are_one_point() -> None:
    rows = [row("fp32", 40.0 + seed, 0.8, run=f"ag-seed{seed}") for seed in range(3)]
    (axes,) = panels([*rows, row("fp16", 20.0, 0.8)])
    marker, _ = markers(axes)
    assert marker.get_xydata()[0].tolist() == pytest.approx([41.0, 0.8])


def make_run(experiment: Path, rows: list[Row], data: str = "figshare") -> None:
    folder = experiment / "ag-seed0"
    folder.mkdir(parents=True, exist_ok=True)
    kept = {"run", "variant", "attention", "data", "split", "part", "n", "seed", "commit"}
    rows = [{key: each[key] for key in each if key not in kept} for each in rows]
    (folder / "state.json").write_text(json.dumps({"stage": "done", "status": "finished"}))
    config = {
        "data": {"name": data, "batch_size": 16},
        "loss": {"name": "bce"},
        "model": {"encoder": "resnetv2_50", "weights": "none"},
        "optim": {"lr": 1e-3},
        "schedule": {"name": "plateau"},
        "seed": 0,
        "trainer": {"max_epochs": 50},
    }
    (folder / "config.yaml").write_text(json.dumps(config))
    (folder / "deploy.json").write_text(json.dumps(rows))


@pytest.mark.parametrize("data", ["figshare", "phantom"])
def test_report_writes_and_links_the_figure(tmp_path: Path, data: str) -> None:
    make_run(tmp_path, [row("fp32", 40.0, 0.8), row("fp16", 20.0, 0.8)], data)
    write_report(tmp_path)
    report = tmp_path / "report"
    assert "](figures/accuracy_latency.png)\n" in (report / "table.md").read_text()
    with Image.open(report / "figures" / "accuracy_latency.png") as image:
        assert min(image.size) > 300
    drawn = (report / "figures" / "accuracy_latency.svg").read_text()
    assert ("synthetic data" in drawn) == (data == "phantom")
    files = [file for file in report.rglob("*") if file.is_file()]
    before = {file: file.read_bytes() for file in files}
    write_report(tmp_path)
    assert {file: file.read_bytes() for file in files} == before


def test_a_single_point_is_no_figure(tmp_path: Path) -> None:
    two = [row("fp32", 40.0, 0.8), row("fp16", 20.0, 0.8)]
    make_run(tmp_path, two)
    write_report(tmp_path)
    make_run(tmp_path, [two[0], two[1] | {"mean_iou": None}])
    write_report(tmp_path)
    assert not list((tmp_path / "report" / "figures").glob("accuracy_latency.*"))
    assert "![" not in (tmp_path / "report" / "table.md").read_text()
