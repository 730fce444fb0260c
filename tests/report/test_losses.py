"""Which variant loses less when weights are rounded: known losses, and a plain bootstrap."""

import numpy as np
import pytest

from brainseg.evaluation.metrics import mean_iou
from brainseg.files import read_json, write_json
from brainseg.report.comparisons import joint_level
from brainseg.report.losses import RESAMPLES, collect_losses
from brainseg.report.robustness import tabulate_robustness, tell_robustness
from brainseg.run import Run
from brainseg.vocabulary import MAPPINGS

PATIENTS = 30


def make_run(folder, lost, seed=0, patients=PATIENTS, mappings=("symmetric",)):
    """A run that finds 90 of 100 pixels of each tumour; with so many bits, about `lost` fewer."""
    rng = np.random.default_rng(seed)
    exact = np.array([[90, 5, 10, 895]] * patients)
    part = {"counts": exact.tolist(), "mean_iou": mean_iou(exact)}
    part["patients"] = [f"patient{index}" for index in range(patients)]
    rounded = []
    for bits, fewer in lost.items():
        gone = rng.integers(max(0, fewer - 2), fewer + 3, patients)
        counts = exact + np.stack([-gone, 0 * gone, gone, 0 * gone], axis=1)
        change = mean_iou(counts) - mean_iou(exact)
        scores = {"counts": counts.tolist(), "mean_iou": mean_iou(counts), "change": change}
        scores |= {"interval": None, "flipped": float(gone.sum() / exact.sum())}
        each = {"bits": bits, "val": scores, "test": scores}
        rounded += [{"mapping": mapping, **each} for mapping in mappings]
    run = Run(folder)
    write_json(
        run.robustness, {"export": "0", "exact": {"val": part, "test": part}} | {"rounded": rounded}
    )
    return run


def changed(run, bits):
    """Exact and rounded test counts."""
    found = read_json(run.robustness)
    (rounded,) = (each for each in found["rounded"] if each["bits"] == bits)
    return np.array(found["exact"]["test"]["counts"]), np.array(rounded["test"]["counts"])


@pytest.fixture
def runs(tmp_path):
    lost = {"none": {8: 1, 4: 20}, "ag": {8: 1, 4: 8}, "se": {8: 1, 4: 40}}
    return {
        name: [make_run(tmp_path / name, each, seed)]
        for seed, (name, each) in enumerate(lost.items())
    }


def of(losses, variant, bits):
    (found,) = (loss for loss in losses if (loss.variant, loss.bits) == (variant, bits))
    return found


def test_changes_and_gains_are_those_of_the_counts(runs):
    losses = collect_losses(runs)
    assert [(loss.bits, loss.variant) for loss in losses] == [
        (bits, name) for bits in (8, 4) for name in runs
    ]
    change = {}
    for name, (run,) in runs.items():
        before, after = changed(run, 4)
        change[name] = mean_iou(after) - mean_iou(before)
        assert of(losses, name, 4).change == pytest.approx(change[name])
        low, high = of(losses, name, 4).interval
        assert low < change[name] < high
    assert of(losses, "ag", 4).gain == pytest.approx(change["ag"] - change["none"])
    assert of(losses, "none", 4).gain is None


def test_the_interval_of_a_gain_is_that_of_a_bootstrap_over_patients(runs):
    found = of(collect_losses(runs), "ag", 4).gain_interval
    rng = np.random.default_rng(1)
    ours, theirs = (changed(runs[name][0], 4) for name in ("none", "ag"))
    gains = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(PATIENTS, size=PATIENTS)
        none, ag = (
            mean_iou(after[drawn]) - mean_iou(before[drawn]) for before, after in (ours, theirs)
        )
        gains.append(ag - none)
    tail = (1 - joint_level(4)) / 2
    expected = np.quantile(gains, [tail, 1 - tail])
    # theirs is wider: few patients (Student's t)
    assert found[0] < expected[0] < expected[1] < found[1]
    assert found == pytest.approx(expected, rel=0.1)


def test_the_question_is_answered_by_the_intervals(runs):
    losses = collect_losses(runs)
    verdicts = {(loss.variant, loss.bits): loss.verdict for loss in losses}
    assert verdicts == {
        **{("none", 8): 0, ("none", 4): 0, ("ag", 8): 0, ("se", 8): 0},
        **{("ag", 4): 1, ("se", 4): -1},
    }
    (sentence,) = tell_robustness(losses)
    assert "as the paper says? In part: some lose less, some more. " in sentence
    assert f"ag loses less ({of(losses, 'ag', 4).gain:.4f} at 4 bits); se loses more" in sentence
    assert sentence.endswith("With one training each, this may be luck.")
    table = tabulate_robustness(losses)
    assert [row[0] for row in table.rows] == ["none", "none", "ag", "se", "ag", "se"]


@pytest.mark.parametrize(
    ("names", "answer"),
    [
        (("none", "ag"), "? Yes. "),
        (("none", "se"), "? No: it is less robust. "),
        (("none", "se", "none2"), "? No: se less robust. "),
        (("none", "ag", "none2"), "? In part: ag. "),
        (("none", "none2"), "? Not that this test split could tell. "),
    ],
)
def test_each_answer(runs, tmp_path, names, answer):
    runs["none2"] = [make_run(tmp_path / "none2", {8: 1, 4: 20}, seed=9)]
    (sentence,) = tell_robustness(collect_losses({name: runs[name] for name in names}))
    assert answer in sentence


def test_a_change_that_is_undefined_on_validation_is_not_told_as_no_change(runs):
    (run,) = runs["ag"]
    found = read_json(run.robustness)
    found["rounded"][0]["val"] = found["rounded"][0]["val"] | {"change": None}
    write_json(run.robustness, found)
    losses = collect_losses(runs)
    assert of(losses, "ag", 8).val is None
    rows = {tuple(row[:3]): row[3] for row in tabulate_robustness(losses).rows}
    told = {bits: rows["ag", MAPPINGS["symmetric"], bits] for bits in "84"}
    assert told["8"] == "–" != told["4"]


def test_seeds_are_averaged(runs, tmp_path):
    runs["ag"].append(make_run(tmp_path / "ag1", {4: 30}, seed=5))
    found = of(collect_losses(runs), "ag", 4)
    changes = [
        mean_iou(after) - mean_iou(before)
        for before, after in (changed(run, 4) for run in runs["ag"])
    ]
    assert found.seeds == 2
    assert found.change == pytest.approx(np.mean(changes))


def test_few_patients_tell_nothing(tmp_path):
    runs = {n: [make_run(tmp_path / n, {4: 9}, patients=5)] for n in ("none", "ag")}
    losses = collect_losses(runs)
    assert {loss.interval for loss in losses} == {None}
    (sentence,) = tell_robustness(losses)
    assert "cannot be tested" in sentence


def test_other_patients_and_other_networks_are_not_compared(runs, tmp_path):
    runs["ag"] = [make_run(tmp_path / "other", {4: 9}, patients=20)]
    runs["se"][0].onnx("fp32").write_bytes(b"trained again")
    losses = collect_losses(runs)
    assert {loss.variant for loss in losses} == {"none", "ag"}
    assert tell_robustness(losses) == []
