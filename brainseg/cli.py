"""The command line: verbs on finished runs. Each verb imports what it needs when it is called."""

import inspect
import logging
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brainseg import interrupt
from brainseg.data.cli import app as data
from brainseg.errors import DamagedFile, InputError, explain, in_words
from brainseg.experiment import find_experiment, find_runs
from brainseg.lock import locked
from brainseg.run import Run
from brainseg.runs.cli import app as runs
from brainseg.vocabulary import CHECKPOINT, DEVICES, MODES, REFERENCE, RUNTIMES, quantized_modes

if TYPE_CHECKING:
    from brainseg.benchmark.plan import TimingPlan

logger = logging.getLogger(__name__)


class Verbs(typer.core.TyperGroup):
    """The verbs; an interrupted one ends without typer's own words."""

    def invoke(self, ctx: Any) -> Any:
        """Run a verb."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(interrupt.exit_code())  # `main` says the rest


app = typer.Typer(
    cls=Verbs,
    help="Prepare data sets; export, quantize, time, report and use trained networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data, name="data")
app.add_typer(runs, name="runs")

Runs = Annotated[list[Path], typer.Argument(help="Runs, or folders of runs such as outputs/.")]
Mode = Annotated[
    str, typer.Option(help=f"{', '.join(quantized_modes())}; comma-separated, or all.")
]
Devices = Annotated[
    str, typer.Option("--device", help=f"{', '.join(DEVICES)}; comma-separated, or all.")
]
Runtimes = Annotated[
    str,
    typer.Option(
        "--runtime", help=f"{', '.join(RUNTIMES)}; comma-separated, or all (those installed)."
    ),
]
Passes = Annotated[int, typer.Option(help="Maximum number of timed passes per row.", min=1)]
Threads = Annotated[
    str, typer.Option(help="CPU threads, a row for each: 1,2,4,all; all is the physical cores.")
]


def takes_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb a flag for each option of the modes; it gets them as `chosen`, by mode."""
    flags: dict[str, Any] = {}
    for mode in MODES.values():
        for name, option in mode.options.items():
            nullable = option.default is None
            default = "no" if option.default is False else str(option.default).lower()
            text = f"{mode.name}: {option.help} (default: {default})."
            kind = str if nullable or option.choices else option.kind
            number = f"{option.kind.__name__.upper()}|none" if nullable else None
            values = "|".join(option.choices) or number
            flags[name] = Annotated[kind | None, typer.Option(help=text, metavar=values)]

    @wraps(verb)
    def wrapped(**given: Any) -> None:
        values = {name: given.pop(name) for name in flags}
        typed = {name: value for name, value in values.items() if value is not None}
        chosen = {
            mode.name: {name: typed[name] for name in mode.options if name in typed}
            for mode in MODES.values()
        }
        verb(**given, chosen={mode: options for mode, options in chosen.items() if options})

    signature = inspect.signature(verb)
    kept = [each for name, each in signature.parameters.items() if name != "chosen"]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=flag)
        for name, flag in flags.items()
    ]
    wrapped.__signature__ = signature.replace(parameters=[*kept, *added])  # type: ignore[attr-defined]
    hints = {name: hint for name, hint in verb.__annotations__.items() if name != "chosen"}
    wrapped.__annotations__ = hints | flags
    return wrapped


@app.command()
def export(runs: Runs) -> None:
    """Export checkpoints to ONNX (model.fp32.onnx) and score them on the test split."""
    from brainseg.deploy.stages import prepare

    _report(_each(_found(runs), lambda run: prepare(run, [])), "deploy")


@app.command()
@takes_options
def quantize(
    runs: Runs,
    mode: Mode = "all",
    time: Annotated[
        bool, typer.Option(help="Time the runs of an experiment together, if any lacks timings.")
    ] = False,
    device: Devices = "all",
    runtime: Runtimes = "all",
    passes: Passes = 500,
    threads: Threads = "all",
    chosen: Any = None,
) -> None:
    """Export, quantize and re-score runs; what is up to date is left alone.

    Options that are not given keep the values last used for the run.
    """
    from brainseg.benchmark.plan import TimingPlan, parse_threads
    from brainseg.deploy.options import check_chosen
    from brainseg.deploy.stages import prepare

    modes = _list(mode) or tuple(quantized_modes())
    threads_typed = parse_threads(threads.split(","))
    plan = TimingPlan(modes, _list(device) or DEVICES, _list(runtime), passes, threads_typed)
    check_chosen(chosen, modes)  # a mistake is reported before any work
    found = _found(runs)
    changed, failed = _each(found, lambda run: prepare(run, modes, chosen))
    if time:
        ready = [run for run in found if run not in failed]
        timed, untimed = _time_experiments(ready, plan)
        changed, failed = [*changed, *timed], failed | untimed
    _report((changed, failed), "deploy")


@app.command()
def benchmark(
    runs: Runs,
    mode: Mode = "all",
    device: Devices = "all",
    runtime: Runtimes = "all",
    passes: Passes = 500,
    threads: Threads = "all",
    batch: Annotated[int, typer.Option(help="Images per pass.", min=1)] = 1,
) -> None:
    """Time runs, modes and runtimes together, interleaved in one session per device."""
    from brainseg.benchmark.benchmark import benchmark as measure
    from brainseg.benchmark.plan import TimingPlan, parse_threads
    from brainseg.benchmark.ready import choose_ready
    from brainseg.scoring.models import choose_modes

    found, failed = choose_ready(_found(runs))
    if failed and not found:
        raise InputError("\n".join(failed.values()))
    modes = tuple(choose_modes(found, _list(mode)))
    plan = TimingPlan(
        *(modes, _list(device) or DEVICES, _list(runtime), passes),
        *(parse_threads(threads.split(",")), batch),
    )
    with locked(*(run.path for run in found)):
        rows = [row for own in measure(found, plan).values() for row in own]
    nothing = not any(row.status == "ok" for row in rows)
    reasons = dict.fromkeys(row.reason for row in rows if row.reason)
    _finish(found, "benchmark", [*failed.values(), *(reasons if nothing else ())])


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
    runs = [run.path for run in _found(folders)] if folders else []
    found, failed = find_all_models([*files, *runs], _list(mode))
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


