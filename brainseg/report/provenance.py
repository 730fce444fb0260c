"""Where numbers come from: data, split and machine of the runs."""

from collections.abc import Iterator, Sequence
from typing import Any

from brainseg.files import read_csv, read_json
from brainseg.run import Run

SYNTHETIC = "synthetic data (phantoms): these numbers say nothing about patients"

LIMITS = (
    "Research use; not for diagnosis.",
    "Slices are judged one by one: what continues into the next slice is not seen.",
    "A network knows the few scanners and clinics of its data; elsewhere its numbers do not hold "
    "until they are measured there (`brainseg evaluate`).",
    "Lesions, sequences and planes that are not in the training data were never seen.",
    "Images without tumour often come from other sources than those with one: few false alarms on "
    "them promise nothing in the clinic.",
    "Intervals tell what other patients of the same kind would change, not what another training "
    "or another hospital would.",
    "Timings hold for the machine that is named, with its threads and versions.",
)
"""What no number in a report can do away with."""


def describe_data(runs: Sequence[Run]) -> Iterator[str]:
    """Data, split and test set of each run, and what about them flatters the numbers."""
    for run in runs:
        config, test = read_config(run), read_test(run)
        if not config or not test:
            continue
        data, split = config.get("data", {}), config.get("split", {})
        fold = f", fold {split['fold']} of {split['folds']}" if "folds" in split else ""
        patients = len({row["patient"] for row in test} - {""}) or "unknown"
        negative = sum(row["class"] == "notumor" for row in test)
        name = SYNTHETIC if data.get("name") == "phantom" else data.get("name")
        yield (
            f"Data: {name}{_describe_joined(data)}. Split: {split.get('name')} (seed "
            f"{split.get('seed')}{fold}); image size {data.get('image_size')}; test: {len(test)} "
            f"images of {patients} patients, {negative} of the class notumor."
        )
        if run.data.exists():
            yield from _describe_weaknesses(read_json(run.data), len(test))


def _describe_joined(data: dict[str, Any]) -> str:
    """The data sets that joined, and what was done with them."""
    told = {
        f", slices without tumour from {data.get('negatives')}": data.get("negatives"),
        " (in training with the tumour slices' histograms)": data.get("harmonize"),
        f", tested on {data.get('test')}": data.get("test"),
        ", one image of each cluster of copies": data.get("duplicates") == "one_per_cluster",
    }
    return "".join(text for text, shown in told.items() if shown)


def _describe_weaknesses(facts: dict[str, Any], test: int) -> Iterator[str]:
    """What was left out, and what makes the numbers look better than they are."""
    if "left_out" in facts["images"]:
        left_out = sum(facts["images"]["left_out"].values())
        yield f"Left out: {left_out} images that stand there twice, or that training knows."
    if facts["leaking_patients"]:
        yield (
            f"Leakage: {facts['leaking_patients']} of {test} test images show patients who are "
            "also in training or validation."
        )
    if facts["leaks"].get("image"):
        yield f"Leakage: {facts['leaks']['image']} test images were known; see leaks.csv."
    if facts["shortcut_auc"] is not None:
        yield (
            "Source shortcut: border and histogram alone tell images without tumour from the "
            f"others with an area under the curve of {facts['shortcut_auc']:.3f} (0.5: chance)."
        )


def describe_machines(runs: Sequence[Run]) -> Iterator[str]:
    """The machine of each timing session, or of the training where nothing was timed."""
    for run in runs:
        timed = read_json(run.benchmarks).values() if run.benchmarks.exists() else ()
        environments = [session.get("environment") for session in timed]
        for environment in filter(None, environments or [run.read_environment()]):
            cpu, versions = environment.get("cpu", {}), environment.get("versions", {})
            gpus = ", ".join(gpu["name"] for gpu in environment.get("gpus", ())) or "none found"
            yield (
                f"Machine: {cpu.get('model')}, {cpu.get('physical_cores')} cores; GPU: {gpus}; "
                f"torch {versions.get('torch')}, onnxruntime {versions.get('onnxruntime')}; "
                f"commit {commit_of(environment) or 'unknown'}."
            )


def commit_of(environment: dict[str, Any]) -> str | None:
    """The git commit in an environment, marked where the tree had changes."""
    commit = environment.get("commit")
    return commit["hash"] + ("-dirty" if commit["dirty"] else "") if commit else None


def read_config(run: Run) -> dict[str, Any]:
    """The configuration, empty where the run has none yet."""
    return run.read_config() if run.config.exists() else {}


def read_test(run: Run) -> list[dict[str, str]]:
    """The rows of the test split, none where the run has no split yet."""
    rows = read_csv(run.split) if run.split.exists() else []
    return [row for row in rows if row["split"] == "test"]
