"""What holds for every figure; `gallery.FIGURES` lists them."""

import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from brainseg.report.figures import gallery
from brainseg.report.figures.style import FORMATS, save

NAMES = {module.__name__.rpartition(".")[2]: module for module in gallery.FIGURES}
OF_POINTS = ("accuracy_latency", "accuracy_size")
OF_RUNS = sorted(NAMES.keys() - {*OF_POINTS, "comparisons"})


@pytest.fixture(params=NAMES)
def name(request) -> str:
    return request.param


@pytest.fixture
def module(name) -> ModuleType:
    return NAMES[name]


@pytest.fixture
def argument(name, runs, points, comparisons):
    if name == "worst_cases":
        return runs["ag"][0]
    return {"comparisons": comparisons, **dict.fromkeys(OF_POINTS, points)}.get(name, runs)


def call(module, what, argument):
    return getattr(module, f"{what}_{module.__name__.rpartition('.')[2]}")(argument)


def test_files_in_both_formats_are_the_same_again(module, name, argument, tmp_path):
    for folder in ("first", "second"):
        figure = call(module, "draw", argument)
        assert isinstance(figure, Figure)
        save(figure, tmp_path / folder / name)
    files = sorted(file.name for file in (tmp_path / "first").iterdir())
    assert files == sorted(name + suffix for suffix in FORMATS)
    for file in files:
        first, second = (tmp_path / folder / file for folder in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()
    with Image.open(tmp_path / "first" / f"{name}.png") as image:
        assert min(image.size) > 300
        assert max(image.size) < 4000
        assert np.asarray(image.convert("L")).std() > 5


def test_title_caption_and_alt_text_are_sentences(module, argument):
    assert module.TITLE[0].isupper()
    assert not module.TITLE.endswith(".")
    alt = call(module, "describe", argument)
    for text in (module.CAPTION, alt):
        assert text.endswith(".")
        assert "  " not in text
        assert "nan" not in text.lower().replace("resonance", "")
    assert 100 < len(module.CAPTION) < 700
    assert len(alt) > 60


def test_text_is_large_enough_to_read(module, argument):
    from matplotlib.text import Text

    figure = call(module, "draw", argument)
    sizes = [text.get_fontsize() for text in figure.findobj(Text) if text.get_text().strip()]
    assert min(sizes) > 7


@pytest.mark.parametrize("figure", OF_RUNS)
def test_runs_without_files_have_no_figure(figure, empty_runs):
    argument = empty_runs["ag"][0] if figure == "worst_cases" else empty_runs
    assert call(NAMES[figure], "draw", argument) is None


@pytest.mark.parametrize("figure", [*OF_POINTS, "comparisons"])
def test_nothing_to_compare_has_no_figure(figure):
    assert call(NAMES[figure], "draw", []) is None


@pytest.mark.parametrize(
    "lost",
    [
        *("test.npz", "predictions.fp32.npz", "predictions.*.npz", "cases.fp32.csv", "cases.*.csv"),
        *("history.csv", "metrics.json", "model.json", "attention.npz", "config.yaml"),
    ],
)
def test_figures_cope_with_any_file_that_is_missing(lost, own_runs, forget):
    forget(own_runs, lost)
    for figure in OF_RUNS:
        argument = own_runs["ag"][0] if figure == "worst_cases" else own_runs
        drawn = call(NAMES[figure], "draw", argument)
        assert drawn is None or call(NAMES[figure], "describe", argument)


@pytest.mark.parametrize("gone", ["none", "ag"])
def test_figures_cope_with_a_variant_that_has_no_files(gone, own_runs, forget):
    forget({gone: own_runs[gone]}, "*")
    for figure in OF_RUNS:
        argument = own_runs["se"][0] if figure == "worst_cases" else own_runs
        assert call(NAMES[figure], "draw", argument) is not None
        assert call(NAMES[figure], "describe", argument)


def test_drawing_needs_neither_display_nor_network_nor_decoder():
    code = (
        "import sys, brainseg.report.figures.gallery;"
        "print({'matplotlib.pyplot', 'torch', 'onnxruntime', 'cv2'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"
