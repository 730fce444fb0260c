import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from brainseg.files import write_json, write_npz, write_text
from brainseg.report.comparisons import compare_all
from brainseg.report.figures import gallery, style
from brainseg.report.figures.gallery import draw_all, draw_own, name_parts
from brainseg.report.page import PageFigure
from brainseg.run import Run

ORDER = [
    "curves",
    "accuracy_latency",
    "latency_threads",
    "comparisons",
    "robustness",
    "mixed_precision",
    "boxplots",
    "qualitative",
    "classes",
    *4 * ["worst_cases"],
    "attention",
    "calibration",
    "appropriateness",
    "architecture",
]


@pytest.fixture(autouse=True)
def saved(monkeypatch):
    """Stems of what was saved; test_every_figure.py writes the figures themselves."""
    stems = []

    def save(figure, stem):
        stems.append(stem)
        stem.parent.mkdir(parents=True, exist_ok=True)
        for file in style.paths_of(stem):
            file.write_text(figure.get_suptitle())

    monkeypatch.setattr(gallery, "save", save)
    return stems


def names_of(figures):
    return [figure.stem.name for figure in figures]


def assert_sentences(figure: PageFigure):
    assert figure.title[0].isupper()
    assert not figure.title.endswith(".")
    for text in (figure.caption, figure.alt):
        assert text.endswith(".")
        assert "  " not in text
        assert "nan" not in text.lower().replace("resonance", "")
    assert 100 < len(figure.caption) < 700
    assert len(figure.alt) > 60


def test_every_figure_is_drawn_in_the_order_of_the_report(own_runs, points, comparisons, tmp_path):
    folder = tmp_path / "figures"
    figures = draw_all(own_runs, points, comparisons, folder)
    assert names_of(figures) == ORDER
    shared = set(ORDER) - {"worst_cases"}
    names = {name + suffix for name in shared for suffix in (".svg", ".png")}
    assert {file.name for file in folder.iterdir()} == {"drawn.json", *names}
    own = {run.figures for run, *_ in own_runs.values()}
    assert {figure.stem.parent for figure in figures} == {folder, *own}
    for figure in figures:
        assert_sentences(figure)
        for file in style.paths_of(figure.stem):
            assert file.read_text() == figure.title
    titles = [figure.title for figure in figures]
    assert len(set(titles)) == len(titles)


def test_runs_that_share_no_test_case_have_figures(folds, points, tmp_path):
    comparisons = compare_all(folds, ["int8_static"])
    figures = draw_all(folds, points, comparisons, tmp_path / "figures")
    assert names_of(figures) == [*ORDER[:9], *ORDER[11:]]
    for figure in figures:
        assert_sentences(figure)


def test_every_run_has_its_worst_cases(own_runs, tmp_path, saved):
    draw_all(own_runs, [], [], tmp_path / "figures")
    every = [run.figures for members in own_runs.values() for run in members]
    assert sorted(stem.parent for stem in saved if stem.name == "worst_cases") == sorted(every)


def touch(file):
    """Another content of a file that can be read as before."""
    if file.suffix == ".npz":
        with np.load(file) as arrays:
            another = np.ones(len(arrays["ids"]), np.uint8)
            write_npz(file, **{name: arrays[name] for name in arrays}, another=another)
    else:
        file.write_bytes(file.read_bytes() + b"\n")


def test_only_figures_whose_inputs_changed_are_drawn_again(
    own_runs, points, comparisons, tmp_path, saved
):
    run = own_runs["ag"][0]

    def draw():
        saved.clear()
        figures = draw_all(own_runs, points, comparisons, tmp_path / "figures")
        return [stem.relative_to(tmp_path).as_posix() for stem in saved], figures

    _, first = draw()
    assert draw() == ([], first)
    (tmp_path / "figures" / "boxplots.png").unlink()
    assert draw() == (["figures/boxplots"], first)
    touch(run.history)
    assert draw()[0] == ["figures/curves", "figures/classes"]
    touch(run.predictions("int8_static"))
    own = "study/ag-seed0/figures/worst_cases"
    assert draw()[0] == ["figures/qualitative", "figures/classes", own]
    for file in run.path.glob("*.*"):
        os.utime(file)
    comparisons[0] = comparisons[0] | {"difference": 0.04}
    assert draw()[0] == ["figures/comparisons"]
    write_text(run.config, json.dumps({"data": {"name": "phantom"}}))  # changes the titles
    assert len(draw()[0]) == len(ORDER) - 3


def test_every_file_that_a_figure_reads_is_one_of_its_inputs(own_runs, tmp_path):
    opened = []
    sys.addaudithook(lambda event, args: opened.append(args[0]) if event == "open" else None)
    for run in (own_runs["ag"][0], own_runs["se"][0]):
        add_evaluation(run, "clinic")
    for plan in gallery._plan(own_runs, [], [], tmp_path / "figures"):
        inputs = {entry[0] for entry in plan.inputs if len(entry[-1]) == 64}
        opened.clear()
        plan.figure.draw(plan.shown)
        read = {Path(file).name for file in opened if str(file).startswith(str(tmp_path))}
        hashes = {"state.json", "scored.json", "evaluation.json"}  # what is read is checked by them
        assert read - hashes <= inputs, plan.stem.name


