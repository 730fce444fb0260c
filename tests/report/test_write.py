"""A report holds what its runs hold, in every form, and the same each time."""

import numpy as np
import pytest
import yaml

from brainseg.evaluation.appropriateness import (
    EXPECTED,
    compare_classes,
)
from brainseg.experiment import find_runs
from brainseg.files import read_json, write_csv, write_json, write_text
from brainseg.report.answer import UNTIMED
from brainseg.report.appropriateness import collect_sources, tabulate_appropriateness
from brainseg.report.comparisons import compare_all
from brainseg.report.provenance import LIMITS
from brainseg.report.table import collect_rows, group_runs
from brainseg.report.write import write_report
from brainseg.run import Run
from brainseg.scoring.record import record, record_truth

SIDE = 40
CLASSES = ("glioma", "meningioma", "pituitary", "notumor")
GROWTH = {"none": 0, "ag": 1, "cbam": -2}
"""Pixels by which the radius of a variant's predictions is too large."""


def disc(radius, at=(20, 20)):
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.hypot(rows - at[0], columns - at[1]) < radius


def make_part():
    """Three patients of each class: a head of one grey, with a brighter disc."""
    classes = np.array(CLASSES * 3)
    places = [(12 + index, 18 + index % 3) for index in range(len(classes))]
    masks = np.stack([disc(5, place) for place in places]) & (classes != "notumor")[:, None, None]
    return {
        "ids": np.array([f"case{index}" for index in range(len(classes))]),
        "classes": classes,
        "patients": np.array([f"patient{index}" for index in range(len(classes))]),
        "images": (90 * disc(18) + 100 * masks).astype(np.uint8),
        "masks": masks.astype(np.uint8),
    }


def predict(part, growth):
    grown = [disc(5 + growth, (12 + index, 18 + index % 3)) for index in range(len(part["ids"]))]
    return 200 * (np.stack(grown) & (part["classes"] != "notumor")[:, None, None]).astype(np.uint8)


def make_run(folder, variant, data="figshare", seed=0, part=None):
    run, part = Run(folder / f"{variant}-seed{seed}"), part or make_part()
    config = {
        **{"seed": seed, "experiment_name": folder.name, "loss": {"name": "bce"}},
        **{"data": {"name": data, "image_size": SIDE, "batch_size": 4}, "optim": {"lr": 1e-3}},
        **{"split": {"name": "patient", "seed": 0}, "trainer": {"max_epochs": 2}},
        "model": {"attention": variant, "encoder": "resnetv2_50", "weights": "none"},
        "schedule": {"name": "plateau"},
    }
    write_text(run.config, yaml.safe_dump(config))
    run.update_state(stage="done", status="finished", reason=None)
    rows = [
        dict(zip(("id", "class", "patient", "split"), (*case, "test"), strict=True))
        for case in zip(part["ids"], part["classes"], part["patients"], strict=True)
    ]
    write_csv(run.split, rows, list(rows[0]))
    np.savez(run.test, **part)
    record_truth(run, part)
    for mode, more in {"checkpoint": 0, "fp32": 0, "int8_static": 1}.items():
        record(run, mode, part, predict(part, GROWTH.get(variant, 0) + more))
    return run


def add_evaluation(run, name="clinic", folder=None):
    """Half of the images were never outlined, and two others were known."""
    found, part = Run(run.evaluations / name), make_part()
    bare = np.arange(len(part["ids"])) < 6
    record(found, "fp32", part | {"unmasked": bare}, predict(part, 1))
    record_truth(found, part | {"unmasked": bare})
    facts = {
        **{"name": name, "folder": folder or f"/data/{name}", "n": 12, "unmasked": 6},
        **{"clusters": 11, "of_own_test": 3, "synthetic": False},
    }
    left_out = {"image": 2}
    write_json(
        found.evaluation,
        {"data": facts, "modes": ["fp32"], "left_out": left_out, "unchecked": None}
        | {"status": "finished"},
    )


