import numpy as np
import pytest

from brainseg.files import write_csv
from brainseg.report.figures import curves
from brainseg.report.figures.curves import PANELS, best_epoch
from brainseg.report.figures.style import LOOKS

COLUMNS = ["epoch", *PANELS]
AG = LOOKS[1]


def write_history(run, scores):
    rows = [
        dict.fromkeys(COLUMNS, 0.5) | {"epoch": epoch, "val_mean_iou": score, "train_loss": score}
        for epoch, score in enumerate(scores)
    ]
    write_csv(run.history, rows, COLUMNS)


def lines_of(figure, panel=0, colour=AG.colour):
    return [line for line in figure.axes[panel].lines if line.get_color() == colour]


def test_thick_line_is_the_mean_and_thin_ones_the_seeds(own_runs):
    for run, scores in zip(own_runs["ag"], ([0.2, 0.4, 0.9], [0.4, 0.8]), strict=True):
        write_history(run, scores)
    figure = curves.draw(own_runs).figure
    mean, first, second = [line for line in lines_of(figure) if line.get_linestyle() != "None"]
    # As far as both seeds ran: a mean over the longer one only would jump.
    np.testing.assert_allclose(mean.get_xydata(), [[0, 0.3], [1, 0.6]])
    assert first.get_ydata().tolist() == [0.2, 0.4, 0.9]
    assert second.get_ydata().tolist() == [0.4, 0.8]
    assert mean.get_linewidth() > 2 * first.get_linewidth()


def test_the_best_epoch_is_marked_in_every_panel(own_runs):
    write_history(own_runs["ag"][0], [0.2, 0.9, 0.4])
    own_runs["ag"] = own_runs["ag"][:1]
    figure = curves.draw(own_runs).figure
    for panel in range(len(PANELS)):
        (marker,) = [line for line in figure.axes[panel].lines if line.get_marker() == AG.marker]
        assert marker.get_xdata() == [1]
    assert "ag 0.900 in epoch 1" in curves.draw(own_runs).alt


def test_panels_name_what_they_show(runs, texts_of):
    figure = curves.draw(runs).figure
    assert [axes.get_ylabel() for axes in figure.axes] == list(PANELS.values())
    assert {"none (2 seeds)", "cbam (2 seeds)"} <= set(texts_of(figure))
    limits = [axes.get_ylim() for axes in figure.axes[:2]]
    assert limits[0] == limits[1]  # so that training and validation loss can be compared


@pytest.mark.parametrize("scores", [["nan", "nan"], ["", ""]])
def test_a_run_that_diverged_has_no_best_epoch(own_runs, scores):
    for run in own_runs["ag"]:
        write_history(run, scores)
    assert curves.draw({"ag": own_runs["ag"]}) is not None
    assert "ag none, none" in curves.draw(own_runs).alt


def test_scores_that_are_no_number_are_passed_over():
    assert best_epoch({"val_mean_iou": np.array([0.3, np.nan, 0.5, 0.4])}) == 2
    assert best_epoch({"val_mean_iou": np.array([np.nan])}) is None


def test_one_epoch_is_seen(own_runs):
    write_history(own_runs["se"][0], [0.5])
    figure = curves.draw({"se": own_runs["se"][:1]}).figure
    assert any(line.get_marker() == LOOKS[2].marker for line in figure.axes[0].lines)


def test_a_history_without_rows_is_none(own_runs):
    for run in own_runs["se"]:
        write_csv(run.history, [], COLUMNS)
    assert curves.draw({"se": own_runs["se"]}) is None
