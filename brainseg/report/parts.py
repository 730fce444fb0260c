"""What the networks are made of, read from `model.json`, and the table of it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from brainseg.report.render import Table
from brainseg.report.rows import NOTHING
from brainseg.report.table import Runs

STEP = re.compile(r"decoder\.(\d+)")
"""Names of the decoder's steps; step 1 is the deepest."""

NUMBERS = {"parameters": "parameters", "multiply_adds": "multiply-adds"}
"""Keys of what is counted, and what people call them."""

NOTE = (
    "A decoder step includes its attention modules. Multiply-adds are those of the convolutions, "
    "for one slice at the training size."
)

Models = Mapping[str, Mapping[str, Any]]
"""The content of `model.json` by variant."""


def parts_table(runs: Runs) -> Table:
    """Parameters and multiply-adds per part and variant, and in total.

    There are no rows where no run has a `model.json`.
    """
    models = read_models(runs)
    counted = [f"{variant}, {told}" for told in NUMBERS.values() for variant in models]
    names = dict.fromkeys(name for model in models.values() for name in model["parts"])
    rows = []
    for name in sorted(names, key=_order):
        parts = [model["parts"].get(name) for model in models.values()]
        rows.append([name, shape_of(models, name), *_count(parts)])
    if models:
        rows.append(["total", NOTHING, *_count(list(models.values()))])
    return Table("Parts of the network", ["part", "output", *counted], rows, [NOTE], counted)


def read_models(runs: Runs) -> dict[str, dict[str, Any]]:
    """`model.json` of each variant, from the first of its runs that has one."""
    found = {
        variant: next((run for run in members if run.model.exists()), None)
        for variant, members in runs.items()
    }
    return {variant: run.read(run.model) for variant, run in found.items() if run}


def steps_of(models: Models) -> list[int]:
    """Numbers of the decoder's steps, the deepest first."""
    names = {name for model in models.values() for name in model["parts"]}
    return sorted(int(match[1]) for name in names if (match := STEP.fullmatch(name)))


def shape_of(models: Models, name: str) -> str:
    """What a part gives, C×H×W; several where the variants differ."""
    shapes = [model["parts"][name]["output_shape"] for model in with_part(models, name).values()]
    return " or ".join(dict.fromkeys("×".join(map(str, shape)) for shape in shapes))


def with_part(models: Models, name: str) -> Models:
    """The variants that have a part of this name."""
    return {variant: model for variant, model in models.items() if name in model["parts"]}


def _count(parts: Sequence[Mapping[str, Any] | None]) -> list[str]:
    """Numbers of one part in each variant: first the parameters, then the multiply-adds."""
    return [f"{part[key]:,}" if part else NOTHING for key in NUMBERS for part in parts]


def _order(name: str) -> tuple[int, str]:
    """The way of the image: encoder, skip of the image, decoder, head."""
    return ({"encoder": 0, "image_skip": 1, "head": 3}.get(name, 2), name)
