"""The verbs that pass a network on."""

from pathlib import Path
from typing import Annotated

import typer

from brainseg.errors import InputError
from brainseg.vocabulary import MODES, REFERENCE, RESEARCH_ONLY, STATIC_MODE

app = typer.Typer()


@app.command()
def package(
    run: Annotated[Path, typer.Argument(help="A run that was exported, and quantized if need be.")],
    out: Annotated[Path, typer.Option(help="A new folder.")],
    mode: Annotated[str, typer.Option(help=f"{', '.join(MODES)}.")] = STATIC_MODE,
) -> None:
    """Write all that is needed to use a network elsewhere, without brainseg and torch."""
    from brainseg.experiment import open_run
    from brainseg.predict.package import write_package
    from brainseg.report.card import make_card
    from brainseg.scoring.models import find_file

    found = open_run(run)
    find_file(run, mode)
    if (card := make_card(found, mode)) is None:
        verb = "export" if mode == REFERENCE else f"quantize --mode {mode}"
        raise InputError(
            f"{run} has no scores of {mode} for its card. Make them: brainseg {verb} {run}"
        )
    write_package(found, mode, out, card)
    files = [path for path in out.rglob("*") if path.is_file()]
    size = sum(file.stat().st_size for file in files)
    print(f"{out}: {len(files)} files, {size / 2**20:.1f} MiB. {RESEARCH_ONLY}")


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(help="A package, as `brainseg package` wrote it.")],
    repo: Annotated[str, typer.Argument(help="Where to, such as anna/tumours.")],
    public: Annotated[bool, typer.Option("--public", help="Everybody may see it.")] = False,
    message: Annotated[str | None, typer.Option(help="Of the commit.")] = None,
) -> None:
    """Upload a package to the Hugging Face hub, or to HF_ENDPOINT, for nobody else to see."""
    from brainseg.predict.push import push as upload

    done = upload(folder, repo, public=public, message=message)
    who = "private" if done.private else "public"
    print(f"{done.url} ({who}): {done.files} files")


@app.command()
def serve(
    folder: Annotated[Path, typer.Argument(help="A package, made with `brainseg package`.")],
    port: Annotated[int, typer.Option(help="Of 127.0.0.1; 0 takes any that is free.")] = 8000,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Start the page that segments in the browser, for this machine only, until Ctrl-C."""
    from brainseg import interrupt
    from brainseg.predict.serve import serve as serve_page

    try:
        serve_page(folder, port, show=show)
    except KeyboardInterrupt:  # the way to end it: nothing is left unfinished
        code = interrupt.exit_code()
        interrupt.forget()
        raise typer.Exit(code) from None
