import base64
import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from brainseg.evaluation.cases import COLUMNS, score_cases
from brainseg.files import write_csv, write_npz
from brainseg.outline import to_svg, trace
from brainseg.report.figures import classes, qualitative, worst_cases
from brainseg.report.figures.attention import read_attention
from brainseg.report.figures.curves import PANELS
from brainseg.report.viewer import collect_viewer
from brainseg.run import Run

SIDE = 16


def square(size: int, row: int = 2, column: int = 2, side: int = SIDE) -> np.ndarray:
    mask = np.zeros((side, side), np.uint8)
    mask[row : row + size, column : column + size] = 1
    return mask


def write_run(
    folder: Path,
    cases: list[tuple[str, str, np.ndarray]],
    predictions: dict[str, list[np.ndarray]],
) -> Run:
    """A run with the (id, class, mask) of its test cases and the masks of each mode."""
    run = Run(folder)
    ids, classes, masks = (list(values) for values in zip(*cases, strict=True))
    patients = [f"p{name}" for name in ids]
    stack = np.stack(masks)
    arrays = {"ids": np.array(ids), "classes": np.array(classes), "patients": np.array(patients)}
    write_npz(run.test, **arrays, images=stack * 90 + 10, masks=stack)
    for mode, predicted in predictions.items():
        maps = np.stack(predicted).astype(np.uint8) * 255
        write_npz(run.predictions(mode), ids=arrays["ids"], probabilities=maps)
        rows = score_cases(ids, classes, patients, maps, stack)
        write_csv(run.cases(mode), rows, COLUMNS)
    return run


def test_a_case_has_picture_truth_and_each_prediction(tmp_path: Path) -> None:
    cases = [("7", "glioma", square(8)), ("8", "notumor", square(0))]
    modes = {"int8_static": [square(6), square(2)], "fp32": [square(8), square(0)]}
    viewer = collect_viewer({"ag": [write_run(tmp_path / "ag-seed0", cases, modes)]})
    assert viewer
    assert (viewer.variants, viewer.runs) == (["ag"], {"ag": "ag-seed0"})
    assert viewer.modes == ["fp32", "int8_static"]
    first, second = viewer.cases
    assert (first.id, first.label, first.patient, first.area) == ("7", "glioma", "p7", 64)
    assert first.truth == to_svg(trace(square(8) > 0))
    with Image.open(io.BytesIO(base64.b64decode(first.image))) as image:
        assert image.mode == "L"
        assert (np.asarray(image) == square(8) * 90 + 10).all()
    exact, smaller = (first.layers["ag"][mode] for mode in viewer.modes)
    assert (exact.dice, exact.hd95_px, exact.path) == (1, 0, first.truth)
    assert (smaller.area, smaller.dice) == (36, pytest.approx(2 * 36 / 100))
    assert (second.truth, second.area) == ("", 0)
    assert second.layers["ag"]["fp32"].path == ""
    wrong = second.layers["ag"]["int8_static"]
    assert (wrong.area, wrong.dice, wrong.hd95_px) == (4, None, None)
    assert "All 2 test cases" in viewer.rule


def test_the_checkpoint_stands_in_for_its_export(tmp_path: Path) -> None:
    cases, masks = [("1", "glioma", square(8))], [square(7)]
    both = write_run(tmp_path / "ag-seed0", cases, {"checkpoint": masks, "fp32": masks})
    alone = write_run(tmp_path / "se-seed0", cases, {"checkpoint": masks})
    found = collect_viewer({"ag": [both]})
    assert found
    assert found.modes == ["fp32"]
    found = collect_viewer({"ag": [both], "se": [alone]})
    assert found
    assert found.modes == ["fp32", "checkpoint"]
    assert {name: list(modes) for name, modes in found.cases[0].layers.items()} == {
        "ag": ["fp32"],
        "se": ["checkpoint"],
    }


def test_variants_may_have_other_cases(tmp_path: Path) -> None:
    shared, own = ("1", "glioma", square(8)), ("2", "glioma", square(6))
    other = ("1", "glioma", square(5))  # the same id in another data set
    runs = {
        "none": [write_run(tmp_path / "a", [shared], {"fp32": [square(8)]})],
        "ag": [write_run(tmp_path / "b", [own, shared], {"fp32": [square(6), square(7)]})],
        "se": [write_run(tmp_path / "c", [other], {"fp32": [square(5)]})],
    }
    viewer = collect_viewer(runs)
    assert viewer
    assert [(case.id, list(case.layers)) for case in viewer.cases] == [
        ("1", ["none", "ag"]),
        ("2", ["ag"]),
        ("1 (se)", ["se"]),
    ]
    assert viewer.cases[0].layers["ag"]["fp32"].area == 49


def test_what_is_missing_is_left_out(tmp_path: Path) -> None:
    cases, masks = [("1", "glioma", square(8))], [square(8)]
    empty, no_test, half, whole = (
        write_run(tmp_path / name, cases, {"fp32": masks, "fp16": masks})
        for name in ("ag-seed0", "ag-seed1", "ag-seed2", "ag-seed3")
    )
    for mode in ("fp32", "fp16"):
        empty.predictions(mode).unlink()
    no_test.test.unlink()
    half.cases("fp16").unlink()
    assert collect_viewer({}) is None
    assert collect_viewer({"ag": [empty, no_test]}) is None
    found = collect_viewer({"se": [empty], "ag": [empty, no_test, half, whole]})
    assert found
    assert (found.variants, found.runs["ag"], found.modes) == (["ag"], "ag-seed2", ["fp32"])


def test_every_case_of_a_figure_is_there(tmp_path: Path) -> None:
    sizes = range(1, 61)
    cases = [(f"g{size}", "glioma", square(61, 1, 1, side=64)) for size in sizes]
    cases += [(f"n{size}", "notumor", square(0, side=64)) for size in sizes]
    random, runs = np.random.default_rng(0), {}
    for name in ("none", "ag"):
        drawn = [square(size, 1, 1, side=64) for size in random.permutation(len(cases)) // 2]
        runs[name] = [write_run(tmp_path / name, cases, {"fp32": drawn, "int8_static": drawn})]
    history = {"epoch": 0, **dict.fromkeys(PANELS, 0.5)}
    write_csv(runs["ag"][0].history, [history], list(history))
    kept = {"ids": np.array(["g30", "n30"]), "decoder.1.attention": np.ones((2, 4, 4), np.uint8)}
    write_npz(runs["ag"][0].attention, **kept)
    shown = [qualitative.draw(runs), classes.draw(runs)]
    shown += [worst_cases.draw({"ag": [run]}) for (run,) in runs.values()]
    told = {name for each in shown if each for name in re.findall(r"id (\w+)", each.alt)}
    viewer = collect_viewer(runs, limit=40)
    assert viewer
    assert len(viewer.cases) == 40
    assert len(told) > 20
    assert {*told, *read_attention(runs)[0]} <= {case.id for case in viewer.cases}
    assert viewer.rule.startswith("40 of 120 test cases are shown")


def test_figures_do_not_slow_the_viewer() -> None:
    code = "import sys, brainseg.report.viewer; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
