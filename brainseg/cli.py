"""The command line: verbs on finished runs. Each verb imports what it needs when it is called."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from brainseg.data.cli import app as data
from brainseg.errors import InputError
from brainseg.experiment import find_runs
from brainseg.run import Run

logger = logging.getLogger(__name__)

app = typer.Typer(
    help="Data sets before training; after it: export, quantize, time, report, predict.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data, name="data")

Runs = Annotated[list[Path], typer.Argument(help="Runs, or folders of runs such as outputs/.")]
Mode = Annotated[str, typer.Option(help="A mode, several with commas, or `all`.")]
Devices = Annotated[str, typer.Option("--device", help="cpu, cuda, both with a comma, or all.")]
Runtimes = Annotated[
    str,
    typer.Option("--runtime", help="onnxruntime, openvino, both with a comma, or all installed."),
]
Passes = Annotated[int, typer.Option(help="Timed passes per mode and device.", min=1)]


@app.command()
def export(runs: Runs) -> None:
    """Export checkpoints to ONNX (model.fp32.onnx) and score them on the test split."""
    from brainseg.deploy import stages

    _each(runs, lambda run: stages.prepare(run, []))


@app.command()
def quantize(
    runs: Runs,
    mode: Mode = "all",
    time: Annotated[bool, typer.Option(help="Also time what has no timing yet.")] = False,
    device: Devices = "all",
    passes: Passes = 500,
    max_drop: Annotated[
        str | None,
        typer.Option(
            metavar="FLOAT|none",
            help="int8_static: keep layers in float until mean IoU loses no more; none: keep none.",
        ),
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="int8_static: minmax, percentile or entropy.")
    ] = None,
    images: Annotated[
        int | None, typer.Option(help="int8_static: validation images to calibrate on [200].")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="int8_static: draws those images [0].")] = None,
    per_channel: Annotated[
        bool | None, typer.Option(help="int8_weights: a scale per channel, not the paper's one.")
    ] = None,
) -> None:
    """Export, quantize and re-score runs. What is newer than its source is left alone.

    Options that are not given stay as they were chosen for the run.
    """
    from brainseg.deploy import stages
    from brainseg.deploy.quantize import choose_options

    modes, devices = _modes(mode), _devices(device)
    flags = {
        "method": method,
        "images": images,
        "seed": seed,
        "per_channel": per_channel,
    }
    options: dict[str, Any] = {name: value for name, value in flags.items() if value is not None}
    if max_drop is not None:
        options["max_drop"] = _read_max_drop(max_drop)
    choose_options("int8_static", options)  # a mistake is told before any work

    def work(run: Run) -> list[str]:
        done = stages.prepare(run, modes, options)
        return done + (stages.time_missing(run, modes, devices, passes=passes) if time else [])

    _each(runs, work)


@app.command()
def benchmark(
    runs: Runs,
    mode: Mode = "all",
    device: Devices = "all",
    runtime: Runtimes = "all",
    passes: Passes = 500,
    threads: Annotated[int | None, typer.Option(help="Default: the physical cores.", min=1)] = None,
    batch: Annotated[int, typer.Option(help="Images per pass.", min=1)] = 1,
) -> None:
    """Time runs, modes and runtimes against each other, interleaved in one session per device."""
    from brainseg.benchmark.benchmark import benchmark as measure
    from brainseg.scoring.models import choose_modes

    found = _found(runs)
    timed = measure(
        found,
        choose_modes(found, None if mode == "all" else mode.split(",")),
        _devices(device),
        passes,
        runtimes=None if runtime == "all" else runtime.split(","),
        threads=threads,
        batch=batch,
    )
    rows = [row for own in timed.values() for row in own]
    reasons = dict.fromkeys(row["reason"] for row in rows)
    nothing = not any(row["status"] == "ok" for row in rows)
    _finish(found, "benchmark", list(reasons) if nothing else [])


@app.command()
def evaluate(
    models: Annotated[
        list[Path], typer.Argument(help="Runs, folders of runs, or files such as model.fp32.onnx.")
    ],
    data: Annotated[Path, typer.Option(help="A data set, also one that was never seen.")],
    layout: Annotated[
        str | None, typer.Option(help="figshare, kaggle_mri, folder, …; detected by default.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write [RUN/evaluation/<name of the data set>].")
    ] = None,
    mode: Annotated[
        str, typer.Option(help="Of a run: checkpoint, fp32, …, several with commas, or `all` made.")
    ] = "all",
    other_patients: Annotated[
        bool, typer.Option("--other-patients", help="Patients of the same name are others.")
    ] = False,
) -> None:
    """Predict and score a data set; images that training knows are left out and counted."""
    from brainseg.report.scores import show_evaluation
    from brainseg.scoring.evaluate import evaluate_all
    from brainseg.scoring.models import find_models

    modes = None if mode == "all" else mode.split(",")
    files = [path for path in models if path.suffix == ".onnx"]
    folders = [path for path in models if path not in files]
    runs = _found(folders) if folders else []
    found = find_models([*files, *(run.path for run in runs)], modes)
    if out and len(found) > 1:
        raise InputError(f"--out takes one model, {len(found)} were given. Leave --out away.")
    same = not other_patients
    evaluate_all(found, data, show_evaluation, layout=layout, out=out, same_patients=same)


@app.command()
def report(experiments: Annotated[list[Path], typer.Argument(help="outputs/<experiment>")]) -> None:
    """Write the page, tables, figures and cards of an experiment's runs; print the table."""
    from brainseg.report.write import show_report

    for experiment in experiments:
        show_report(experiment)


