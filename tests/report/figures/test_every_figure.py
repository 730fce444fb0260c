"""What holds for every figure; those of `gallery` are tested as a whole in test_gallery.py."""

import json
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from brainseg.files import read_json, write_json, write_npz, write_text
from brainseg.report.figures import (
    accuracy_latency,
    appropriateness,
    architecture,
    attention,
    boxplots,
    calibration,
    classes,
    curves,
    latency_threads,
    mixed_precision,
    qualitative,
    robustness,
    worst_cases,
)
from brainseg.report.figures.comparisons import draw as draw_comparisons
from brainseg.report.figures.style import FORMATS, save, styled


def draw_worst(runs):
    """Of the last variant, which is one that keeps its files."""
    *_, members = runs.values()
    return worst_cases.draw({"own": members[:1]})


SIZE = 32

OF_RUNS = (
    appropriateness.draw,
    architecture.draw,
    attention.draw,
    boxplots.draw,
    calibration.draw,
    classes.draw,
    curves.draw,
    mixed_precision.draw,
    qualitative.draw,
    robustness.draw,
    draw_worst,
)
OF_ROWS = (accuracy_latency.draw, latency_threads.draw, draw_comparisons)


@pytest.fixture(params=[*OF_RUNS, *OF_ROWS])
def draw(request, runs, points, comparisons):
    """Draws a figure that has something to show."""
    function = request.param
    if function in OF_RUNS:
        return lambda: function(runs)
    return lambda: function(comparisons if function is draw_comparisons else points)


def test_files_in_both_formats_are_the_same_again(draw, tmp_path):
    for folder in ("first", "second"):
        save(draw().figure, tmp_path / folder / "figure")
    files = sorted(file.name for file in (tmp_path / "first").iterdir())
    assert files == sorted(f"figure{suffix}" for suffix in FORMATS)
    for file in files:
        first, second = (tmp_path / folder / file for folder in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()
    with Image.open(tmp_path / "first" / "figure.png") as image:
        assert min(image.size) > 300
        assert max(image.size) < 4000
        assert np.asarray(image.convert("L")).std() > 5


def test_text_is_large_enough_to_read(draw):
    texts = [text for text in draw().figure.findobj(Text) if text.get_text().strip()]
    assert min(text.get_fontsize() for text in texts) > 7


@pytest.mark.parametrize("draw", OF_RUNS)
def test_any_name_can_be_written(draw, named, tmp_path):
    name = "c$_{$12 脑瘤"  # no formula, and signs that the font lacks
    drawing = draw(named(name))
    styled(drawing.figure.suptitle)(name)
    save(drawing.figure, tmp_path / "figure")
    assert name in drawing.alt


@pytest.mark.parametrize("draw", OF_RUNS)
def test_runs_without_files_have_no_figure(draw, empty_runs):
    assert draw(empty_runs) is None


@pytest.mark.parametrize("draw", OF_ROWS)
def test_nothing_to_compare_has_no_figure(draw):
    assert draw([]) is None


@pytest.mark.parametrize(
    "lost",
    [
        "test.npz",
        "predictions.fp32.npz",
        "predictions.*.npz",
        "cases.fp32.csv",
        "cases.*.csv",
        "history.csv",
        "metrics.json",
        "model.json",
        "attention.npz",
        "robustness.json",
        "model.int8_static.json",
        "config.yaml",
    ],
)
def test_figures_cope_with_any_file_that_is_missing(lost, own_runs, forget):
    forget(own_runs, lost)
    for draw in OF_RUNS:
        drawing = draw(own_runs)
        assert drawing is None or drawing.alt


@pytest.mark.parametrize("gone", ["none", "ag"])
def test_figures_cope_with_a_variant_that_has_no_files(gone, own_runs, forget):
    forget({gone: own_runs[gone]}, "*")
    for draw in OF_RUNS:
        assert draw(own_runs).alt


@pytest.mark.parametrize("parts", [{}, {"encoder": 1, "decoder": 1}])
def test_figures_cope_with_any_network(parts, own_runs):
    """A network of others: parts of other names or none, and no attention."""
    part = {"parameters": 9, "multiply_adds": 90, "output_shape": [1, SIZE, SIZE]}
    for members in own_runs.values():
        for run in members:
            model = read_json(run.model) | {"parts": dict.fromkeys(parts, part)}
            write_json(run.model, model)
            write_text(run.config, json.dumps({"model": {"name": "own", "target": "a.B"}}))
            run.attention.unlink()
    shown = {draw: draw(own_runs) for draw in OF_RUNS}
    assert {draw for draw, found in shown.items() if not found} == {
        architecture.draw,
        attention.draw,
    }
    write_npz(own_runs["ag"][0].attention, ids=np.array([], str))
    assert attention.draw(own_runs) is None


def test_drawing_needs_neither_display_nor_network_nor_decoder():
    code = (
        "import sys, brainseg.report.figures.gallery;"
        "print({'matplotlib.pyplot', 'torch', 'onnxruntime', 'cv2'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"
