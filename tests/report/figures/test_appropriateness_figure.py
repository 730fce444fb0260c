"""The boxes are the measures' distributions, beside what the study expects."""

import numpy as np
import pytest

from brainseg.evaluation.appropriateness import COLUMNS, EXPECTED
from brainseg.files import read_csv, write_csv
from brainseg.report.appropriateness import collect_sources
from brainseg.report.figures import appropriateness
from brainseg.vocabulary import MEASURES

CLASSES = list(EXPECTED)


def panels(figure):
    return {axes.get_title(): axes for axes in figure.axes if axes.get_visible()}


def test_a_panel_per_measure_of_which_something_is_expected(runs):
    found = panels(appropriateness.draw(runs).figure)
    expected = {entry.measure for entries in EXPECTED.values() for entry in entries}
    assert set(found) == {name.replace("_", " ") for name in expected}
    assert set(MEASURES) >= expected
    labels = [label.get_text() for label in found["ring contrast"].get_xticklabels()]
    assert labels == ["glioma\nn 2\nexpected ↑", "meningioma\nn 2\n", "pituitary\nn 2\n"]
    labels = [label.get_text() for label in found["surface distance"].get_xticklabels()]
    assert labels[1:] == ["meningioma\nn 2\nexpected ↓", "pituitary\nn 2\nexpected ↑"]


def test_medians_are_those_of_the_files(runs):
    axes = panels(appropriateness.draw(runs).figure)["roundness"]
    drawn = sorted(
        float(line.get_ydata()[0])
        for line in axes.lines
        if line.get_color() == "black" and line.get_linewidth() == pytest.approx(1.6)
    )
    expected = []
    for members in runs.values():
        rows = members[0].read(members[0].appropriateness("fp32"))
        for class_ in CLASSES:
            values = [row["roundness"] for row in rows if row["class"] == class_]
            expected.append(np.median([value for value in values if value is not None]))
    assert drawn == pytest.approx(sorted(expected))


def test_the_truth_comes_first_where_it_was_outlined(own_runs, texts_of):
    assert "truth" not in texts_of(appropriateness.draw(own_runs).figure)
    run = own_runs["none"][0]
    run.appropriateness("truth").write_bytes(run.appropriateness("fp32").read_bytes())
    figure = appropriateness.draw(own_runs).figure
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["truth", *own_runs]
    hatches = {patch.get_hatch() for patch in legend.get_patches()}
    assert len(hatches) == 5  # told apart without colours
    counts = "truth: 2 glioma, 2 meningioma, 2 pituitary"
    assert counts in appropriateness.draw(own_runs).alt


def test_without_measures_there_is_nothing_to_draw(own_runs, empty_runs, forget):
    forget(own_runs, "appropriateness.*.csv")
    assert appropriateness.draw(own_runs) is None
    assert appropriateness.draw(empty_runs) is None
    assert appropriateness.draw({}) is None


def test_classes_of_which_nothing_is_expected_are_no_figure(own_runs):
    for run, _ in own_runs.values():
        file = run.appropriateness("fp32")
        write_csv(file, [row | {"class": "tumor"} for row in read_csv(file)], COLUMNS)
    assert appropriateness.draw(own_runs) is None


@pytest.fixture
def draw_sources(monkeypatch):
    """Draw what `collect_sources` gives."""
    monkeypatch.setattr(appropriateness, "collect_sources", lambda sources: sources)
    return appropriateness.draw


def test_every_truth_is_white(runs, draw_sources):
    sources = collect_sources(runs)
    two = {"truth": sources["ag"], "ag": sources["ag"], "truth (se)": sources["se"]}
    (legend,) = draw_sources(two).figure.legends
    fills = [(patch.get_facecolor()[:3], patch.get_hatch()) for patch in legend.get_patches()]
    assert [colour == (1, 1, 1) for colour, _ in fills] == [True, False, True]
    assert len(set(fills)) == len(fills)


def test_a_variant_looks_the_same_with_and_without_a_truth(runs, draw_sources):
    sources = collect_sources(runs)
    looks = []
    for shown in (sources, {"truth": sources["ag"]} | sources):
        (legend,) = draw_sources(shown).figure.legends
        patches = zip(legend.get_texts(), legend.get_patches(), strict=True)
        looks.append({text.get_text(): patch.get_hatch() for text, patch in patches})
    assert looks[0].items() <= looks[1].items()