@app.command()
def dashboard(experiment: Annotated[Path, typer.Argument(help="outputs/<experiment>")]) -> None:
    """Save a W&B workspace and report of an experiment, or tell what waits to be sent."""
    from brainseg.tracking.dashboard import dashboard as show

    show(experiment)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="A run, or a file such as model.fp32.onnx.")],
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    out: Annotated[Path, typer.Option(help="Folder for masks, overlays and predictions.csv.")],
    mode: Annotated[str, typer.Option(help="Which model of a run.")] = "fp32",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Segment images: a mask at each image's own size, an overlay, and one CSV row each."""
    from brainseg.predict.predict import predict as segment
    from brainseg.scoring.models import find_file

    rows = segment(find_file(model, mode), images, out, device=device)
    failed = [row for row in rows if row["error"]]
    print(f"{len(rows) - len(failed)} of {len(rows)} images segmented: {out}/predictions.csv")
    if failed:
        raise InputError("\n".join(str(row["error"]) for row in failed))


def main() -> None:
    """Run the command line; what the user can mend is told in one message, with exit code 1."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("brainseg").setLevel(logging.INFO)
    try:
        app()
    except InputError as error:
        sys.exit(f"Error: {error}")


def _found(paths: list[Path]) -> list[Run]:
    runs = list({run.path.resolve(): run for path in paths for run in find_runs(path)}.values())
    trained = [run for run in runs if run.is_trained()]
    for run in runs:
        if run not in trained:
            print(f"{run.path}: skipped, its training is not finished")
    if not trained:
        raise InputError("None of these runs is trained. Finish their training first.")
    return trained


def _each(paths: list[Path], work: Callable[[Run], list[str]]) -> None:
    """Do `work` on each run; one that fails does not stop the others."""
    failed: list[str] = []
    changed: list[Run] = []
    for run in _found(paths):
        try:
            done = work(run)
            print(f"{run.path}: {', '.join(done) or 'up to date, nothing to do'}")
            if done:
                changed.append(run)
        except Exception as error:  # whatever it is, the other runs can still be done
            failed.append(f"{run.path}: {error}")
    _finish(changed, "deploy", failed)


def _finish(runs: list[Run], job: str, failed: list[str]) -> None:
    """Renew and print the reports of the runs' experiments, then mirror the runs.

    Args:
        runs: that changed.
        job: what was done, for W&B.
        failed: what went wrong before.

    Raises:
        InputError: something went wrong, before or here. A mirror that fails is only a warning:
            the runs are the same without it.
    """
    from brainseg.report.write import show_report

    for experiment in dict.fromkeys(run.experiment for run in runs):
        try:
            show_report(experiment)
        except Exception as error:  # whatever it is, it must not hide what failed before
            failed = [*failed, f"{experiment}: {error}"]
    for run in runs:
        try:
            _mirror(run, job)
        except Exception as error:  # whatever it is, the files are what counts
            logger.warning("%s: its new results are not in W&B: %s", run.path, error)
    if failed:
        raise InputError("\n".join(failed))


def _mirror(run: Run, job: str) -> None:
    """Continue the run's W&B run, where it has one; `WANDB_MODE` wins over the run's own mode."""
    config: dict[str, Any] = run.read_config()
    config["tracking"]["mode"] = os.environ.get("WANDB_MODE") or config["tracking"]["mode"]
    if not run.wandb.exists() or config["tracking"]["name"] == "none":
        return
    from brainseg.tracking.wandb_run import log_results, tracked

    with tracked(run, config, job) as opened:
        log_results(opened, run)


def _modes(given: str) -> list[str]:
    if given != "all":
        return given.split(",")
    from brainseg.deploy.quantize import MODES

    return list(MODES)


def _read_max_drop(given: str) -> float | None:
    """The loss that is allowed, `None` where `none` was typed."""
    if given == "none":
        return None
    try:
        return float(given)
    except ValueError:
        raise InputError(
            f"--max-drop takes a number such as 0.0004, or none; found {given}."
        ) from None


def _devices(given: str) -> list[str]:
    return ["cpu", "cuda"] if given == "all" else given.split(",")
