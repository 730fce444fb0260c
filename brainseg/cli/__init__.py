"""The command line: verbs on finished runs. Each verb imports what it needs when it is called."""

import logging
import sys
from typing import Any

import typer

from brainseg import interrupt
from brainseg.cli.deploy import app as deploy
from brainseg.cli.share import app as share
from brainseg.cli.show import app as show
from brainseg.cli.use import app as use
from brainseg.data.cli import app as data
from brainseg.errors import explain
from brainseg.runs.cli import app as runs


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
for verbs in (deploy, show, use, share):
    app.add_typer(verbs)
app.add_typer(data, name="data")
app.add_typer(runs, name="runs")


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
