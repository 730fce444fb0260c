"""What is called a difference, and what is said about it."""

import numpy as np
import pytest
import yaml
from scipy.stats import t

from brainseg import vocabulary
from brainseg.evaluation.cases import COLUMNS as CASE_COLUMNS
from brainseg.evaluation.cases import COUNTS
from brainseg.evaluation.differences import holm, paired_interval, paired_test, training_test
from brainseg.evaluation.metrics import mean_iou, mean_ious
from brainseg.files import write_csv, write_text
from brainseg.report.comparisons import LEVEL, compare_all, first_of, mark
from brainseg.report.conclusions import COLUMNS as TOLD
from brainseg.report.conclusions import conclude, tabulate
from brainseg.report.rows import to_text
from brainseg.run import Run

PATIENTS = [f"p{number // 3}" for number in range(36)]


def cases(lost=0, noise=0, seed=0, ids=None):
    """Twelve patients with three images each; a network that misses `lost` pixels, give or take."""
    rng = np.random.default_rng(seed)
    size = np.random.default_rng(0).integers(300, 500, len(PATIENTS))  # the truth is the same
    missed = np.clip(100 + lost + rng.integers(-noise, noise + 1, len(PATIENTS)), 0, 300)
    rows = []
    for index, (patient, true, fn) in enumerate(zip(PATIENTS, size, missed, strict=True)):
        counts = {"tp": true - fn, "fp": 20, "fn": fn, "tn": 4096 - true - 20}
        name = (ids or {}).get(index, f"case{index}")
        rows.append(
            {"id": name, "class": "glioma", "patient": patient, "dice": 0.5, "hd95_px": 3.0}
            | {key: int(value) for key, value in counts.items()}
        )
    return rows


@pytest.fixture
def make(tmp_path):
    """Make a run whose modes have given cases."""

    def build(name, seed=0, **modes):
        run = Run(tmp_path / f"{name}-seed{seed}")
        write_text(run.config, yaml.safe_dump({"seed": seed}))
        for mode, rows in modes.items():
            write_csv(run.cases(mode), rows, CASE_COLUMNS)
        return run

    return build


def counts(rows):
    return np.array([[row[key] for key in COUNTS] for row in rows])


def test_a_row_holds_what_the_statistics_say(make):
    first, second = cases(), cases(lost=30, noise=20)
    runs = {"none": [make("none", fp32=first)], "ag": [make("ag", fp32=second)]}
    (row,) = compare_all(runs)
    before, after = counts(first), counts(second)
    p = paired_test(before, after, PATIENTS, mean_ious)
    assert row == {
        "family": "variants",
        "first": "none",
        "second": "ag",
        "mode": "fp32",
        "difference": pytest.approx(mean_iou(after) - mean_iou(before)),
        "by_seed": {"0": pytest.approx(mean_iou(after) - mean_iou(before))},
        "smallest_p": 2**-11,
        "interval": (interval := list(paired_interval(before, after, PATIENTS, mean_ious))),
        "joint_interval": pytest.approx(interval, rel=0.3),  # of one comparison
        "tost": list(paired_interval(before, after, PATIENTS, mean_ious, level=0.9)),
        "p": p,
        "p_corrected": p,
        "p_training": None,
        "p_training_corrected": None,
        "beyond_chance": False,  # one training each
        "patients": 12,
        "images": 36,
        "seeds": 1,
    }


def test_p_values_are_corrected_within_their_family(make):
    modes = {"int8_static": cases(noise=2, seed=5), "int8_dynamic": cases(lost=9, noise=3)}
    runs = {
        name: [make(name, fp32=cases(lost=lost, noise=30, seed=lost), **modes)]
        for name, lost in {"none": 0, "ag": 4, "se": 8, "cbam": 40}.items()
    }
    rows = compare_all(runs, ["int8_static", "int8_dynamic"])
    for family, count in {"variants": 6, "modes": 8}.items():
        members = [row for row in rows if row["family"] == family]
        assert len(members) == count
        corrected = holm([row["p"] for row in members])
        assert [row["p_corrected"] for row in members] == pytest.approx(corrected)
        beyond = [row["beyond_chance"] for row in members]
        assert beyond == [family == "modes" and row["p_corrected"] < LEVEL for row in members]
    pairs = [(row["first"], row["second"]) for row in rows if row["family"] == "variants"]
    assert pairs[:3] == [("none", "ag"), ("none", "se"), ("none", "cbam")]


