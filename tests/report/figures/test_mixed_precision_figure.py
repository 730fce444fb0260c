import pytest
from matplotlib.colors import to_rgba

from brainseg.files import write_json
from brainseg.report.figures.mixed_precision import draw


def markers(axes, marker):
    return [line for line in axes.lines if line.get_marker() == marker]


def test_a_run_is_a_line_of_its_candidates(runs):
    (run, *_) = runs["none"]
    (axes,) = draw({"none": [run]}).figure.axes
    points = run.read_made("int8_static")["curve"]
    drawn = [(line.get_xdata()[0], line.get_ydata()[0]) for line in markers(axes, "o")]
    assert drawn == [pytest.approx((point["time"], point["loss"])) for point in points]
    assert [text.get_text() for text in axes.texts] == ["0", "1", "4"]
    fills = [to_rgba(line.get_markerfacecolor()) for line in markers(axes, "o")]
    assert [fill == to_rgba("white") for fill in fills] == [True, True, False]  # the kept one
    (cross,) = markers(axes, "x")
    assert (cross.get_xdata()[0], cross.get_ydata()[0]) == (points[0]["speedup"], 0)


def test_searches_of_earlier_versions_and_other_networks_are_left_out(own_runs):
    (run, other) = own_runs["none"]
    steps = [{"layer": None, "loss": 0.1, "kept": True}]
    write_json(run.made("int8_static"), {"steps": steps, "float_layers": []})
    write_json(other.made("int8_static"), other.read_made("int8_static") | {"network": "0"})
    other.onnx("int8_static").write_bytes(b"another")
    assert draw({"none": [run, other]}) is None