def test_a_run_has_its_own_figure_in_its_folder(own_runs):
    run = own_runs["ag"][1]
    figure = draw_own(run)
    assert figure.title == f"Worst cases of {run.name}"
    assert_sentences(figure)
    files = {"worst_cases.svg", "worst_cases.png", "drawn.json"}
    assert {file.name for file in run.figures.iterdir()} == files


def test_long_titles_are_broken_into_lines(own_runs):
    run = own_runs["ag"][0]
    renamed = Run(run.path.with_name("ag-seed0" + 10 * "-max_epochs12"))
    run.path.rename(renamed.path)
    figure = draw_own(renamed)
    lines = figure.stem.with_name("worst_cases.svg").read_text().split("\n")
    assert len(lines) == 2
    assert "".join(lines) == figure.title


@pytest.mark.parametrize("data", ["phantom", "figshare"])
def test_titles_say_where_data_are_synthetic(own_runs, points, comparisons, tmp_path, data):
    for members in own_runs.values():
        for run in members:
            write_text(run.config, json.dumps({"data": {"name": data}}))
    figures = draw_all(own_runs, points, comparisons, tmp_path / "figures")
    assert len(figures) == len(ORDER)
    for figure in figures:
        titles = (figure.title, figure.stem.with_name(f"{figure.stem.name}.svg").read_text())
        for title in titles:
            assert title.endswith(": synthetic data") == (data == "phantom")


def test_figures_that_cannot_be_drawn_any_more_are_removed(
    own_runs, points, comparisons, forget, tmp_path
):
    folder = tmp_path / "figures"
    draw_all(own_runs, points, comparisons, folder)
    for name in ("table.md", "mine.png", "appropriate.svg"):
        write_text(folder / name, "kept")
    for file in style.paths_of(folder / "worst_cases-ag-lr0.01"):  # of an earlier version
        write_text(file, "")
    forget(own_runs, "attention.npz")
    del own_runs["se"]
    names = names_of(draw_all(own_runs, [], [], folder))
    gone = {"accuracy_latency", "latency_threads", "comparisons", "attention"}
    assert set(names) == set(ORDER) - gone
    files = {file.name for file in folder.iterdir()}
    kept = {"table.md", "mine.png", "appropriate.svg", "drawn.json"}
    shared = set(names) - {"worst_cases"}
    assert files == kept | {name + suffix for name in shared for suffix in (".svg", ".png")}


def test_without_anything_to_draw_old_figures_go(own_runs, empty_runs, tmp_path):
    folder = tmp_path / "figures"
    assert draw_all(own_runs, [], [], folder)
    assert draw_all(empty_runs, [], [], folder) == []
    assert draw_all({}, [], [], folder) == []
    assert [file.name for file in folder.iterdir()] == ["drawn.json"]


def test_names_of_files_suit_any_disk_and_differ():
    labels = ["my set", "my-set", "my-set-2", "my/set", "other lr0.01 (sub/x)"]
    names = ["my-set", "my-set-2", "my-set-2-2", "my-set-3", "other-lr0.01-sub-x"]
    assert list(name_parts(labels).values()) == names


def add_evaluation(run, name, synthetic=False):
    found = Run(run.evaluations / name)
    shutil.copytree(run.path, found.path, ignore=shutil.ignore_patterns("evaluation"))
    data = {"name": name, "folder": f"/data/{name}", "synthetic": synthetic, "of_own_test": 0}
    counts = {"n": 6, "clusters": 6, "unmasked": 0}
    facts = {"modes": ["fp32"], "status": "finished", "left_out": {}, "unchecked": None}
    write_json(found.evaluation, facts | {"data": data | counts})


def test_other_data_sets_have_figures_of_their_own(own_runs, tmp_path):
    for run in (own_runs["ag"][0], own_runs["se"][0]):
        add_evaluation(run, "my clinic")
    figures = draw_all(own_runs, [], [], tmp_path / "figures")
    other = {figure.stem.name: figure for figure in figures}["appropriateness-my-clinic"]
    assert other.title == "Appropriateness on my clinic"
    assert "ag: " in other.alt
    assert "cbam: " not in other.alt


@pytest.mark.parametrize("data", ["phantom", "figshare"])
def test_other_data_are_synthetic_whatever_training_saw(own_runs, tmp_path, data):
    (run, *_) = own_runs["ag"]
    write_text(run.config, json.dumps({"data": {"name": data}}))
    add_evaluation(run, "phantoms", synthetic=True)
    add_evaluation(run, "clinic")
    figures = draw_all({"ag": [run]}, [], [], tmp_path / "figures")
    titles = [figure.title for figure in figures if "Appropriateness on" in figure.title]
    assert titles == ["Appropriateness on clinic", "Appropriateness on phantoms: synthetic data"]
