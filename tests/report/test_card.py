"""The card is what the hub reads, and says what the run's files say."""

import pytest
import yaml
from huggingface_hub import ModelCard

from brainseg.evaluation.cases import summarize
from brainseg.files import write_json, write_text
from brainseg.report.card import make_card, write_card
from brainseg.report.provenance import LIMITS
from brainseg.run import Run
from brainseg.vocabulary import METRICS

CONFIG = {
    "seed": 3,
    "experiment_name": "study",
    "data": {"name": "figshare", "image_size": 96, "batch_size": 16},
    "split": {"name": "patient", "seed": 0},
    "model": {"attention": "ag", "encoder": "resnetv2_50", "weights": "none"},
    "optim": {"lr": 1e-3},
    "schedule": {"name": "one_cycle"},
    "loss": {"name": "bce_dice"},
    "trainer": {"max_epochs": 12},
}
MODEL = {"parameters": 33_120_000, "multiply_adds": 1_234_000_000, "parts": {}}


def case(name, patient, tp, class_="glioma"):
    counts = {"tp": tp, "fp": 10, "fn": 100 - tp if tp else 0, "tn": 9000}
    dice = 2 * tp / (110 + tp) if tp else None
    return {"id": name, "class": class_, "patient": patient, **counts, "dice": dice, "hd95_px": 4.0}


CASES = [case(f"a{number}", f"p{number}", 60 + 2 * number) for number in range(10)]
METRICS_FILE = summarize([*CASES, case("c", "r", 0, "notumor")]) | {
    "calibration": {"bins": [], "ece": 0.0123, "ece_uncertain": 0.1234},
    "unmasked": {},
}

ROW = {
    **{"mode": "int8_static", "runtime": "onnxruntime", "device": "cpu", "status": "ok"},
    **{"options": {}, "batch": 1, "threads": 2, "noisy": False},
    **{"size_bytes": 2**20 * 33, "mean_iou": 0.8123, "delta_mean_iou": -0.0004, "dice": 0.7},
    "latency_ms": {"p50": 21.0},
}


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path / "study" / "ag-seed3")
    write_text(run.config, yaml.safe_dump(CONFIG))
    write_json(run.metrics, METRICS_FILE)
    write_json(run.model, MODEL)
    write_text(run.split, "id,class,patient,split\na,glioma,p,test\nb,glioma,q,test\n")
    write_json(run.deploy, [ROW, ROW | {"device": "cuda", "status": "unavailable"}])
    return run


def test_the_hub_reads_the_front_matter(run):
    write_card(run)
    data = ModelCard.load(str(run.card)).data
    assert data.library_name == "brainseg"
    assert data.pipeline_tag == "image-segmentation"
    assert "attention-ag" in data.tags
    assert data.model_name == "ag-seed3"
    found = {result.metric_type: result.metric_value for result in data.eval_results}
    assert found == {name: METRICS_FILE[name] for name in METRICS}
    assert {result.dataset_name for result in data.eval_results} == {"figshare"}


def test_the_card_of_a_mode_has_its_scores_and_its_use(run):
    assert make_card(run, "int8_static") is None
    worse = summarize([case(f"a{number}", f"p{number}", 50 + number) for number in range(10)])
    worse |= {"calibration": {"bins": [], "ece": 0.5, "ece_uncertain": 0.25}, "unmasked": {}}
    write_json(run.metrics_of("int8_static"), worse)
    text = make_card(run, "int8_static")
    found = {result.metric_type: result for result in ModelCard(text).data.eval_results}
    assert found["dice"].metric_value == worse["dice"] != METRICS_FILE["dice"]
    low, high = worse["dice_interval"]
    assert f"{worse['dice']:.3f} ({low:.3f}–{high:.3f})" in text
    assert "Scores of `model.int8_static.onnx`." in text
    assert "0.5000 over all pixels" in text
    assert "\n`model.int8_static.onnx` takes `image`" in text
    assert "brainseg predict model.int8_static.onnx IMAGE" in text
    assert "model.fp32.onnx" not in text
    own = make_card(run)
    assert "`model.fp32.onnx` (like each `model.<mode>.onnx`) takes" in own
    assert "Scores of the checkpoint in PyTorch." in own


def test_what_is_passed_on_has_no_paths_of_its_author(run):
    data = CONFIG["data"] | {"negatives": "../anna's data/kaggle", "test": "/data/clinic/2024/"}
    model = CONFIG["model"] | {"weights": "/home/anna/w.pth"}
    write_text(run.config, yaml.safe_dump(CONFIG | {"data": data, "model": model}))
    add_evaluation(run, "own", folder="/data/clinic/x")
    write_json(run.metrics_of("fp32"), METRICS_FILE)
    text = make_card(run, "fp32")
    assert "slices without tumour from kaggle, tested on 2024." in text
    assert "weights: w.pth" in text
    assert "11 images of x, " in text
    assert not any(name in text for name in ("anna", "/data", ".."))
    assert all(path in make_card(run) for path in (*list(data.values())[-2:], "/data/clinic/x"))


