import numpy as np
import pytest

from brainseg.files import read_json, write_json
from brainseg.report.figures.calibration import (
    FIXED,
    SWEPT,
    draw,
)
from brainseg.report.figures.style import save
from brainseg.vocabulary import METRICS


def axes_of(figure, variants=4):
    """Reliability diagrams, histograms, and the curves of the threshold."""
    found = figure.axes
    return found[:variants], found[variants : 2 * variants], found[2 * variants :]


def change(run, **values):
    write_json(run.metrics, read_json(run.metrics) | values)


def test_reliability_is_drawn_from_the_bins_that_have_pixels(runs):
    diagrams, _, _ = axes_of(draw(runs).figure)
    for axes, (variant, members) in zip(diagrams, runs.items(), strict=True):
        calibration = read_json(members[0].metrics)["calibration"]
        known = [(b["confidence"], b["share"]) for b in calibration["bins"] if b["n"]]
        assert len(known) < len(calibration["bins"])
        diagonal, points = axes.lines
        np.testing.assert_allclose(points.get_xydata(), known)
        np.testing.assert_array_equal(diagonal.get_xydata(), [[0, 0], [1, 1]])
        assert axes.get_title().startswith(f"{variant}\nECE {calibration['ece']:.3f}")


def test_the_histogram_is_logarithmic_and_shows_every_bin(runs):
    _, histograms, _ = axes_of(draw(runs).figure)
    for axes, members in zip(histograms, runs.values(), strict=True):
        bins = read_json(members[0].metrics)["calibration"]["bins"]
        assert axes.get_yscale() == "log"
        heights = [bar.get_height() for bar in axes.patches]
        assert heights == [each["n"] for each in bins]
        assert max(heights) < axes.get_ylim()[1]
        assert axes.get_ylim()[0] < 1  # a bin of one pixel is seen


def test_numbers_of_pixels_are_written_plainly(runs, tmp_path):
    _, histograms, _ = axes_of(draw(runs).figure)
    save(histograms[0].figure.figure, tmp_path / "figure")
    ticks = histograms[0].yaxis.get_major_ticks() + histograms[0].yaxis.get_minor_ticks()
    written = [tick.label1.get_text() for tick in ticks if tick.label1.get_text()]
    assert "1,000" in written
    assert all(text.replace(",", "").isdecimal() for text in written)


def test_curves_show_each_metric_with_the_fixed_threshold(runs):
    _, _, curves = axes_of(draw(runs).figure)
    assert [axes.get_title() for axes in curves] == [METRICS[name].label for name in SWEPT]
    for axes, metric in zip(curves, SWEPT, strict=True):
        *variants, fixed = axes.lines
        assert set(fixed.get_xdata()) == {FIXED}
        rows = read_json(runs["none"][0].metrics)["thresholds"]
        expected = [(row["threshold"], row[metric]) for row in rows]
        np.testing.assert_allclose(variants[0].get_xydata(), expected)
        styles = {str(line.get_linestyle()) + str(line.get_color()) for line in variants}
        assert len(styles) == len(runs)


def test_what_is_undefined_is_left_out_of_the_curves(own_runs):
    run = own_runs["ag"][0]
    rows = read_json(run.metrics)["thresholds"]
    change(run, thresholds=[row | {"dice": None, "false_positive_rate": None} for row in rows])
    _, _, curves = axes_of(draw({"ag": [run]}).figure, 1)
    assert len(curves[2].lines[0].get_xdata()) == 0
    assert len(curves[0].lines[0].get_xdata()) == len(rows)


def test_an_undefined_error_is_told_as_such(own_runs):
    run = own_runs["ag"][0]
    calibration = read_json(run.metrics)["calibration"]
    change(run, calibration=calibration | {"ece_uncertain": None})
    assert "uncertain pixels undefined" in draw({"ag": [run]}).alt
    assert draw({"ag": [run]}) is not None


def test_metrics_of_an_older_run_are_passed_over(own_runs):
    for run in own_runs["ag"]:
        change(run, calibration=None)
    diagrams, _, _ = axes_of(draw(own_runs).figure, 3)
    assert [axes.get_title().split("\n")[0] for axes in diagrams] == ["none", "se", "cbam"]
    assert draw({"ag": own_runs["ag"]}) is None


def test_a_run_without_thresholds_still_shows_its_calibration(own_runs):
    run = own_runs["ag"][0]
    change(run, thresholds=None)
    assert draw({"ag": [run]}) is not None


@pytest.mark.parametrize("count", [1, 4, 7])
def test_any_number_of_variants_fits(runs, count):
    many = {f"variant{number}": runs["none"] for number in range(count)}
    diagrams, _, _ = axes_of(draw(many).figure, count)
    assert len(diagrams) == count
