from dataclasses import replace

from brainseg.report.figures.accuracy_latency import draw_accuracy_latency
from brainseg.report.figures.accuracy_size import draw_accuracy_size, sized_points
from brainseg.report.figures.style import COLOURS, FILLS


def markers_of(axes):
    return [line for line in axes.lines if line.get_marker() not in ("None", "")]


def test_each_variant_has_a_panel_with_one_point_per_mode(points):
    panels = draw_accuracy_size(points).figure.axes
    assert [axes.get_title() for axes in panels] == ["none", "ag"]
    for axes in panels:
        places = [tuple(line.get_xydata()[0]) for line in markers_of(axes)]
        assert places == [(100.0, 0.805), (25.0, 0.805)]  # means over seeds; cpu, not cuda
        assert axes.get_xlim()[0] == 0
    found = sized_points(points).values()
    assert {point.rows[0]["device"] for each in found for point in each} == {"cpu"}


def test_precisions_of_a_mode_are_one_point(points):
    again = [
        replace(point, mode="fp32 (bf16)") for point in points if point.rows[0]["mode"] == "fp32"
    ]
    modes = [[point.mode for point in each] for each in sized_points([*points, *again]).values()]
    assert modes == [["fp32", "int8_static"]] * 2


def test_colour_and_fill_tell_the_mode(points):
    for axes in draw_accuracy_size(points).figure.axes:
        for line, mode in zip(markers_of(axes), ("fp32", "int8_static"), strict=True):
            assert line.get_markerfacecolor() == COLOURS[mode]
            assert line.get_fillstyle() == FILLS[mode]


def test_a_dotted_line_stands_at_the_accuracy_of_fp32(points):
    for axes in draw_accuracy_size(points).figure.axes:
        (line,) = (line for line in axes.lines if line.get_linestyle() == ":")
        assert set(line.get_ydata()) == {0.805}


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