def test_seeds_are_paired_and_their_differences_averaged(make):
    worse = [cases(lost=lost, noise=5, seed=lost) for lost in (10, 30)]
    runs = {
        "none": [make("none", seed, fp32=cases(seed=seed)) for seed in (0, 1, 2)],
        "ag": [make("ag", seed, fp32=rows) for seed, rows in zip((1, 2), worse, strict=True)],
    }
    (row,) = compare_all(runs)
    assert row["seeds"] == 2  # seed 0 has no partner
    alone = mean_iou(counts(cases()))
    changes = [mean_iou(counts(rows)) - alone for rows in worse]
    assert row["difference"] == pytest.approx(np.mean(changes))


def test_a_checkpoint_stands_in_where_nothing_was_exported(make):
    runs = {
        name: [make(name, checkpoint=cases(lost=lost))]
        for name, lost in {"none": 0, "se": 9}.items()
    }
    (row,) = compare_all(runs)
    assert row["difference"] < 0


@pytest.mark.parametrize("other", [{0: "another"}, None])
def test_other_test_images_are_not_compared(make, other):
    rows = cases(ids=other) if other else cases()[1:]
    runs = {"none": [make("none", fp32=cases())], "ag": [make("ag", fp32=rows)]}
    assert compare_all(runs) == []
    assert conclude([], 2) == [
        "1 of 1 pairs of variants could not be compared: their test images differ or show no "
        "tumour."
    ]
    assert conclude([], 1) == []


def test_images_without_tumour_are_not_compared(make):
    clean = [row | {"tp": 0, "fn": 0, "tn": 4076} for row in cases()]
    blots = [row | {"fp": 40, "tn": 4056} for row in clean]
    runs = {"none": [make("none", fp32=clean, fp16=blots)], "ag": [make("ag", fp32=blots)]}
    assert compare_all(runs, ["fp16"]) == []


def test_runs_without_scores_are_left_out(make, tmp_path):
    runs = {"none": [make("none", fp32=cases())], "ag": [Run(tmp_path / "failed")], "se": []}
    assert compare_all(runs, ["fp16"]) == []


def test_one_training_each_supports_no_ranking(make):
    runs = {name: [make(name, fp32=cases(lost=lost))] for name, lost in (("none", 0), ("se", 70))}
    (row,) = compare_all(runs)
    assert row["p_corrected"] < LEVEL
    assert not row["beyond_chance"]
    (sentence,) = conclude([row], 2)
    assert sentence.startswith("With one training each, a difference between variants may be luck")


def test_what_could_have_gone_unnoticed_is_what_neither_patients_nor_trainings_exclude(make):
    runs = {
        name: [make(name, seed, fp32=cases(noise=40, seed=20 * seed + at)) for seed in range(3)]
        for at, name in enumerate(["none", "ag", "se"])
    }
    rows = compare_all(runs)
    (sentence,) = conclude(rows, 3)
    assert sentence.startswith(
        "No difference between variants is beyond chance (36 test images of 12 patients, 3 "
        "trainings each); "
    )
    changes = [list(row["by_seed"].values()) for row in rows]
    reach = t.ppf(1 - 0.05 / 3 / 2, 2) / np.sqrt(3)  # of any of the three
    ends = [abs(np.mean(each)) + reach * np.std(each, ddof=1) for each in changes]
    ends += [abs(end) for row in rows for end in row["joint_interval"]]
    assert sentence.endswith(f"; one of up to {max(ends):.3f} could have gone unnoticed.")


def steady(make, losses, seeds=4):
    """Variants that lose as many pixels in every training, give or take a few."""
    return {
        name: [
            make(name, seed, fp32=cases(lost=lost, noise=4, seed=10 * seed + lost))
            for seed in range(seeds)
        ]
        for name, lost in losses.items()
    }


def test_a_difference_is_told_the_better_one_first(make):
    (row,) = compare_all(steady(make, {"none": 0, "cbam": 60}))
    (sentence,) = conclude([row], 2)
    assert row["p_training"] == training_test(list(row["by_seed"].values()))
    assert tabulate([row]).rows[0][-1] == "0, 1, 2, 3"
    assert sentence == (
        "Beyond chance (36 test images of 12 patients, 4 trainings each): none is better than cbam "
        f"by {-row['difference']:.4f}."
    )


