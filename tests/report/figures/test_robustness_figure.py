import pytest

from brainseg.report.figures.robustness import draw
from brainseg.report.losses import collect_losses
from brainseg.vocabulary import MAPPINGS


def test_each_mapping_has_a_panel_with_a_line_per_variant(runs):
    figure = draw(runs).figure
    assert [axes.get_title() for axes in figure.axes] == list(MAPPINGS.values())
    losses = collect_losses(runs)
    for axes, mapping in zip(figure.axes, MAPPINGS, strict=True):
        assert [label.get_text() for label in axes.get_xticklabels()] == ["8", "4"]
        lines = [line for line in axes.lines if line.get_marker() not in ("None", "")]
        drawn = [list(line.get_ydata()) for line in lines]
        assert drawn == [
            [pytest.approx(e.change) for e in losses if (e.variant, e.mapping) == (name, mapping)]
            for name in runs
        ]
        assert len({(line.get_marker(), line.get_linestyle()) for line in lines}) == len(runs)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(runs)


def test_bits_that_only_some_runs_have_are_drawn(own_runs):
    for members in list(own_runs.values())[1:]:
        for run in members:
            run.robustness.unlink()
    (first, *_) = draw(own_runs).figure.axes
    lines = [line for line in first.lines if line.get_marker() not in ("None", "")]
    assert len(lines) == 1
