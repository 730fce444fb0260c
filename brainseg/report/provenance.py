"""Where numbers come from and what they mean: data, split, machine, terms and limits."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from brainseg import vocabulary
from brainseg.run import Run
from brainseg.vocabulary import NEGATIVE, PARTS, REFERENCE, REFERENCE_RUNTIME, USUAL_MODEL

SYNTHETIC = "synthetic data (phantoms): these numbers say nothing about patients"

LIMITS = (
    "Research use; not for diagnosis.",
    "Slices are judged one by one, without their neighbours.",
    "The data come from few scanners and clinics; elsewhere, measure first (brainseg evaluate).",
    "Lesions, sequences and planes that are not in the training data were never seen.",
    "Images without tumour often come from other sources than those with one, so few false alarms "
    "on them do not promise few in the clinic.",
    "Intervals cover other patients of the same kind, not another training or another hospital.",
    "Timings hold for the machine, threads and versions named here.",
)
"""What no number in a report can remove."""


def explain_terms(margin: float) -> list[str]:
    """A line for the variants, for each mode and metric, and for the runtimes' precisions."""
    return [
        "none, ag, se, cbam: no attention; gates on the skips (arXiv:1804.03999); squeeze-and-"
        "excitation (arXiv:1709.01507); convolutional block attention (arXiv:1807.06521).",
        *(f"{mode.name}: {mode.sentence}" for mode in vocabulary.MODES.values()),
        "bf16: the runtime computes in 16 bits. tf32: factors are rounded to 11 significant bits, "
        "as tensor cores take them, sums are not; plain fp32 is exact there too.",
        *(f"{metric.label}: {metric.sentence}." for metric in vocabulary.METRICS.values()),
        "A network that finds nothing has a mean IoU of about 0.5. HD95 of an empty prediction is "
        "the image's diagonal. ECE: expected calibration error.",
        "Budget: how much mean IoU on validation a recommended mode may lose against "
        f"{REFERENCE} with {REFERENCE_RUNTIME}, as measured. Margin ({margin:g}): how much it must "
        "be shown not to lose, whichever patients are drawn; with few, hardly anything is shown.",
    ]


def data_statements(runs: Sequence[Run]) -> Iterator[str]:
    """Data, split and test set of each run, and what about them flatters the numbers."""
    for run in runs:
        config, parts = read_config(run), _read_parts(run)
        test = parts.get("test")
        if not config or not test:
            continue
        data, split = config.get("data", {}), config.get("split", {})
        fold = f", fold {split['fold']} of {split['folds']}" if "folds" in split else ""
        seen = ", ".join(f"{part}: {_count(parts[part])}" for part in PARTS if part in parts)
        negative = sum(row["class"] == NEGATIVE for row in test)
        yield (
            f"Data: {data.get('name')}{_describe_joined(data)}. Split: {split.get('name')} (seed "
            f"{split.get('seed')}{fold}). Image size: {data.get('image_size')}; {seen}, "
            f"{negative} of them {NEGATIVE}."
        )
        if run.data.exists():
            yield from _describe_weaknesses(run.read(run.data), len(test))


def _describe_joined(data: dict[str, Any]) -> str:
    """What kind of data they are, and which data sets were added."""
    told = {
        " (synthetic)": data.get("name") == "phantom",
        f", slices without tumour from {data.get('negatives')}": data.get("negatives"),
        f", tested on {data.get('test')}": data.get("test"),
        ", one image of each cluster of copies": data.get("duplicates") == "one_per_cluster",
    }
    return "".join(text for text, shown in told.items() if shown)


def _describe_weaknesses(facts: dict[str, Any], test: int) -> Iterator[str]:
    """What was left out, and what flatters the numbers."""
    auc, elsewhere = facts["shortcut_auc"], "also in training or validation"
    if left_out := sum(facts["images"].get("left_out", {}).values()):
        yield f"Left out: {left_out} images that are copies or known from training."
    if patients := facts["leaking_patients"]:
        yield f"Leakage: {patients} of {test} test images show patients who are {elsewhere}."
    if images := facts["leaks"].get("image"):
        yield f"Leakage: {images} test images are {elsewhere}; see leaks.csv."
    if auc is not None:
        yield (
            "Source shortcut: border and histogram alone tell images without tumour from the "
            f"others, with an area under the curve of {auc:.3f} (0.5: chance)."
        )


