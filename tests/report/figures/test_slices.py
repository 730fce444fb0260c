"""Figures that show test cases: Fig. 9, Fig. A2, and the worst cases."""

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb

from brainseg.files import read_csv, write_csv, write_npz
from brainseg.report.figures import classes, qualitative, worst_cases
from brainseg.report.figures.classes import (
    COLUMNS,
    FOUND,
    MISSED,
    WRONG,
    choose_variant,
)
from brainseg.report.figures.qualitative import NOT_SHOWN
from brainseg.report.figures.style import PREDICTION, TRUTH
from brainseg.report.figures.worst_cases import (
    choose_worst,
)
from brainseg.report.pictures import read_pictures, typical_cases

CLASSES = ["glioma", "meningioma", "pituitary", "notumor"]


def scores_of(run, mode):
    cases = {case["id"]: case for case in run.read(run.cases(mode))}
    return {
        name: f"{case['fp']} px wrong" if case["dice"] is None else f"Dice {case['dice']:.3f}"
        for name, case in cases.items()
    }


def grid_of(figure, columns):
    return np.reshape(figure.axes, (-1, columns))


def written(axes):
    return [text.get_text() for text in axes.texts]


def test_qualitative_shows_every_variant_before_and_after_quantization(runs):
    figure = qualitative.draw(runs).figure
    grid = grid_of(figure, 2 + 2 * len(runs))
    titles = [axes.get_title() for axes in grid[0]]
    assert titles[:4] == ["image", "truth", "none\nfp32", "none\nint8_static"]
    assert titles[-1] == "cbam\nint8_static"
    assert [axes.get_ylabel().split("\n")[0] for axes in grid[:, 0]] == CLASSES


def test_qualitative_writes_the_scores_of_the_cases_file(runs):
    grid = grid_of(qualitative.draw(runs).figure, 10)
    chosen = typical_cases(runs["none"][0], "fp32")
    for line, (name, case) in zip(grid, chosen.items(), strict=True):
        assert line[0].get_ylabel() == f"{case['class']}\nid {name}"
        columns = [(run[0], mode) for run in runs.values() for mode in ("fp32", "int8_static")]
        for axes, (run, mode) in zip(line[2:], columns, strict=True):
            assert written(axes) == [scores_of(run, mode)[name]]


def test_qualitative_draws_truth_and_prediction_of_the_same_case(runs):
    grid = grid_of(qualitative.draw(runs).figure, 10)
    name = next(iter(typical_cases(runs["none"][0], "fp32")))
    picture = read_pictures(runs["none"][0], "fp32", [name])[name]
    image, truth, shown = (axes.images[0].get_array() for axes in grid[0, :3])
    np.testing.assert_array_equal(image, picture.image)
    np.testing.assert_array_equal(truth > 0, picture.truth)
    np.testing.assert_array_equal(shown, picture.image)
    colours = [to_hex(patch.get_edgecolor()) for patch in grid[0, 2].patches]
    assert colours == [TRUTH.colour, PREDICTION.colour]


def test_qualitative_names_the_mode_that_it_shows(own_runs):
    for run in (runs[0] for runs in own_runs.values()):
        for file in (run.cases, run.predictions):
            file("fp32").rename(file("checkpoint"))
            file("int8_static").rename(file("int8_dynamic"))
    titles = [axes.get_title() for axes in qualitative.draw(own_runs).figure.axes[:4]]
    assert titles[2:] == ["none\ncheckpoint", "none\nint8_dynamic"]


def test_qualitative_without_quantization_shows_the_network_alone(own_runs, forget):
    forget(own_runs, "*int8*")
    assert len(grid_of(qualitative.draw(own_runs).figure, 2 + len(own_runs))) == len(CLASSES)


def test_qualitative_says_where_a_case_was_not_predicted(own_runs):
    chosen = next(iter(typical_cases(own_runs["none"][0], "fp32")))
    run = own_runs["ag"][0]
    rows = [row for row in read_csv(run.cases("fp32")) if row["id"] != chosen]
    write_csv(run.cases("fp32"), rows, list(rows[0]))
    grid = grid_of(qualitative.draw(own_runs).figure, 10)
    assert written(grid[0, 4]) == [NOT_SHOWN]
    assert f"ag fp32 {NOT_SHOWN}" in qualitative.draw(own_runs).alt


def test_qualitative_of_folds_says_that_cases_were_not_predicted(folds):
    drawing = qualitative.draw(folds)
    grid = grid_of(drawing.figure, 6)
    assert [written(axes) for axes in grid[0, 4:]] == [[NOT_SHOWN]] * 2
    assert f"ag fold1- fp32 {NOT_SHOWN}" in drawing.alt
    assert "id fold1-" not in drawing.alt


def test_qualitative_shows_no_other_image_of_the_same_id(alike):
    grid = grid_of(qualitative.draw(alike).figure, 6)
    for line, class_ in zip(grid, CLASSES, strict=True):
        gone = [written(axes) == [NOT_SHOWN] for axes in line[2:]]
        assert gone == [False, False, *2 * [class_ in ("glioma", "meningioma")]]


