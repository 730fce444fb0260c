"""Lines of latency by number of threads."""

from dataclasses import replace
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from brainseg.report.figures import latency_threads
from brainseg.report.figures.latency_threads import find_lines
from brainseg.report.points import collect_points
from brainseg.report.rows import TableRow


def row(threads: int, ms: float, **values: Any) -> TableRow:
    found = {
        **{"run": "ag-seed0", "variant": "ag", "attention": "ag", "mode": "fp32"},
        **{"runtime": "onnxruntime", "device": "cpu", "session": "s"},
    }
    return TableRow(**found | values, threads=threads, latency_ms={"p50": ms})


FP32 = [row(1, 40.0), row(2, 22.0), row(4, 16.0)]


def times(rows: list[TableRow]) -> dict[str, dict[int, float]]:
    return {line.point.brief: dict(line.latencies) for line in find_lines(collect_points(rows))}


def draw(rows: list[TableRow]) -> Figure:
    drawing = latency_threads.draw(collect_points(rows))
    assert drawing is not None
    return drawing.figure


def panels(rows: list[TableRow]) -> list[Axes]:
    return [axes for axes in draw(rows).get_axes() if axes.get_visible()]


def test_a_line_has_the_latency_of_each_number_of_threads() -> None:
    static = [replace(each, mode="int8_static", runtime="openvino") for each in FP32[:2]]
    assert times([*reversed(FP32), *static]) == {
        "fp32": {1: 40.0, 2: 22.0, 4: 16.0},
        "int8_static with openvino": {1: 40.0, 2: 22.0},
    }


@pytest.mark.parametrize(
    "rows",
    [
        [],
        FP32[:1],
        [FP32[0], replace(FP32[1], session="later")],
        [FP32[0], replace(FP32[1], status="failed")],
        [FP32[0], replace(FP32[1], latency_ms=None)],
        [FP32[0], replace(FP32[1], batch=16)],
        [replace(each, device="cuda") for each in FP32],
    ],
)
def test_less_than_two_numbers_of_threads_in_a_session_are_no_line(rows: list[TableRow]) -> None:
    assert times(rows) == {}
    assert latency_threads.draw(collect_points(rows)) is None


def test_sessions_are_not_mixed_and_the_one_with_most_threads_counts() -> None:
    other = [row(8, 9.0, session="other"), row(16, 8.0, session="other")]
    assert times([*FP32, *other]) == {"fp32": {1: 40.0, 2: 22.0, 4: 16.0}}


def test_seeds_are_averaged() -> None:
    second = [
        replace(each, run="ag-seed1", latency_ms={"p50": each.median_ms + 2}) for each in FP32
    ]
    assert times([*FP32, *second]) == {"fp32": {1: 41.0, 2: 23.0, 4: 17.0}}


def test_each_variant_has_a_panel_with_its_lines_and_the_ideal() -> None:
    se = [replace(each, run="se-seed0", variant="se", attention="se") for each in FP32]
    fp16 = [replace(each, mode="fp16") for each in se]
    ag, both = panels([*FP32, *se, *fp16])
    assert (ag.get_title(), both.get_title()) == ("ag", "se")
    assert (len(ag.lines), len(both.lines)) == (2, 3)
    measured, ideal = ag.lines
    assert measured.get_xydata().tolist() == [[1, 40], [2, 22], [4, 16]]
    assert ideal.get_xydata().tolist() == [[1, 40], [2, 20], [4, 10]]
    assert [tick.get_text() for tick in ag.get_xticklabels()] == ["1", "2", "4"]
    assert (ag.get_xscale(), ag.get_yscale()) == ("log", "log")


def test_no_two_configurations_look_alike() -> None:
    rows = list(FP32)
    for mode in ("fp16", "int8_static"):
        rows += [replace(each, mode=mode) for each in FP32]
    openvino = [replace(each, runtime="openvino") for each in FP32]
    rows += [*openvino, *(replace(each, options={"precision": "bf16"}) for each in openvino)]
    legend = draw(rows).legends[0]
    looks = [
        (line.get_color(), line.get_marker(), line.get_fillstyle(), line.get_linestyle())
        for line in legend.legend_handles
    ]
    assert len(set(looks)) == len(looks) == 6


def test_the_text_tells_every_time() -> None:
    drawing = latency_threads.draw(collect_points(FP32))
    assert drawing is not None
    assert "ag fp32: 40.0 ms with 1, 22.0 ms with 2, 16.0 ms with 4." in drawing.alt