@pytest.fixture
def experiment(tmp_path):
    folder = tmp_path / "outputs" / "a <study> [1]"
    for variant in GROWTH:
        make_run(folder, variant)
    return folder


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """An experiment with its report; not to be changed."""
    folder = tmp_path_factory.mktemp("outputs") / "a <study> [1]"
    for variant in GROWTH:
        make_run(folder, variant)
    write_report(folder)
    return folder


def grouped(experiment):
    runs = find_runs(experiment)
    return group_runs(runs, collect_rows(experiment, runs), experiment)


def test_every_part_is_written(written):
    folder = written / "report"
    page, table = (folder / "index.html").read_text(), (folder / "table.md").read_text()
    for title in ("Differences", "Scores by class", "Appropriateness on the test split"):
        assert f"## {title}" in table
        assert title in page
    assert "Test cases" in page
    assert "a &lt;study&gt; [1]" in page
    assert "<study>" not in page
    assert all(limit.replace("'", "&#39;") in page for limit in LIMITS)
    assert UNTIMED in page  # nothing was timed here
    assert "3 patients are too few" not in page
    assert "between variants" in page
    figures = {file.name for file in (folder / "figures").iterdir()}
    assert {"boxplots.svg", "boxplots.png", "qualitative.png", "comparisons.svg"} <= figures
    assert "appropriateness.svg" in figures
    for run in find_runs(written):
        assert run.card.read_text().startswith("---\n")
        own = {file.name for file in run.figures.iterdir()}
        assert {"worst_cases.svg", "worst_cases.png"} <= own


def test_comparisons_are_those_of_the_runs(written):
    expected = compare_all(grouped(written), ["int8_static"])
    assert read_json(written / "report" / "comparisons.json") == expected
    assert len(expected) == 6


def test_variants_stand_in_the_order_of_the_table(written):
    assert list(grouped(written)) == ["none", "ag", "cbam"]
    assert [run.name for run in grouped(written)["ag"]] == ["ag-seed0"]


def test_the_same_runs_give_the_same_report(written):
    files = {file: file.read_bytes() for file in written.rglob("*") if file.is_file()}
    write_report(written)
    assert {file: file.read_bytes() for file in written.rglob("*") if file.is_file()} == files


def test_other_data_are_told_with_what_was_left_out(experiment):
    for run in find_runs(experiment)[:2]:
        add_evaluation(run)
    write_report(experiment)
    text = (experiment / "report" / "table.md").read_text()
    assert "## On other data" in text
    assert text.count("| clinic | fp32 | all | 6 |") == 2
    assert (
        "clinic: 12 images of /data/clinic, 11 of them distinct; 6 with a tumour but no outline; "
        "2 images known from training left out; 3 are also in the run's own test split, so "
        "they are not new data."
    ) in text
    assert "clinic: tumour predicted in images of glioma without outlines: ag-seed0 100.0%" in text
    assert "## Appropriateness on clinic" in text
    assert (experiment / "report" / "figures" / "appropriateness-clinic.png").exists()
    assert "| clinic |" in find_runs(experiment)[0].card.read_text()


def test_what_could_not_be_checked_is_told(experiment):
    run = find_runs(experiment)[0]
    add_evaluation(run)
    found = Run(run.evaluations / "clinic")
    facts = read_json(found.evaluation) | {
        "unchecked": "the file belongs to no run",
        "left_out": {},
    }
    write_json(found.evaluation, facts)
    write_report(experiment)
    text = (experiment / "report" / "table.md").read_text()
    assert "outline; overlap with training unknown (the file belongs to no run); 3 are" in text


def test_phantoms_are_called_synthetic(tmp_path):
    make_run(tmp_path / "demo", "none", data="phantom")
    write_report(tmp_path / "demo")
    assert (
        "Synthetic data (phantoms): these numbers"
        in (tmp_path / "demo" / "report" / "index.html").read_text()
    )
    make_run(tmp_path / "demo", "ag")
    write_report(tmp_path / "demo")
    page = (tmp_path / "demo" / "report" / "index.html").read_text()
    assert "Some runs: synthetic data (phantoms): these numbers" in page


