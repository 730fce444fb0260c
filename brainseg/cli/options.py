"""What several verbs take: names with commas between, and a flag for each option of the modes."""

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from brainseg.vocabulary import DEVICES, MODES, RUNTIMES, all_modes, quantized_modes

Runs = Annotated[list[Path], typer.Argument(help="Runs, or folders of runs such as outputs/.")]
Mode = Annotated[
    str,
    typer.Option(
        help=f"{', '.join(quantized_modes())}; comma-separated, or all: {', '.join(all_modes())}."
    ),
]
ExportedMode = Annotated[
    str, typer.Option("--mode", help=f"{', '.join(MODES)}; comma-separated, or all that are there.")
]
Devices = Annotated[
    str, typer.Option("--device", help=f"{', '.join(DEVICES)}; comma-separated, or all.")
]
Runtimes = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        help=f"{', '.join(RUNTIMES)}; comma-separated, or all that are installed. Default: "
        f"{', '.join(name for name, each in RUNTIMES.items() if each.usual)}, where installed.",
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


def names(given: str) -> tuple[str, ...] | None:
    """Names with commas between; `None` for all."""
    return None if given == "all" else tuple(given.split(","))