def training_statements(runs: Sequence[Run]) -> Iterator[str]:
    """How each run was trained, except for its seed."""
    for config in map(read_config, runs):
        if "trainer" not in config:  # it never began
            continue
        yield (
            f"{describe_network(config['model'])}. At most {config['trainer']['max_epochs']} "
            f"epochs in batches of {config['data']['batch_size']}; Adam, learning rate "
            f"{config['optim']['lr']:g}, schedule {config['schedule']['name']}, loss "
            f"{config['loss']['name']}. The epoch with the best mean IoU on validation is kept."
        )


def describe_network(model: Mapping[str, Any]) -> str:
    """The network of a configuration, such as `resunet, encoder: resnetv2_50, weights: none`."""
    parts = [str(model.get("target") or model.get("name", USUAL_MODEL))]
    parts += [f"{key}: {model[key]}" for key in ("encoder", "weights") if model.get(key)]
    return ", ".join(parts)


def machine_statements(runs: Sequence[Run]) -> Iterator[str]:
    """The machine of each training, and of each timing session with what disturbed it."""
    for run in runs:
        if environment := run.read_environment():
            yield f"Trained on {_describe_machine(environment)}"
    for run in (run for run in runs if run.benchmarks.exists()):
        yield from map(_describe_session, run.read(run.benchmarks).values())


def _describe_session(session: dict[str, Any]) -> str:
    threads = str(session["threads"]).strip("[]")  # older versions had one number
    processors = "CPU" if session["device"] == "cpu" else "CPU or the GPU"
    share = session["other_cpu_share"]  # unknown where the session was interrupted
    others = "an unknown share" if share is None else f"{share:.0%}"
    return (
        f"Timed on {_describe_machine(session['environment'])} Up to {session['passes']} rounds on "
        f"{session['device']} with {threads} threads, started {session['started_at']}. Other "
        f"processes used {others} of the {processors}. {_describe_control(session['control'])}"
    )


def _describe_control(control: dict[str, Any] | None) -> str:
    if control is None:
        return "There was no room for a control."
    low, high = control["interval"]
    failed = "" if low <= 1 <= high else "; a speed-up closer to 1 means nothing"
    return (
        f"Control, {control['mode']} with {control['runtime']} against itself: "
        f"{control['ratio']:.2f} ({low:.2f}–{high:.2f}){failed}."
    )


def _describe_machine(environment: dict[str, Any]) -> str:
    cpu, versions = environment.get("cpu", {}), environment.get("versions", {})
    gpus = ", ".join(gpu["name"] for gpu in environment.get("gpus", ())) or "none found"
    named = ("torch", "onnxruntime", "openvino", "brainseg")
    told = ", ".join(f"{name} {versions[name]}" for name in named if name in versions)
    flags = " ".join(cpu.get("flags", ()))
    return (
        f"{cpu.get('model')}, {cpu.get('physical_cores')} cores ({flags}); GPU: {gpus}; "
        f"{environment.get('os')}, Python {environment.get('python')}; {told}, commit "
        f"{commit_of(environment) or 'unknown'}."
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
    return _read_parts(run).get("test", [])


def _read_parts(run: Run) -> dict[str, list[dict[str, str]]]:
    """The rows of `split.csv` by part."""
    parts: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in run.read(run.split) if run.split.exists() else ():
        parts[row["split"]].append(row)
    return parts


def _count(rows: Sequence[dict[str, str]]) -> str:
    known = len({row["patient"] for row in rows} - {""})
    return f"{len(rows)} images of {f'{known} known' if known else 'unknown'} patients"
