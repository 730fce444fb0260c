"""How far intervals and "beyond chance" can be trusted: coverage, and false alarms.

    python benchmarks/chance.py RUN [--repeats 500]

Coverage: the patients with a tumour of a run's validation and test split are taken for all there
are; as many as a test split may have are drawn from them, again and again, and it is counted how
often the 95 % intervals of brainseg hold the score of all. False alarms: four modules that are
equal are compared by brainseg's own rule, with one training or several each; what differs is the
luck of a training (a standard deviation of about 0.014 mean IoU, as measured) and its patients.
It is counted how often at least one of the six differences is called beyond chance, and how often
it would be by the patients alone.
"""

import argparse
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from brainseg.evaluation.bootstrap import patient_bootstrap, pooled_bootstrap
from brainseg.evaluation.cases import COLUMNS, counts_of, read_cases
from brainseg.evaluation.metrics import mean_ious, tumor_ious
from brainseg.files import write_csv, write_text
from brainseg.report.comparisons import LEVEL, VARIANTS, compare_all
from brainseg.run import Run

Case = dict[str, Any]

SIZES = (8, 15, 40)
"""Patients in a test split."""

SEEDS = (1, 2, 3, 5)
MODULES = ("none", "ag", "se", "cbam")
PATIENTS, SLICES, PIXELS = 40, 12, 96 * 96
LUCK, TASTE, NOISE = 0.04, 0.10, 0.10
"""Standard deviations of the share of a tumour that is missed: of a training, of a training on a
patient, and on a slice."""


def coverage(cases: list[Case], size: int, repeats: int, rng: np.random.Generator) -> list[float]:
    """The share of intervals of mean IoU, tumour IoU and Dice that hold the score of all."""
    patients = sorted({case["patient"] for case in cases})
    own = {name: [case for case in cases if case["patient"] == name] for name in patients}
    pooled = counts_of(cases).sum(axis=0)
    truth = [mean_ious(pooled), tumor_ious(pooled), np.mean([case["dice"] for case in cases])]
    held = np.zeros(3)
    for _ in track(range(repeats), f"{size} patients", transient=True):
        drawn = [
            case | {"patient": f"{number}"}
            for number, name in enumerate(rng.choice(patients, size))
            for case in own[name]
        ]
        names, counts = [case["patient"] for case in drawn], counts_of(drawn)
        found = [
            pooled_bootstrap(counts, names, mean_ious),
            pooled_bootstrap(counts, names, tumor_ious),
            patient_bootstrap([case["dice"] for case in drawn], names),
        ]
        held += [
            low <= true <= high
            for true, (low, high) in zip(truth, filter(None, found), strict=True)
        ]
    return (held / repeats).tolist()


def simulate(rng: np.random.Generator, difficulty: np.ndarray) -> list[Case]:
    """The cases of one training of a module that is like the others."""
    taste = rng.normal(0, TASTE, PATIENTS) + rng.normal(0, LUCK)
    cases = []
    for patient in range(PATIENTS):
        for piece in range(SLICES):
            missed = difficulty[patient] + taste[patient] + rng.normal(0, NOISE)
            fn = round(300 * float(np.clip(missed, 0, 1)))
            counts = {"tp": 300 - fn, "fp": 100, "fn": fn, "tn": PIXELS - 400}
            name = {"id": f"{patient}-{piece}", "class": "glioma", "patient": str(patient)}
            cases.append(name | counts | {"dice": 0.5, "hd95_px": 5.0})
    return cases


def false_alarms(seeds: int, repeats: int, rng: np.random.Generator) -> tuple[float, float, float]:
    """Share of sweeps with a false alarm: by the rule, and by the patients alone; and the luck.

    The luck is the standard deviation of mean IoU over trainings.
    """
    by_rule, by_patients, spread = 0, 0, []
    with tempfile.TemporaryDirectory() as folder:
        for _ in track(range(repeats), f"{seeds} trainings", transient=True):
            difficulty = rng.uniform(0, 0.5, PATIENTS)
            runs: dict[str, list[Run]] = {name: [] for name in MODULES}
            scores = []
            for name, seed in product(MODULES, range(seeds)):
                run, cases = Run(Path(folder) / f"{name}-seed{seed}"), simulate(rng, difficulty)
                write_text(run.config, f"seed: {seed}\n")
                write_csv(run.cases("fp32"), cases, COLUMNS)
                scores.append(mean_ious(counts_of(cases).sum(axis=0)))
                runs[name].append(run)
            rows = [row for row in compare_all(runs) if row["family"] == VARIANTS]
            by_rule += any(row["beyond_chance"] for row in rows)
            by_patients += any(row["p_corrected"] < LEVEL for row in rows)
            spread.append(np.std(scores, ddof=1))
    return by_rule / repeats, by_patients / repeats, float(np.mean(spread))


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--repeats", type=int, default=500)
    given = parser.parse_args()
    run, rng, console = Run(given.run), np.random.default_rng(0), Console(soft_wrap=True)
    cases = [
        case
        for part in ("val", "test")
        for case in read_cases(run.cases("fp32", part))
        if case["tp"] + case["fn"]
    ]
    everyone = len({case["patient"] for case in cases})
    console.print(f"Coverage of 95 % intervals, patients drawn from {everyone}:")
    for size in SIZES:
        mean_iou, tumor_iou, dice = coverage(cases, size, given.repeats, rng)
        told = f"mean IoU {mean_iou:.1%}, tumour IoU {tumor_iou:.1%}, Dice {dice:.1%}"
        console.print(f"  {size} patients: {told}")
    console.print(f"False alarms among 4 equal modules, {PATIENTS} patients:")
    for seeds in SEEDS:
        rule, patients, luck = false_alarms(seeds, given.repeats, rng)
        told = f"by the rule {rule:.1%}, by patients alone {patients:.1%}"
        console.print(f"  {seeds} trainings each: {told} (luck of a training {luck:.4f})")


if __name__ == "__main__":
    main()