def test_few_of_many_differences_are_listed(make):
    (row,) = compare_all(steady(make, {"none": 0, "cbam": 60}))
    (sentence,) = conclude([row] * 6, 4)
    assert sentence.endswith("; and 3 more.")
    assert sentence.count(" is better than ") == 3


def test_what_quantization_changes_is_told_apart(make):
    run = make("none", fp32=cases(), int8_static=cases(lost=50), fp16=cases())
    rows = compare_all({"none": [run]}, ["fp16", "int8_static"])
    (sentence,) = conclude(rows, 1)
    assert sentence == (
        f"Quantization changes mean IoU on test beyond chance: −{-rows[1]['difference']:.4f} for "
        "none in int8_static; 1 of 2 are shown equivalent within ±0.0004, not: none in int8_static "
        f"({to_text(rows[1]['tost'])})."
    )
    wide = compare_all({"none": [run]}, ["fp16", "int8_static"], margin=0.1)
    assert [row["verdict"] for row in (*rows, *wide)] == [
        *("equivalent", "worse"),
        *("equivalent", "equivalent"),
    ]
    assert "; 2 of 2 are shown equivalent within ±0.1." in conclude(wide, 1)[0]
    assert (rows[0]["difference"], rows[0]["p"]) == (0, 1)
    (calm,) = conclude(compare_all({"none": [run]}, ["fp16"]), 1)
    assert calm == (
        "No change of mean IoU by quantization is beyond chance; 1 of 1 are shown equivalent "
        "within ±0.0004."
    )


def test_a_mode_that_is_registered_is_compared(make, monkeypatch):
    monkeypatch.setitem(vocabulary.MODES, "int4", vocabulary.Mode("int4", "Weights in 4 bits."))
    run = make("none", fp32=cases(), int4=cases(lost=50))
    (row,) = compare_all({"none": [run]}, vocabulary.quantized_modes())
    assert (row["mode"], row["beyond_chance"]) == ("int4", True)


def test_the_largest_loss_is_told_also_where_it_may_be_chance(make):
    run = make("none", fp32=cases(), fp16=cases(noise=30, seed=3))
    (row,) = compare_all({"none": [run]}, ["fp16"])
    loss = row | {"difference": -0.0025, "beyond_chance": False}
    (sentence,) = conclude([loss], 1)
    assert "is beyond chance (the largest loss: 0.0025 for none in fp16); 0 of 1 are" in sentence
    tiny = loss | {"difference": -0.00004}
    assert "largest loss" not in conclude([tiny], 1)[0]  # it would read 0.0000


def test_trainings_that_disagree_support_no_claim(make):
    runs = {
        "none": [make("none", seed, fp32=cases()) for seed in (0, 1)],
        "cbam": [make("cbam", 0, fp32=cases(lost=190)), make("cbam", 1, fp32=cases(lost=-20))],
    }
    (row,) = compare_all(runs)
    assert row["p_corrected"] < LEVEL < row["p_training"]
    assert not row["beyond_chance"]


def test_a_mode_that_gains_here_and_loses_there_is_not_beyond_chance(make):
    runs = [
        make("none", seed, fp32=cases(), fp16=cases(lost=lost))
        for seed, lost in enumerate((190, -20))
    ]
    (row,) = compare_all({"none": runs}, ["fp16"])
    assert row["by_seed"]["0"] < 0 < row["by_seed"]["1"]
    assert not row["beyond_chance"]
    assert conclude([row], 1)[0].startswith("No change of mean IoU by quantization")


def test_luck_in_training_is_rarely_called_a_difference(make):
    """Modules that are the same, whose trainings differ by more than the patients tell."""
    rng, called = np.random.default_rng(0), 0
    for _ in range(20):
        luck = rng.normal(0, 25, (2, 3))
        runs = {
            name: [make(name, seed, fp32=cases(lost=int(lost))) for seed, lost in enumerate(own)]
            for name, own in zip(("none", "ag"), luck, strict=True)
        }
        called += compare_all(runs)[0]["beyond_chance"]
    assert called <= 3


