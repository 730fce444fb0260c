import json
import shutil

import pytest

from brainseg.files import write_json, write_text
from brainseg.report.figures import gallery
from brainseg.report.figures.gallery import Drawn, draw_all
from brainseg.run import Run

ORDER = [
    *("curves", "accuracy_latency", "accuracy_size", "comparisons", "boxplots", "qualitative"),
    *("classes", "worst_cases-none", "worst_cases-ag", "worst_cases-se", "worst_cases-cbam"),
    *("attention", "calibration", "appropriateness", "architecture"),
]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Write a mark for each figure: test_every_figure.py writes the figures themselves."""

    def save(figure, stem):
        stem.parent.mkdir(parents=True, exist_ok=True)
        for suffix in gallery.FORMATS:
            stem.with_name(stem.name + suffix).write_text(figure.get_suptitle())

    monkeypatch.setattr(gallery, "save", save)


def test_every_figure_is_drawn_in_the_order_of_the_report(runs, points, comparisons, tmp_path):
    drawn = draw_all(runs, points, comparisons, tmp_path / "figures")
    assert [each.name for each in drawn] == ORDER
    files = {file.name for file in (tmp_path / "figures").iterdir()}
    assert files == {name + suffix for name in ORDER for suffix in (".svg", ".png")}
    for each in drawn:
        assert isinstance(each, Drawn)
        assert all((each.title, each.caption, each.alt))
        assert (tmp_path / "figures" / f"{each.name}.svg").read_text() == each.title
    titles = [each.title for each in drawn]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("data", ["phantom", "figshare"])
def test_titles_say_where_data_are_synthetic(own_runs, points, comparisons, tmp_path, data):
    for members in own_runs.values():
        for run in members:
            write_text(run.config, json.dumps({"data": {"name": data}}))
    drawn = draw_all(own_runs, points, comparisons, tmp_path / "figures")
    assert len(drawn) == len(ORDER)
    assert all(each.title.endswith(": synthetic data") == (data == "phantom") for each in drawn)


def test_figures_that_cannot_be_drawn_any_more_are_removed(
    own_runs, points, comparisons, forget, tmp_path
):
    folder = tmp_path / "figures"
    draw_all(own_runs, points, comparisons, folder)
    for name in ("table.md", "mine.png", "appropriate.svg"):
        write_text(folder / name, "kept")
    forget(own_runs, "attention.npz")
    del own_runs["se"]
    drawn = [each.name for each in draw_all(own_runs, [], [], folder)]
    gone = {"accuracy_latency", "accuracy_size", "comparisons", "worst_cases-se", "attention"}
    assert set(drawn) == set(ORDER) - gone
    files = {file.name for file in folder.iterdir()}
    kept = {"table.md", "mine.png", "appropriate.svg"}
    assert files == kept | {name + suffix for name in drawn for suffix in (".svg", ".png")}


def test_without_anything_to_draw_old_figures_go(empty_runs, tmp_path):
    folder = tmp_path / "figures"
    assert draw_all(empty_runs, [], [], folder) == []
    write_text(folder / "worst_cases-ag.png", "old")
    assert draw_all({}, [], [], folder) == []
    assert not list(folder.iterdir())


def test_variants_give_names_that_any_disk_takes(runs, tmp_path):
    named = {"se lr0.01 (sub/se-seed0)": runs["se"]}
    names = [each.name for each in draw_all(named, [], [], tmp_path)]
    assert "worst_cases-se-lr0.01-sub-se-seed0" in names
    titles = {each.title for each in draw_all(named, [], [], tmp_path)}
    assert "Worst cases of se lr0.01 (sub/se-seed0)" in titles


def test_other_data_sets_have_figures_of_their_own(own_runs, tmp_path):
    for run in (own_runs["ag"][0], own_runs["se"][0]):
        found = Run(run.evaluations / "my clinic")
        shutil.copytree(run.path, found.path, ignore=shutil.ignore_patterns("evaluation"))
        write_json(found.evaluation, {"data": {"name": "my clinic"}, "status": "finished"})
    drawn = {each.name: each for each in draw_all(own_runs, [], [], tmp_path / "figures")}
    other = drawn["appropriateness-my-clinic"]
    assert other.title == "Appropriateness on my clinic"
    assert "ag: " in other.alt
    assert "cbam: " not in other.alt
