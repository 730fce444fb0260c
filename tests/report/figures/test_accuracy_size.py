from brainseg.report.figures.accuracy_latency import draw_accuracy_latency
from brainseg.report.figures.accuracy_size import (
    draw_accuracy_size,
    sized_points,
)
from brainseg.report.figures.style import COLOURS, FILLS, LOOKS


def markers_of(figure):
    (axes,) = figure.axes
    return [line for line in axes.lines if line.get_marker() not in ("None", "")]


def test_one_point_per_variant_and_mode(points):
    markers = markers_of(draw_accuracy_size(points).figure)
    places = [tuple(line.get_xydata()[0]) for line in markers]
    assert places == [(100.0, 0.805), (25.0, 0.805)] * 2  # means over seeds; cpu, not cuda
    assert {
        point.rows[0]["device"] for each in sized_points(points).values() for point in each
    } == {"cpu"}


def test_shape_tells_the_variant_and_fill_the_mode(points):
    for line, (variant, mode) in zip(
        markers_of(draw_accuracy_size(points).figure),
        [(variant, mode) for variant in ("none", "ag") for mode in ("fp32", "int8_static")],
        strict=True,
    ):
        assert line.get_marker() == LOOKS[variant].marker
        assert line.get_markerfacecolor() == COLOURS[mode]
        assert line.get_fillstyle() == FILLS[mode]


def test_lines_join_the_modes_of_a_variant(points):
    (axes,) = draw_accuracy_size(points).figure.axes
    joined = [line for line in axes.lines if line.get_marker() == "None"]
    assert [line.get_xdata().tolist() for line in joined] == [[25.0, 100.0]] * 2
    assert axes.get_xlim()[0] == 0


def test_points_without_accuracy_or_size_are_left_out(points):
    for point in points:
        if point.rows[0]["mode"] == "fp32":
            for row in point.rows:
                row["size_bytes"] = None
    assert all(len(found) == 1 for found in sized_points(points).values())
    assert "fp32" not in draw_accuracy_size(points).alt
    for point in points:
        for row in point.rows:
            row["mean_iou"] = None
    assert draw_accuracy_size(points) is None
    assert draw_accuracy_latency(points) is None


def test_the_legend_names_variants_and_modes(points, texts_of):
    texts = texts_of(draw_accuracy_size(points).figure)
    assert {"none", "ag", "fp32", "int8_static"} <= set(texts)


def test_a_single_point_is_no_figure(points):
    one = [point for point in points if point.rows[0]["variant"] == "none"][:1]
    assert draw_accuracy_size(one) is None
    assert draw_accuracy_latency(one) is None
