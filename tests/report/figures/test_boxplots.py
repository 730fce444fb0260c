from statistics import median

import numpy as np
import pytest

from brainseg.files import read_csv, write_csv
from brainseg.report.figures import boxplots

CLASSES = ["glioma", "meningioma", "pituitary"]


def labels_of(axes):
    return [label.get_text() for label in axes.get_xticklabels()]


def test_classes_with_a_tumour_have_a_panel_of_each_metric(runs):
    axes = boxplots.draw(runs).figure.axes
    assert len(axes) == 2 * len(CLASSES)
    assert [each.get_title() for each in axes[:3]] == CLASSES
    assert [axes[0].get_ylabel(), axes[3].get_ylabel()] == ["Dice", "HD95, px"]


def test_points_are_the_cases_of_all_seeds(runs):
    axes = boxplots.draw(runs).figure.axes[0]
    assert len(axes.collections) == len(runs)
    for points, (variant, members) in zip(axes.collections, runs.items(), strict=True):
        cases = [case for run in members for case in run.read(run.cases("fp32"))]
        expected = [case["dice"] for case in cases if case["class"] == "glioma"]
        assert points.get_offsets()[:, 1].tolist() == expected, variant


def test_the_thick_line_is_the_median(runs):
    axes = boxplots.draw(runs).figure.axes[0]
    widths = [line.get_linewidth() for line in axes.lines]
    medians = [line.get_ydata()[0] for line in axes.lines if line.get_linewidth() == max(widths)]
    cases = [case for run in runs["none"] for case in run.read(run.cases("fp32"))]
    assert medians[0] == pytest.approx(median(c["dice"] for c in cases if c["class"] == "glioma"))


def rewrite(run, change):
    rows = [row | change(row) for row in read_csv(run.cases("fp32"))]
    write_csv(run.cases("fp32"), rows, list(rows[0]))


def test_number_of_images_and_share_of_missed_ones_stand_below(own_runs):
    def miss(row):
        missed = row["id"] == "case0"
        return {"tp": 0, "dice": 0.0, "hd95_px": 45.25} if missed else {}

    for run in own_runs["ag"]:
        rewrite(run, miss)
    axes = boxplots.draw(own_runs).figure.axes[3]  # the lower panel of gliomas
    assert labels_of(axes)[:2] == ["none\nn 2 × 2\n0% missed", "ag\nn 2 × 2\n50% missed"]
    assert max(axes.get_ylim()) > 45.25
    assert "glioma, ag" in boxplots.draw(own_runs).alt
    assert "50% missed" in boxplots.draw(own_runs).alt


def test_seeds_with_other_numbers_are_counted_apart(own_runs):
    run = own_runs["ag"][1]
    rows = [row for row in read_csv(run.cases("fp32")) if row["id"] != "case0"]
    write_csv(run.cases("fp32"), rows, list(rows[0]))
    assert labels_of(boxplots.draw(own_runs).figure.axes[3])[1].split("\n")[1] == "n 2 + 1"


def test_a_variant_without_a_class_leaves_its_place_empty(own_runs):
    for run in own_runs["ag"]:
        rows = [row for row in read_csv(run.cases("fp32")) if row["class"] != "glioma"]
        write_csv(run.cases("fp32"), rows, list(rows[0]))
    axes = boxplots.draw(own_runs).figure.axes[3]
    assert labels_of(axes)[1] == "ag\nn 0 × 2"
    assert "glioma, ag" not in boxplots.draw(own_runs).alt


def test_one_seed_is_no_product(runs):
    axes = boxplots.draw({"se": runs["se"][:1]}).figure.axes[3]
    assert labels_of(axes) == ["se\nn 2\n0% missed"]


def test_distances_of_zero_are_seen_on_the_logarithmic_axis(own_runs):
    for run in own_runs["ag"]:
        rewrite(run, lambda row: {"hd95_px": 0.0} if row["dice"] else {})
    axes = boxplots.draw(own_runs).figure.axes[3]
    assert axes.get_yscale() == "symlog"
    assert axes.get_ylim()[0] < 0


def test_points_move_aside_the_same_way_each_time(runs):
    first, second = (
        boxplots.draw(runs).figure.axes[0].collections[1].get_offsets() for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def test_without_a_tumour_there_is_no_figure(own_runs):
    for run in own_runs["se"]:
        rows = [row for row in read_csv(run.cases("fp32")) if row["class"] == "notumor"]
        write_csv(run.cases("fp32"), rows, list(rows[0]))
    assert boxplots.draw({"se": own_runs["se"]}) is None