def test_what_is_undefined_stays_out_of_the_front_matter(run):
    write_json(run.metrics, summarize([case("c", "r", 0, "notumor")]) | {"unmasked": {}})
    write_card(run)
    found = {result.metric_type for result in ModelCard.load(str(run.card)).data.eval_results}
    assert found == {"false_positive_rate"}  # IoU says nothing without a tumour


def test_people_read_metrics_with_intervals_modes_and_limits(run):
    write_card(run)
    text = run.card.read_text()
    low, high = METRICS_FILE["dice_interval"]
    assert f"{METRICS_FILE['dice']:.3f} ({low:.3f}–{high:.3f})" in text
    assert "| int8_static | cpu | 0.8123 | −0.0004 | – | 0.7000 | 33.0 | 21.0 | – |  |" in text
    assert "cuda" not in text  # nothing was measured there
    assert "\n# ag-seed3\n" in text
    assert "33.12 million parameters, 1.23 billion multiply-adds" in text
    assert "0.0123 over all pixels, 0.1234 over those" in text
    assert "in batches of 16; Adam, learning rate 0.001" in text
    assert "- Seed 3." in text
    assert "Synthetic" not in text
    assert all(f"- {limit}" in text for limit in LIMITS)
    assert "not for diagnosis" in text
    assert "\n\n\n" not in text


def test_each_row_of_modes_has_its_own_name(run):
    rows = [
        ROW | {"runtime": "openvino", "mode": "fp32"},
        ROW | {"runtime": "openvino", "mode": "fp32", "options": {"precision": "bf16"}},
        ROW | {"mode": "fp32", "noisy": True},
        ROW | {"mode": "fp32", "threads": 1},
        ROW | {"mode": "fp32", "batch": 8},
    ]
    write_json(run.deploy, rows)
    write_card(run)
    lines = [line for line in run.card.read_text().splitlines() if line.startswith("| fp32")]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert [(row[0], row[1], row[-1]) for row in cells] == [
        ("fp32", "cpu (threads 1)", ""),
        ("fp32", "cpu (threads 2)", "noisy"),
        ("fp32", "cpu (openvino) (threads 2)", ""),
        ("fp32 (bf16)", "cpu (openvino) (threads 2)", ""),
    ]


def test_phantoms_are_called_synthetic_first_of_all(run):
    data = CONFIG["data"] | {"name": "phantom"}
    write_text(run.config, yaml.safe_dump(CONFIG | {"data": data}))
    write_card(run)
    text = run.card.read_text()
    assert text.index("Synthetic data") < text.index("Network:")


def add_evaluation(run, name, **data):
    found, modes = Run(run.evaluations / name), ["checkpoint", "fp32"]
    data = {
        **{"name": name, "folder": f"/data/{name}", "n": 11, "clusters": 11, "unmasked": 0},
        **{"synthetic": False, "of_own_test": 0},
        **data,
    }
    facts = {"data": data, "left_out": {}, "unchecked": None, "status": "finished"}
    write_json(found.evaluation, facts | {"modes": modes})
    for mode in modes:
        write_json(found.metrics_of(mode), METRICS_FILE)


def test_what_is_no_other_data_or_synthetic_is_told(run):
    add_evaluation(run, "clinic", of_own_test=11)
    add_evaluation(run, "ph", synthetic=True)
    write_card(run)
    others = run.card.read_text().split("## On other data")[1].split("##")[0]
    _, clinic, ph = (line for line in others.splitlines() if line.startswith("- "))
    assert clinic.startswith("- clinic: 11 images of /data/clinic")
    assert "11 are also in the run's own test split" in clinic
    assert ph.startswith("- ph: synthetic data")
    assert "\n\n\n" not in others


def test_other_data_have_their_table(run):
    add_evaluation(run, "clinic")
    write_card(run)
    lines = [line for line in run.card.read_text().splitlines() if line.startswith("| clinic")]
    cells = [[cell.strip() for cell in line.split("|")[1:4]] for line in lines]
    # Classes are told apart for the first mode only.
    assert cells == [
        ["clinic", "checkpoint", "all"],
        ["clinic", "checkpoint", "glioma"],
        ["clinic", "checkpoint", "notumor"],
        ["clinic", "fp32", "all"],
    ]


def test_the_same_run_has_the_same_card(run):
    write_card(run)
    first = run.card.read_bytes()
    write_card(run)
    assert run.card.read_bytes() == first


def test_a_network_of_ones_own_has_a_card_too(run):
    config = CONFIG | {"model": {"name": "own", "target": "my_package.MyNet"}}
    write_text(run.config, yaml.safe_dump(config))
    write_card(run)
    text = run.card.read_text()
    assert "Network: my_package.MyNet. It takes" in text
    assert "attention" not in text


@pytest.mark.parametrize("missing", ["metrics", "config"])
def test_what_was_not_scored_has_no_card(run, missing):
    getattr(run, missing).unlink()
    write_card(run)
    assert not run.card.exists()
