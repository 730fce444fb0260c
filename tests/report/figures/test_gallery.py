import json
import shutil

import pytest

from brainseg.files import write_json, write_text
from brainseg.report.comparisons import compare_all
from brainseg.report.figures import gallery, style
from brainseg.report.figures.gallery import draw_all, draw_own, name_parts
from brainseg.report.page import PageFigure
from brainseg.run import Run

ORDER = [
    "curves",
    "accuracy_latency",
    "accuracy_size",
    "comparisons",
    "boxplots",
    "qualitative",
    "classes",
    "worst_cases-none",
    "worst_cases-ag",
    "worst_cases-se",
    "worst_cases-cbam",
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
    files = {file.name for file in folder.iterdir()}
    assert files == {name + suffix for name in ORDER for suffix in (".svg", ".png")}
    for figure in figures:
        assert figure.stem.parent == folder
        assert_sentences(figure)
    titles = [figure.title for figure in figures]
    assert len(set(titles)) == len(titles)


def test_pictures_have_the_titles_of_the_page(own_runs, points, comparisons, tmp_path):
    for figure in draw_all(own_runs, points, comparisons, tmp_path / "figures"):
        for file in style.paths_of(figure.stem):
            written = file.read_text()
            if figure.title.startswith("Worst cases of "):
                variant = figure.title.removeprefix("Worst cases of ")
                assert written == f"Worst cases of {own_runs[variant][0].name}"
            else:
                assert written == figure.title


def test_runs_that_share_no_test_case_have_figures(folds, points, tmp_path):
    comparisons = compare_all(folds, ["int8_static"])
    figures = draw_all(folds, points, comparisons, tmp_path / "figures")
    worst = ["worst_cases-ag-fold0", "worst_cases-ag-fold1"]
    assert names_of(figures) == [*ORDER[:7], *worst, *ORDER[11:]]
    for figure in figures:
        assert_sentences(figure)


def test_worst_cases_are_drawn_once_per_run_and_copied(own_runs, tmp_path, saved):
    folder = tmp_path / "figures"
    figures = {figure.stem.name: figure for figure in draw_all(own_runs, [], [], folder)}
    every = [run for members in own_runs.values() for run in members]
    assert [stem for stem in saved if stem.name == "worst_cases"] == [
        run.figures / "worst_cases" for run in every
    ]
    assert not any(stem.name.startswith("worst_cases-") for stem in saved)
    for variant, members in own_runs.items():
        shown = figures[f"worst_cases-{variant}"]
        own = style.paths_of(members[0].figures / "worst_cases")
        for file, copy in zip(own, style.paths_of(shown.stem), strict=True):
            assert copy.read_bytes() == file.read_bytes()


def test_a_run_has_its_own_figure_in_its_folder(own_runs):
    run = own_runs["ag"][1]
    figure = draw_own(run)
    assert figure.title == f"Worst cases of {run.name}"
    assert_sentences(figure)
    assert {file.name for file in run.figures.iterdir()} == {"worst_cases.svg", "worst_cases.png"}


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
    forget(own_runs, "attention.npz")
    del own_runs["se"]
    names = names_of(draw_all(own_runs, [], [], folder))
    gone = {"accuracy_latency", "accuracy_size", "comparisons", "worst_cases-se", "attention"}
    assert set(names) == set(ORDER) - gone
    files = {file.name for file in folder.iterdir()}
    kept = {"table.md", "mine.png", "appropriate.svg"}
    assert files == kept | {name + suffix for name in names for suffix in (".svg", ".png")}


def test_without_anything_to_draw_old_figures_go(empty_runs, tmp_path):
    folder = tmp_path / "figures"
    assert draw_all(empty_runs, [], [], folder) == []
    write_text(folder / "worst_cases-ag.png", "old")
    assert draw_all({}, [], [], folder) == []
    assert not list(folder.iterdir())


def test_variants_give_names_that_any_disk_takes(own_runs, tmp_path):
    named = {"se lr0.01 (sub/se-seed0)": own_runs["se"]}
    figures = {figure.stem.name: figure for figure in draw_all(named, [], [], tmp_path / "figures")}
    worst = figures["worst_cases-se-lr0.01-sub-se-seed0"]
    assert worst.title == "Worst cases of se lr0.01 (sub/se-seed0)"


def test_names_that_would_be_the_same_are_numbered(own_runs, tmp_path):
    labels = ["my set", "my-set", "my-set-2", "my/set", "other"]
    assert list(name_parts(labels).values()) == [
        "my-set",
        "my-set-2",
        "my-set-2-2",
        "my-set-3",
        "other",
    ]
    alike = {"se 1": own_runs["se"][:1], "se-1": own_runs["se"][1:]}
    worst = [
        figure
        for figure in draw_all(alike, [], [], tmp_path / "figures")
        if figure.title.startswith("Worst cases")
    ]
    assert names_of(worst) == ["worst_cases-se-1", "worst_cases-se-1-2"]
    texts = [figure.stem.with_name(f"{figure.stem.name}.svg").read_text() for figure in worst]
    assert texts == ["Worst cases of se-seed0", "Worst cases of se-seed1"]


def add_evaluation(run, name, synthetic=False):
    found = Run(run.evaluations / name)
    shutil.copytree(run.path, found.path, ignore=shutil.ignore_patterns("evaluation"))
    data = {"name": name, "folder": f"/data/{name}", "synthetic": synthetic}
    write_json(found.evaluation, {"data": data, "modes": ["fp32"], "status": "finished"})


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
