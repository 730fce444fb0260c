"""The verbs that show an experiment."""

from pathlib import Path
from typing import Annotated

import typer

from brainseg.errors import InputError
from brainseg.evaluation.equivalence import MARGIN
from brainseg.experiment import find_experiment
from brainseg.lock import locked

app = typer.Typer()


@app.command()
def report(
    experiments: Annotated[list[Path], typer.Argument(help="Folders such as outputs/demo.")],
    margin: Annotated[
        float,
        typer.Option(
            help="Largest loss of mean IoU that a recommended mode must be shown not to exceed, in "
            "this report only: give it again after another verb."
        ),
    ] = MARGIN,
) -> None:
    """Write an experiment's page, tables, figures and model cards; print the main table."""
    from brainseg.report.write import show_report

    if not 0 <= margin <= 1:
        raise InputError(f"Expected a margin of mean IoU, from 0 to 1, found {margin}.")
    for experiment in experiments:
        show_report(experiment, margin)


@app.command()
def dashboard(
    experiment: Annotated[Path, typer.Argument(help="Folder such as outputs/demo.")],
) -> None:
    """Save a W&B workspace and report of an experiment, or list the runs not sent yet."""
    from brainseg.tracking.dashboard import dashboard as show

    find_experiment(experiment)  # before its folder is made
    with locked(experiment / "report"):
        show(experiment)
