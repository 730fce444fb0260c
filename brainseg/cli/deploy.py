"""The verbs that deploy and score trained networks."""

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from brainseg.cli.options import (
    Devices,
    ExportedMode,
    Mode,
    Passes,
    Runs,
    Runtimes,
    Threads,
    names,
    takes_options,
)
from brainseg.cli.work import do_each, finish, found_runs, report_done, time_experiments
from brainseg.errors import InputError
from brainseg.lock import locked
from brainseg.run import Run
from brainseg.vocabulary import BITS, CHECKPOINT, DEVICES, REFERENCE, all_modes

logger = logging.getLogger(__name__)
app = typer.Typer()


@app.command()
def export(runs: Runs) -> None:
    """Export checkpoints to ONNX (model.fp32.onnx) and score them on the test split."""
    from brainseg.deploy.stages import prepare

    report_done(do_each(found_runs(runs), lambda run: prepare(run, [])), "deploy")


@app.command()
@takes_options
def quantize(
    runs: Runs,
    mode: Mode = "all",
    time: Annotated[
        bool, typer.Option(help="Time the runs of an experiment together, if any lacks timings.")
    ] = False,
    device: Devices = "all",
    runtime: Runtimes = None,
    passes: Passes = 500,
    threads: Threads = "all",
    chosen: Any = None,
) -> None:
    """Export, quantize and re-score runs; what is up to date is left alone.

    Options that are not given keep the values last used for the run.
    """
    from brainseg.benchmark.plan import TimingPlan, parse_threads
    from brainseg.deploy.options import check_chosen
    from brainseg.training.modes import prepare_modes

    modes = names(mode) or tuple(all_modes())
    threads_typed = parse_threads(threads.split(","))
    plan = TimingPlan(
        modes,
        names(device) or DEVICES,
        tuple(runtime.split(",")) if runtime else None,
        passes,
        threads_typed,
    )
    check_chosen(chosen, modes)  # a mistake is reported before any work
    found = found_runs(runs)
    changed, failed = do_each(found, lambda run: prepare_modes(run, modes, chosen))
    if time:
        ready = [run for run in found if run not in failed]
        timed, untimed = time_experiments(ready, plan)
        changed, failed = [*changed, *timed], failed | untimed
    report_done((changed, failed), "deploy")


@app.command()
def benchmark(
    runs: Runs,
    mode: ExportedMode = "all",
    device: Devices = "all",
    runtime: Runtimes = None,
    passes: Passes = 500,
    threads: Threads = "all",
    batch: Annotated[int, typer.Option(help="Images per pass.", min=1)] = 1,
) -> None:
    """Time runs, modes and runtimes together, interleaved in one session per device."""
    from brainseg.benchmark.benchmark import benchmark as measure
    from brainseg.benchmark.plan import TimingPlan, parse_threads
    from brainseg.benchmark.ready import choose_ready
    from brainseg.deploy.litert import convert_all
    from brainseg.scoring.models import choose_modes

    found, failed = choose_ready(found_runs(runs))
    if failed and not found:
        raise InputError("\n".join(failed.values()))
    modes = tuple(choose_modes(found, names(mode)))
    plan = TimingPlan(
        *(modes, names(device) or DEVICES, tuple(runtime.split(",")) if runtime else None, passes),
        *(parse_threads(threads.split(",")), batch),
    )
    with locked(*(run.path for run in found)):
        convert_all(found, plan)
        rows = [row for own in measure(found, plan).values() for row in own]
    nothing = not any(row.status == "ok" for row in rows)
    reasons = dict.fromkeys(row.reason for row in rows if row.reason)
    finish(found, "benchmark", [*failed.values(), *(reasons if nothing else ())])


@app.command()
def robustness(
    runs: Runs,
    bits: Annotated[
        str, typer.Option(help="Of the weights, from 2 to 8; comma-separated.")
    ] = ",".join(map(str, BITS)),
) -> None:
    """Score networks whose weights are rounded to fewer bits; what is known is left alone."""
    from brainseg.deploy.robustness import measure_robustness, parse_bits
    from brainseg.deploy.stages import prepare

    wanted = parse_bits(bits)  # a mistake is reported before any work

    def work(run: Run) -> list[str]:
        return [*prepare(run, []), *measure_robustness(run, wanted)]

    report_done(do_each(found_runs(runs), work), "deploy")


@app.command()
def evaluate(
    models: Annotated[
        list[Path], typer.Argument(help="Runs, folders of runs, or files such as model.fp32.onnx.")
    ],
    data: Annotated[Path, typer.Option(help="Folder of a data set.")],
    layout: Annotated[
        str | None, typer.Option(help="figshare, kaggle_mri, folder, …; default: detected.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="Option of the layout, such as planes=axial or patient_pattern=…"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write to; default: RUN/evaluation/<name of the data set>."),
    ] = None,
    mode: Annotated[
        str,
        typer.Option(help=f"Of a run: {CHECKPOINT}, {REFERENCE}, …; comma-separated, or all."),
    ] = "all",
    device: Annotated[str, typer.Option(help=f"{' or '.join(DEVICES)}, for the files.")] = "cpu",
    other_patients: Annotated[
        bool,
        typer.Option("--other-patients", help="Patients with the same name are different people."),
    ] = False,
) -> None:
    """Score networks on another data set; images known from training are left out."""
    from brainseg.data.layouts.options import split_options
    from brainseg.report.scores import show_evaluation
    from brainseg.scoring.evaluate import evaluate_all
    from brainseg.scoring.models import find_all_models

    files = [path for path in models if path.suffix == ".onnx"]
    folders = [path for path in models if path not in files]
    runs = [run.path for run in found_runs(folders)] if folders else []
    found, failed = find_all_models([*files, *runs], names(mode))
    if out and len(found) > 1:
        raise InputError(f"--out takes one model, {len(found)} were given. Leave --out away.")
    for why in failed.values():
        logger.error("Not evaluated: %s", why)
    evaluate_all(
        found,
        data,
        show_evaluation,
        layout=layout,
        data_options=split_options(option),
        out=out,
        device=device,
        same_patients=not other_patients,
    )
    if failed:
        raise InputError(f"Not evaluated: {', '.join(failed)}.")