@app.command()
def report(
    experiments: Annotated[list[Path], typer.Argument(help="Folders such as outputs/demo.")],
) -> None:
    """Write an experiment's page, tables, figures and model cards; print the main table."""
    from brainseg.report.write import show_report

    for experiment in experiments:
        show_report(experiment)


@app.command()
def dashboard(
    experiment: Annotated[Path, typer.Argument(help="Folder such as outputs/demo.")],
) -> None:
    """Save a W&B workspace and report of an experiment, or list the runs not sent yet."""
    from brainseg.tracking.dashboard import dashboard as show

    find_experiment(experiment)  # before its folder is made
    with locked(experiment / "report"):
        show(experiment)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="A run, or a file such as model.fp32.onnx.")],
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    out: Annotated[Path, typer.Option(help="Folder for masks, overlays and predictions.csv.")],
    mode: Annotated[str, typer.Option(help=f"Of a run: {', '.join(MODES)}.")] = REFERENCE,
    device: Annotated[str, typer.Option(help=f"{' or '.join(DEVICES)}.")] = "cpu",
) -> None:
    """Segment images: a mask at each image's own size, an overlay and a CSV row for each."""
    from brainseg.predict.predict import predict as segment
    from brainseg.scoring.models import find_file

    rows = segment(find_file(model, mode), images, out, device=device)
    failed = [row for row in rows if row["error"]]
    print(f"{len(rows) - len(failed)} of {len(rows)} images segmented: {out}/predictions.csv")
    for note, count in Counter(row["note"] for row in rows if row["note"]).items():
        print(f"  {count} of them: {note}")
    if failed:
        raise InputError("\n".join(str(row["error"]) for row in failed))


def main() -> None:
    """Run the command line; what the user can mend is reported in one message, with exit code 1."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("brainseg").setLevel(logging.INFO)
    interrupt.listen()
    try:
        app()
    except BaseException as error:
        if interrupt.is_stopping():
            print(f"{interrupt.GOING_ON}.", file=sys.stderr)
            sys.exit(interrupt.exit_code())
        if (told := explain(error)) is None:
            raise
        sys.exit(f"Error: {told}")


def _list(given: str) -> tuple[str, ...] | None:
    """Names with commas between; `None` for all."""
    return None if given == "all" else tuple(given.split(","))


def _found(paths: list[Path]) -> list[Run]:
    runs = list({run.path.resolve(): run for path in paths for run in find_runs(path)}.values())
    trained = [run for run in runs if _is_trained(run)]
    for run in runs:
        if run not in trained:
            print(f"{run.path}: skipped, its training is not finished")
    if not trained:
        raise InputError("None of these runs is trained. Finish their training first.")
    return trained


def _is_trained(run: Run) -> bool:
    try:
        return run.is_trained()
    except DamagedFile:
        return True  # it is told what is wrong, and with which file, when it is worked on


Done = tuple[list[Run], dict[Run, str]]
"""The runs that changed, and why others failed."""


def _each(runs: Sequence[Run], work: Callable[[Run], list[str]]) -> Done:
    """Do `work` on each run; one that fails does not stop the others."""
    changed: list[Run] = []
    failed: dict[Run, str] = {}
    for run in runs:
        try:
            with locked(run.path):
                done = work(run)
        except Exception as error:  # whatever it is, the other runs can still be done
            interrupt.settle()
            failed[run] = f"{run.path}: {in_words(error)}"
            continue
        print(f"{run.path}: {', '.join(done) or 'up to date, nothing to do'}")
        changed += [run] if done else []
    return changed, failed


def _time_experiments(runs: Sequence[Run], plan: "TimingPlan") -> Done:
    """Time the runs of each experiment together."""
    from brainseg.benchmark.together import time_together

    experiments: dict[Path, list[Run]] = defaultdict(list)
    for run in runs:
        experiments[run.experiment].append(run)
    changed: list[Run] = []
    failed: dict[Run, str] = {}
    for experiment, members in experiments.items():
        try:
            with locked(*(run.path for run in members)):
                timed = time_together(members, plan)
        except Exception as error:  # whatever it is, the other experiments can still be timed
            interrupt.settle()
            failed[members[0]] = f"{experiment}: {in_words(error)}"
            continue
        for run, done in timed.items():
            if done:
                print(f"{run.path}: {', '.join(done)}")
                changed.append(run)
    return changed, failed


def _report(done: Done, job: str) -> None:
    changed, failed = done
    _finish(list(dict.fromkeys(changed)), job, list(failed.values()))


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
            interrupt.settle()
            failed = [*failed, f"{experiment}: {in_words(error)}"]
    for run in filter(lambda run: run.wandb.exists(), runs):
        from brainseg.tracking.wandb_run import mirror_results  # importing wandb takes a second

        try:
            mirror_results(run, job)
        except Exception as error:  # whatever it is, the files are what counts
            interrupt.settle()
            logger.warning("%s: its new results are not in W&B: %s", run.path, in_words(error))
    if failed:
        raise InputError("\n".join(failed))
