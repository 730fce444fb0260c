import pytest

from brainseg.report.comparisons import compare_all
from brainseg.report.figures.comparisons import (
    FAMILIES,
    MOST,
    draw,
    name_comparison,
)


def panels(figure):
    return {axes.get_title(): axes for axes in figure.axes}


def labels_of(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def points_of(axes):
    return [line for line in axes.lines if line.get_marker() not in ("None", "")]


def test_each_family_has_a_panel_with_its_own_axis(comparisons):
    found = panels(draw(comparisons).figure)
    assert list(found) == list(FAMILIES)
    assert labels_of(found["variants"]) == ["ag − none", "se − none"]
    assert labels_of(found["modes"]) == ["ag: int8_static − fp32"]
    widths = [axes.get_xlim()[1] - axes.get_xlim()[0] for axes in found.values()]
    assert widths[0] > 2 * widths[1]


def test_points_and_intervals_stand_in_the_order_of_the_rows(comparisons):
    axes = panels(draw(comparisons).figure)["variants"]
    assert [line.get_xdata()[0] for line in points_of(axes)] == [0.05, -0.002]
    intervals = [line for line in axes.lines[1:] if line.get_marker() == "None"]
    assert [line.get_xdata() for line in intervals] == [pytest.approx([0.04, 0.06])]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first row is at the top


def test_of_very_many_the_largest_are_drawn(comparisons):
    one = next(row for row in comparisons if row["family"] == "variants")
    many = [one | {"second": f"v{k}", "difference": k / 1000} for k in range(-30, 31)]
    labels = labels_of(panels(draw(many).figure)["variants"])
    named = [label.partition(" −")[0] for label in labels]
    assert len(named) == MOST
    assert named == [f"v{k}" for k in [*range(-30, -10), *range(11, 31)]]


def test_zero_is_in_every_panel(comparisons):
    for axes in panels(draw(comparisons).figure).values():
        low, high = axes.get_xlim()
        assert low < 0 < high
        assert set(axes.lines[0].get_xdata()) == {0}


def test_only_what_is_beyond_chance_is_filled(comparisons):
    axes = panels(draw(comparisons).figure)["variants"]
    colour = FAMILIES["variants"][0]
    assert [line.get_markerfacecolor() for line in points_of(axes)] == [colour, "white"]


def test_numbers_stand_beside_the_points(comparisons, texts_of):
    texts = texts_of(draw(comparisons).figure)
    assert "+0.0500 (+0.0400 to +0.0600), p corrected 0.001" in texts
    assert "−0.0020" in texts  # no interval, no p-value
    alt = draw(comparisons).alt
    assert "ag − none: +0.0500 (+0.0400 to +0.0600), p corrected 0.001 (beyond chance)" in alt
    assert "se − none: −0.0020;" in alt


@pytest.mark.parametrize("family", FAMILIES)
def test_one_family_alone_is_one_panel(comparisons, family):
    rows = [row for row in comparisons if row["family"] == family]
    assert list(panels(draw(rows).figure)) == [family]


def test_rows_of_real_comparisons_can_be_drawn(runs, texts_of):
    rows = compare_all(runs, ["int8_static"])
    assert {row["family"] for row in rows} == set(FAMILIES)
    texts = texts_of(draw(rows).figure)
    assert set(map(name_comparison, rows)) <= set(texts)


def test_modes_are_drawn_over_the_margin_with_the_interval_that_is_tested(comparisons):
    found = panels(draw(comparisons).figure)
    thick = {
        name: [list(line.get_xdata()) for line in axes.lines if line.get_linewidth() > 3]
        for name, axes in found.items()
    }
    assert thick == {"variants": [], "modes": [[-0.0087, 0.0079]]}
    bands = {
        name: [band.get_bbox().intervalx for band in axes.patches] for name, axes in found.items()
    }
    assert bands["variants"] == []
    assert list(bands["modes"][0]) == [-0.005, 0.005]