def test_cases_that_nobody_can_show_are_no_figure(own_runs):
    for members in own_runs.values():
        with np.load(members[0].test) as file:
            arrays = {name: file[name] for name in file}
        arrays["ids"] = np.array([f"other{i}" for i in range(len(arrays["ids"]))])
        write_npz(members[0].test, **arrays)
    assert qualitative.draw(own_runs) is None
    assert classes.draw(own_runs) is None
    assert worst_cases.draw({"ag": own_runs["ag"][:1]}) is None


def test_classes_show_image_mask_overlay_and_contours(runs):
    grid = grid_of(classes.draw(runs).figure, len(COLUMNS))
    variant, run, mode = choose_variant(runs)
    assert [axes.get_title().split("\n")[0] for axes in grid[0]] == list(COLUMNS)
    assert grid[0, 3].get_title().endswith(f"{variant} {mode}")
    for line, name in zip(grid, typical_cases(run, mode), strict=True):
        assert line[0].get_ylabel().endswith(f"id {name}")
        assert written(line[3]) == [scores_of(run, mode)[name]]


def test_the_overlay_tells_found_from_missed_and_wrong(runs):
    _, run, mode = choose_variant(runs)
    name = next(iter(typical_cases(run, mode)))
    picture = read_pictures(run, mode, [name])[name]
    areas = classes.draw(runs).figure.axes[2].images[1].get_array()
    counts = {key: picture.case[key] for key in ("tp", "fn", "fp", "tn")}
    for colour, key in ((FOUND, "tp"), (MISSED, "fn"), (WRONG, "fp")):
        seen = np.isclose(areas[..., :3], to_rgb(colour)).all(axis=-1) & (areas[..., 3] > 0)
        assert seen.sum() == counts[key]
    assert (areas[..., 3] == 0).sum() == counts["tn"]
    hatched = classes.draw(runs).figure.axes[2].images[2].get_array()[..., 3] > 0
    assert 0 < hatched.sum() < counts["fp"]
    assert not (hatched & (picture.truth | ~picture.prediction)).any()


def test_validation_chooses_the_variant_of_the_classes(own_runs):
    for variant, members in own_runs.items():
        for run in members:
            rows = read_csv(run.history)
            score = 0.9 if variant == "se" else 0.5
            write_csv(run.history, [row | {"val_mean_iou": score} for row in rows], list(rows[0]))
    assert choose_variant(own_runs)[0] == "se"
    own_runs["se"][0].predictions("fp32").unlink()
    assert choose_variant(own_runs)[0] == "none"


def test_without_a_history_the_first_variant_shows_the_classes(own_runs, forget):
    forget(own_runs, "history.csv")
    assert choose_variant(own_runs)[0] == "none"


def test_the_worst_cases_come_first(runs):
    run = runs["ag"][0]
    cases = run.read(run.cases("fp32"))
    dices = [case["dice"] for line in choose_worst(cases) for case in line if case["dice"]]
    assert dices == sorted(dices)
    assert min(dices) == min(case["dice"] for case in cases if case["dice"])
    figure = worst_cases.draw({"ag": [run]}).figure
    titles = [axes.get_title() for axes in figure.axes if axes.get_visible()]
    scores = scores_of(run, "fp32")
    assert titles
    for title in titles:
        _, name, _, score = title.split("\n")
        assert score == scores[name.removeprefix("id ")]


def rewrite(run, change):
    rows = [row | change(row) for row in read_csv(run.cases("fp32"))]
    write_csv(run.cases("fp32"), rows, list(rows[0]))


def test_false_positives_stand_in_a_line_of_their_own(own_runs):
    run = own_runs["ag"][0]
    rewrite(run, lambda row: {"fp": 7 if row["class"] == "notumor" else row["fp"]})
    line = choose_worst(run.read(run.cases("fp32")))[-1]
    assert {case["class"] for case in line} == {"notumor"}
    assert len(line) == 2
    assert "notumor, id case3: 7 px wrong" in worst_cases.draw({"ag": [run]}).alt


def test_without_false_positives_there_is_no_such_line(own_runs):
    run = own_runs["ag"][0]
    rewrite(run, lambda row: {"fp": 0 if row["class"] == "notumor" else row["fp"]})
    lines = choose_worst(run.read(run.cases("fp32")))
    assert all(case["dice"] is not None for line in lines for case in line)


def test_worst_cases_without_a_prediction_are_passed_over(own_runs):
    run = own_runs["ag"][0]
    first = choose_worst(run.read(run.cases("fp32")))[0][0]["id"]
    with np.load(run.predictions("fp32")) as file:
        kept = file["ids"] != first
        write_npz(run.predictions("fp32"), **{name: file[name][kept] for name in file})
    drawing = worst_cases.draw({"ag": [run]})
    assert drawing is not None
    assert f"id {first}:" not in drawing.alt


@pytest.mark.parametrize("count", [1, 5])
def test_few_cases_fill_no_grid(own_runs, count):
    run = own_runs["ag"][0]
    rows = [row for row in read_csv(run.cases("fp32")) if row["dice"]][:count]
    write_csv(run.cases("fp32"), rows, list(rows[0]))
    shown = [axes for axes in worst_cases.draw({"ag": [run]}).figure.axes if axes.get_visible()]
    assert len(shown) == count
