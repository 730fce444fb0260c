"""A made experiment: four variants with two seeds each, and every file that a figure reads."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from brainseg.evaluation.appropriateness import COLUMNS as SHAPES
from brainseg.evaluation.appropriateness import measure_appropriateness
from brainseg.evaluation.calibration import describe_probabilities
from brainseg.evaluation.cases import COLUMNS, THRESHOLD, score_cases, summarize, to_uint8
from brainseg.files import write_csv, write_json, write_npz, write_text
from brainseg.report.points import collect_points
from brainseg.report.rows import TableRow
from brainseg.run import Run
from brainseg.vocabulary import CLASSES, MAPPINGS, STUDY

VARIANTS, SEEDS, SIZE = STUDY, 2, 32
MODES = ("fp32", "int8_static")
WIDTHS = {1: (256, 2), 2: (128, 4), 3: (64, 8), 4: (32, 16), 5: (16, 32)}
"""Channels and size of each decoder step."""


def make_test(prefix):
    """Two patients of each class with a disc each, and a last case that nobody outlined."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE]
    classes = [*CLASSES, *CLASSES, "glioma"]
    masks = [(x - 12 - i) ** 2 + (y - 16) ** 2 < (5 + i % 3) ** 2 for i in range(len(classes))]
    masks = np.array(masks) & (np.array(classes) != "notumor")[:, None, None]
    masks[-1] = False
    return {
        "ids": np.array([f"{prefix}{i}" for i in range(len(classes))]),
        "classes": np.array(classes),
        "patients": np.array([f"patient{i}" for i in range(len(classes))]),
        "images": (rng.integers(0, 128, masks.shape) + 127 * masks).astype(np.uint8),
        "masks": masks.astype(np.uint8),
    }


def predict(masks, rng):
    """Masks that moved a little, with probabilities that are not all 0 or 1."""
    moved = np.roll(masks, int(rng.integers(1, 4)), axis=2)
    return to_uint8(np.clip(0.1 + 0.7 * moved + rng.normal(0, 0.05, masks.shape), 0, 1))


def make_run(path, variant, seed, prefix="case"):
    """A run whose test cases have names that begin with `prefix`."""
    run, test = Run(path), make_test(prefix)
    rng = np.random.default_rng([VARIANTS.index(variant), seed])
    write_text(run.config, json.dumps({"data": {"name": "figshare"}, "seed": seed}))
    write_npz(run.test, **test)
    scored = {key: values[:-1] for key, values in test.items()}
    for mode in MODES:
        probabilities = predict(test["masks"], rng)
        write_npz(run.predictions(mode), ids=test["ids"], probabilities=probabilities)
        names = [scored[key].tolist() for key in ("ids", "classes", "patients")]
        cases = score_cases(*names, probabilities[:-1], scored["masks"])
        write_csv(run.cases(mode), cases, COLUMNS)
        shapes = measure_appropriateness(
            *(test[key].tolist() for key in ("ids", "classes", "patients")),
            test["images"],
            probabilities >= THRESHOLD,
        )
        write_csv(run.appropriateness(mode), shapes, SHAPES)
        if mode == "fp32":
            told = describe_probabilities(probabilities[:-1], scored["masks"])
            write_json(run.metrics, summarize(cases) | told)
    write_json(run.robustness, make_robustness(run.read(run.cases("fp32")), rng))
    write_json(run.made("int8_static"), {"activations": 4, "curve": make_curve(rng)})
    write_csv(run.history, make_history(rng), list(make_history(rng)[0]))
    write_json(run.model, make_model(variant))
    coefficients = make_attention(variant, rng)
    write_npz(run.attention, ids=test["ids"][:8], **coefficients)
    return run


def make_robustness(cases, rng):
    """With few bits, some pixels of each case are lost."""
    counts = np.array([[case[name] for name in ("tp", "fp", "fn", "tn")] for case in cases])
    exact = {"counts": counts.tolist(), "mean_iou": 0.8}
    exact["patients"] = [case["patient"] for case in cases]

    def rounded(bits):
        lost = np.minimum(counts[:, 0], rng.integers(0, 9 - bits, len(counts)))
        moved = counts + np.stack([-lost, 0 * lost, lost, 0 * lost], axis=1)
        found = {"counts": moved.tolist(), "mean_iou": 0.7, "change": -0.1, "interval": None}
        return found | {"flipped": float(lost.sum() / counts.sum())}

    points = [
        {"mapping": mapping, "bits": bits, "val": rounded(bits), "test": rounded(bits)}
        for mapping in MAPPINGS
        for bits in (8, 4)
    ]
    return {"export": "0", "exact": {"val": exact, "test": exact}, "rounded": points}


def make_curve(rng):
    """Three candidates; the last one was kept, with no other layers than the one before."""
    return [
        {
            **{"activations": count, "float_layers": ["head"] if count else []},
            **{"loss": float(rng.random() / 100 - 0.002), "logit_error": 0.1, "speedup": 3.0},
            **{"time": 1 + count / 10, "time_interval": [0.95 + count / 10, 1.05 + count / 10]},
        }
        for count in (0, 1, 4)
    ]


def make_history(rng):
    names = ("train_loss", "val_loss", "val_mean_iou", "val_tumor_iou")
    return [{"epoch": epoch} | dict(zip(names, rng.random(4), strict=True)) for epoch in range(3)]