def test_runs_that_failed_leave_the_others_as_they_are(experiment):
    Run(experiment / "se-seed0").update_state(stage="train", status="failed", reason="no space")
    write_report(experiment)
    page = (experiment / "report" / "index.html").read_text()
    assert "no space" in page
    assert not (experiment / "se-seed0" / "card.md").exists()


def test_appropriateness_stands_beside_the_truth(written):
    runs = grouped(written)
    sources = collect_sources(runs)
    assert list(sources) == ["truth", "none", "ag", "cbam"]
    table = tabulate_appropriateness("Appropriateness", runs)
    columns, rows = table.columns, table.rows
    assert columns == ["Class", "The paper says", "Measure", "Expected", *sources]
    assert len(rows) == sum(map(len, EXPECTED.values())) + len(EXPECTED)
    assert rows[-1] == ["pituitary", "–", "drawn anywhere", "–", *["100.0% of 3"] * len(sources)]
    found = compare_classes(runs["ag"][0].read(runs["ag"][0].appropriateness("fp32")))
    first = found["glioma"][1]
    told = dict(zip(columns, rows[1], strict=True))
    assert (told["Measure"], told["Expected"]) == ("sharpness", "low")
    lowest = min(area for area in first["auc"].values() if area is not None)
    assert told["ag"] == f"{first['median']:.2f} (A {lowest:.2f})"  # three patients: no sign


def test_other_images_of_the_same_names_have_a_truth_of_their_own(experiment):
    part = make_part()
    make_run(experiment, "se", part=part | {"masks": np.roll(part["masks"], 3, axis=1)})
    assert list(collect_sources(grouped(experiment))) == [
        *("truth", "none", "ag"),
        *("truth (se)", "se", "cbam"),
    ]


def test_without_measures_there_is_no_table(experiment):
    for file in experiment.rglob("appropriateness.*.csv"):
        file.unlink()
    assert collect_sources(grouped(experiment)) == {}
    write_report(experiment)
    assert "Appropriateness" not in (experiment / "report" / "table.md").read_text()


def test_a_training_that_failed_is_no_variant(tmp_path):
    folder = tmp_path / "study"
    for variant in ("none", "ag"):
        make_run(folder, variant, seed=1)
    failed = Run(folder / "none-seed0")
    write_text(failed.config, Run(folder / "none-seed1").config.read_text().replace("1", "0", 1))
    failed.update_state(stage="train", status="failed", reason="no space")
    write_report(folder)
    runs = grouped(folder)
    assert [run.name for run in runs["none"]] == ["none-seed1"]
    assert list(collect_sources(runs)) == ["truth", "none", "ag"]
    assert (runs["none"][0].figures / "worst_cases.png").exists()
    text = (folder / "report" / "table.md").read_text()
    assert "0 images of" not in text
    assert len(read_json(folder / "report" / "comparisons.json")) == 3


def test_unknown_patients_are_told(tmp_path):
    part = make_part()
    part["patients"] = np.array([""] * len(part["ids"]))
    for variant in ("none", "ag"):
        make_run(tmp_path / "study", variant, part=part)
    write_report(tmp_path / "study")
    text = (tmp_path / "study" / "report" / "table.md").read_text()
    assert "cannot be tested: patients are unknown" in text
    assert not any(
        row["beyond_chance"]
        for row in read_json(tmp_path / "study" / "report" / "comparisons.json")
    )


def test_without_tumours_only_false_positives_are_told(tmp_path):
    part = {name: values[3::4] for name, values in make_part().items()}
    make_run(tmp_path / "study", "none", part=part | {"ids": np.array(["a", "b", "c"])})
    write_report(tmp_path / "study")
    text = (tmp_path / "study" / "report" / "table.md").read_text()
    assert "| none | notumor | 3 | 3 | – | – | – | – | – | 0.0% | – |" in text
    assert "Appropriateness" not in text
