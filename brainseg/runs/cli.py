"""The verbs of `brainseg runs`."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup


class ListingGroup(TyperGroup):
    """Takes `runs FOLDER` for `runs list FOLDER`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `list` first where no verb is given."""
        if not args or args[0] not in {*self.commands, "--help"}:
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=ListingGroup, help="List runs, and free the space that some of them take.")

Folder = Annotated[Path, typer.Argument(help="A folder with runs below it.")]
OUTPUTS = Path("outputs")


@app.command("list")
def show(folder: Folder = OUTPUTS) -> None:
    """List runs with state, age, size and key metrics; also as `brainseg runs FOLDER`."""
    from rich.console import Console

    from brainseg.runs.listing import list_runs, tell_reasons, to_table
    from brainseg.terminal import widen

    listed = list_runs(folder)
    widen(Console()).print(to_table(listed, datetime.now()))
    print(*tell_reasons(listed), sep="\n", end="")


@app.command()
def prune(
    folder: Folder = OUTPUTS,
    failed: Annotated[
        bool, typer.Option("--failed", help="Runs that failed before their first epoch, too.")
    ] = False,
    quantized: Annotated[
        bool,
        typer.Option(
            "--quantized", help="Quantized networks of finished runs, too; their scores stay."
        ),
    ] = False,
    delete: Annotated[
        bool,
        typer.Option("--delete", help="Delete what is listed; without this, nothing is deleted."),
    ] = False,
) -> None:
    """List what can be deleted: what interrupted commands left and, if asked, more."""
    from rich.console import Console

    from brainseg.runs import prune as pruning
    from brainseg.runs.listing import list_runs, tell_size
    from brainseg.terminal import widen

    listed = list_runs(folder) if failed or quantized else []
    found = [
        *pruning.find_leftovers(folder),
        *(pruning.find_failed(listed) if failed else ()),
        *(pruning.find_quantized(listed) if quantized else ()),
    ]
    if not found:
        print(f"Nothing to delete below {folder}.")
        return
    widen(Console()).print(pruning.to_table(found))
    if delete:
        pruning.delete(found)
    size = tell_size(sum(each.size_bytes for each in found))
    print(f"{size} freed." if delete else f"{size} would be freed. Add --delete to delete this.")