def make_model(variant):
    def part(parameters, *shape):
        return {
            "parameters": parameters,
            "multiply_adds": 10 * parameters,
            "output_shape": list(shape),
        }

    parts = {"encoder": part(23_494_080, 2048, 1, 1), "image_skip": part(160, 16, SIZE, SIZE)}
    for step, (channels, side) in WIDTHS.items():
        parts[f"decoder.{step}"] = part(1000 * channels + len(variant), channels, side, side)
        if variant != "none":
            parts[f"decoder.{step}.attention"] = part(50, 64, side, side)
        if variant in ("se", "cbam"):
            parts[f"decoder.{step}.block.attention"] = part(60, channels, side, side)
    parts["head"] = part(17, 1, SIZE, SIZE)
    total = sum(each["parameters"] for name, each in parts.items() if "attention" not in name)
    return {
        "parameters": total,
        "multiply_adds": 10 * total,
        "image_size": SIZE,
        "parts": parts,
    }


def make_attention(variant, rng):
    arrays = {}
    for step, (channels, side) in WIDTHS.items():
        maps = rng.integers(0, 256, (8, side, side), dtype=np.uint8)
        weights = rng.integers(0, 256, (8, channels), dtype=np.uint8)
        name = f"decoder.{step}.attention"
        arrays |= {
            "none": {},
            "ag": {name: maps},
            "se": {name: weights, f"decoder.{step}.block.attention": weights},
            "cbam": {name: maps, f"{name}.channels": weights},
        }[variant]
    return arrays


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> dict[str, list[Run]]:
    """Variant → runs; not to be changed."""
    folder = tmp_path_factory.mktemp("figures") / "study"
    return {
        variant: [
            make_run(folder / f"{variant}-seed{seed}", variant, seed) for seed in range(SEEDS)
        ]
        for variant in VARIANTS
    }


@pytest.fixture
def own_runs(runs, tmp_path) -> dict[str, list[Run]]:
    """A copy that a test may change."""
    shutil.copytree(runs["none"][0].experiment, tmp_path / "study")
    return {
        variant: [Run(tmp_path / "study" / run.name) for run in members]
        for variant, members in runs.items()
    }


@pytest.fixture
def folds(tmp_path) -> dict[str, list[Run]]:
    """Two runs that share no test case."""
    return {
        f"ag {fold}": [make_run(tmp_path / "folds" / f"ag-{fold}", "ag", 0, prefix=fold)]
        for fold in ("fold0-", "fold1-")
    }


@pytest.fixture
def alike(tmp_path):
    """Two runs with the same ids; gliomas have other images, and meningiomas another truth."""
    runs = {name: [make_run(tmp_path / "alike" / name, "ag", 0)] for name in ("one", "other")}
    (run,) = runs["other"]
    with np.load(run.test) as file:
        test = {name: file[name] for name in file}
    test["images"][test["classes"] == "glioma"] ^= 1
    test["masks"][test["classes"] == "meningioma", 0, 0] = 1
    write_npz(run.test, **test)
    return runs


@pytest.fixture
def named(tmp_path):
    """A function of a name that stands in the run's folder, in its ids, and for its variant."""
    return lambda name: {name: [make_run(tmp_path / "named" / name, "ag", 0, prefix=name)]}


@pytest.fixture
def empty_runs(tmp_path) -> dict[str, list[Run]]:
    """Runs without any file."""
    return {variant: [Run(tmp_path / variant)] for variant in VARIANTS}


@pytest.fixture
def points():
    """Two variants in two modes, with two seeds, on two devices and with two numbers of threads."""
    sizes = {"fp32": 100, "int8_static": 25}
    rows = [
        TableRow(
            run=f"{variant}-seed{seed}",
            variant=variant,
            attention=variant,
            mode=mode,
            runtime="onnxruntime",
            device=device,
            threads=threads,
            session="s",
            latency_ms={"p50": 20.0 / threads},
            size_bytes=sizes[mode] * 2**20,
            mean_iou=0.8 + 0.01 * seed,
        )
        for variant in ("none", "ag")
        for mode in sizes
        for device in ("cpu", "cuda")
        for threads in (1, 2)
        for seed in range(2)
    ]
    return collect_points(rows)


@pytest.fixture
def comparisons():
    """As `compare_all` gives them."""

    def row(family, first, second, mode, difference, **values):
        low, high = difference - 0.01, difference + 0.01
        found = {"family": family, "first": first, "second": second, "mode": mode, "p": 0.5}
        found |= {"difference": difference, "interval": [low, high], "p_corrected": 0.5}
        return found | {"beyond_chance": False, "patients": 8, "images": 8, "seeds": 2} | values

    tested = {"tost": [-0.0087, 0.0079], "margin": 0.005, "verdict": "not shown"}
    return [
        row("variants", "none", "ag", "fp32", 0.05, p_corrected=0.001, beyond_chance=True),
        row("variants", "none", "se", "fp32", -0.002, interval=None, p_corrected=None),
        row("modes", "ag", "ag", "int8_static", -0.0004, **tested),
    ]


@pytest.fixture
def texts_of():
    """All that is written on a figure."""

    def texts(figure: Figure) -> list[str]:
        return [found.get_text() for found in figure.findobj(Text) if found.get_text()]

    return texts


@pytest.fixture
def forget():
    """Remove a file from every run; `name` as in `Run`."""

    def remove(runs: dict[str, list[Run]], pattern: str) -> None:
        for members in runs.values():
            for run in members:
                for file in Path(run.path).glob(pattern):
                    file.unlink()

    return remove