def test_the_test_over_trainings_is_corrected_too(make):
    """Four modules that are the same: without it, each of six pairs could win by its luck."""
    rng, called = np.random.default_rng(1), 0
    for _ in range(20):
        luck = rng.normal(0, 25, (4, 3))
        runs = {
            name: [make(name, seed, fp32=cases(lost=int(lost))) for seed, lost in enumerate(own)]
            for name, own in zip(("none", "ag", "se", "cbam"), luck, strict=True)
        }
        rows = compare_all(runs)
        assert [row["p_training_corrected"] for row in rows] == holm(
            [row["p_training"] for row in rows]
        )
        called += any(row["beyond_chance"] for row in rows)
    assert called <= 2


def test_unknown_patients_support_nothing(make):
    nobody = [[row | {"patient": ""} for row in cases(lost=lost)] for lost in (0, 70)]
    runs = {
        name: [make(name, fp32=rows)] for name, rows in zip(("none", "ag"), nobody, strict=True)
    }
    (row,) = compare_all(runs)
    assert (row["p"], row["interval"], row["beyond_chance"]) == (None, None, False)
    (sentence,) = conclude([row], 2)
    assert sentence.startswith(
        "Differences between variants cannot be tested: patients are unknown"
    )
    run = make("se", fp32=nobody[0], fp16=nobody[1])
    (sentence,) = conclude(compare_all({"se": [run]}, ["fp16"]), 1)
    assert sentence.startswith("Changes by quantization (the largest loss: 0.")
    assert " for se in fp16) cannot be tested: patients are unknown" in sentence
    assert dict(zip(TOLD, tabulate([row]).rows[0], strict=True))["p"] == "–"


def test_pairs_that_could_not_be_compared_are_counted(make):
    runs = {
        "none": [make("none", fp32=cases())],
        "ag": [make("ag", fp32=cases(lost=5))],
        "se": [make("se", fp32=cases()[1:])],
    }
    rows = compare_all(runs)
    assert len(rows) == 1
    assert conclude(rows, 3)[-1].startswith("2 of 3 pairs of variants could not be compared")


def test_one_failed_training_leaves_the_others(make, tmp_path):
    runs = steady(make, {"none": 0, "ag": 30}, seeds=3)
    runs["none"][0] = Run(tmp_path / "failed")
    write_text(runs["none"][0].config, "seed: 0")
    (row,) = compare_all(runs)
    assert row["seeds"] == 2
    assert row["by_seed"].keys() == {"1", "2"}


def test_too_few_patients_are_told(make):
    few = [row for row in cases() if row["patient"] in ("p0", "p1", "p2", "p3")]
    worse = [row | {"tp": row["tp"] - 90, "fn": row["fn"] + 90} for row in few]
    (row,) = compare_all({"none": [make("none", fp32=few)], "ag": [make("ag", fp32=worse)]})
    assert row["smallest_p"] == 1 / 8
    assert row["interval"] is None
    assert not row["beyond_chance"]
    assert conclude([row], 2)[0].endswith("cannot be tested: 4 patients are too few.")
    alike = make("alike", fp32=cases(), fp16=cases())
    (row,) = compare_all({"none": [alike]}, ["fp16"])
    assert "too few" not in conclude([row], 1)[0]  # there are enough, but nothing changes


def test_differences_are_marked_and_told_in_a_table(make):
    runs = steady(make, {"none": 0, "se": 70})
    alike = [make("ag", seed, fp32=cases(noise=4, seed=100 + seed)) for seed in range(4)]
    runs = {"none": runs["none"], "ag": alike, "se": runs["se"]}
    for run in runs["none"]:
        for mode, rows in {"int8_static": cases(lost=90), "fp16": cases(lost=-60)}.items():
            write_csv(run.cases(mode), rows, CASE_COLUMNS)
    rows = compare_all(runs, ["fp16", "int8_static"])
    assert mark(rows) == {
        ("se", "fp32"): "†",
        ("none", "int8_static"): "*",
        ("none", "fp16"): "*",
    }
    assert (mark([]), first_of([])) == ({}, None)
    assert first_of(rows) == "none"
    assert first_of(rows[2:]) == "ag"
    told = [dict(zip(TOLD, cells, strict=True)) for cells in tabulate(rows).rows]
    first = told[1]
    assert (first["Compared"], first["With"], first["Beyond chance"]) == ("se", "none", "yes")
    assert (told[-1]["Compared"], told[-1]["With"]) == ("none int8_static", "none fp32")
    assert len(told) == len(rows) == 5
