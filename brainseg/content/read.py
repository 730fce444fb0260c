"""Reading a file of a run: what it holds is checked first, and damage names what makes it again."""

import csv
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import TypeAdapter, ValidationError
from typing_extensions import is_typeddict

from brainseg.arrays import read_npz
from brainseg.content import deployed, scores, training
from brainseg.errors import DamagedFile, InputError
from brainseg.files import read_csv
from brainseg.vocabulary import MODES, QAT_MODE, REFERENCE, TUNING

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's is seven times as fast, and a report reads each configuration many times."""


class Maker(StrEnum):
    """Whose business a file is: what makes it again."""

    train = "`python train.py` with the settings of this run makes it again."
    training = (
        "Only another training makes it again (force=true). Remove it: everything else of the run "
        "is used without it."
    )
    deploy = "`brainseg {verb}` makes it again."
    robustness = "`brainseg robustness {run}` makes it again."
    time = "`brainseg quantize {run} --time` makes it again."
    evaluate = "`brainseg evaluate {run} --data …` makes it again."
    report = "`brainseg report {experiment}` makes it again."


@dataclass(frozen=True)
class Kind:
    """What a file holds, as a type that pydantic checks, and what makes it again."""

    shape: Any
    maker: Maker


KINDS: dict[str, Kind] = {
    "state.json": Kind(training.State, Maker.train),
    "config.yaml": Kind(training.Config, Maker.train),
    "environment.json": Kind(training.Environment, Maker.training),
    "data.json": Kind(training.Facts, Maker.train),
    "split.csv": Kind(training.Split, Maker.train),
    "leaks.csv": Kind(training.Leaks, Maker.train),
    "val.npz": Kind(training.Slices, Maker.train),
    "test.npz": Kind(training.Slices, Maker.train),
    "history.csv": Kind(training.History, Maker.training),
    "model.json": Kind(training.Network, Maker.deploy),
    "model.*.json": Kind(deployed.Made, Maker.deploy),
    "deploy.json": Kind(deployed.Rows, Maker.time),
    "benchmarks.json": Kind(deployed.Sessions, Maker.time),
    "scored.json": Kind(scores.Scored, Maker.deploy),
    "metrics.json": Kind(scores.Metrics, Maker.deploy),
    "metrics.*.json": Kind(scores.Metrics, Maker.deploy),
    "cases.*.csv": Kind(scores.Cases, Maker.deploy),
    "appropriateness.*.csv": Kind(scores.Appropriateness, Maker.deploy),
    "validation.*.json": Kind(scores.Validation, Maker.deploy),
    "ranges.json": Kind(deployed.Ranges, Maker.deploy),
    "robustness.json": Kind(scores.Robustness, Maker.robustness),
    "predictions.*.npz": Kind(scores.Predictions, Maker.deploy),
    "attention.npz": Kind(scores.Attention, Maker.deploy),
    "evaluation.json": Kind(scores.Evaluated, Maker.evaluate),
    "drawn.json": Kind(scores.Drawn, Maker.report),
}
"""By pattern of its name, what each file of a run holds; `run.py` says what it is for."""


def kind_of(file: Path) -> Kind | None:
    """The kind of a file, `None` where it is none of a run's that are read."""
    pattern = _pattern_of(file)
    return KINDS[pattern] if pattern else None


def read_content(file: Path) -> Any:
    """What a file of a run holds: plain JSON, rows with numbers, or arrays by name.

    Raises:
        DamagedFile: it is empty, cut off, garbled, or of another shape than its kind has.
        InputError: it is missing.
    """
    pattern = _pattern_of(file)
    assert pattern, f"{file.name} has no entry in KINDS"
    try:
        if not file.stat().st_size:
            raise ValueError("it is empty")
        return _READERS[file.suffix](file, KINDS[pattern].shape, _adapter(pattern))
    except FileNotFoundError:
        raise InputError(f"{file} is missing. {remedy(file)}") from None
    except RecursionError:
        raise DamagedFile(file, "it is nested too deeply", remedy(file)) from None
    except (OSError, ValueError, csv.Error, yaml.YAMLError) as error:
        raise DamagedFile(file, _tell(error), remedy(file)) from error


def remedy(file: Path) -> str:
    """What makes a file of a run again, as a sentence."""
    run, maker = file.parent, _maker_of(file)
    if run.parent.name == "evaluation":
        run, maker = run.parents[1], Maker.evaluate
    elif run.parent.name == "scores":
        run = run.parents[1]
    elif run.name == "figures":
        run = run.parent
    mode = next((part for part in file.name.split(".") if part in MODES), None)
    if is_tuning(run):
        run, mode = run.parent, QAT_MODE
    verb = "export" if mode in (None, REFERENCE) else "quantize"
    chosen = "" if verb == "export" else f" --mode {mode}"
    return maker.format(run=run, experiment=run.parent, verb=f"{verb} {run}{chosen}")


def is_deployed(file: Path) -> bool:
    """Whether a file is made from the checkpoint or an export, and so again without training."""
    return _maker_of(file) in (Maker.deploy, Maker.robustness, Maker.time)


def is_tuning(folder: Path) -> bool:
    """Whether a folder is no run, but holds what the fine-tuning of one leaves."""
    owned = ((folder.parent / name).exists() for name in ("state.json", "config.yaml"))
    return folder.name == TUNING and any(owned)


def _maker_of(file: Path) -> Maker:
    if is_tuning(file.parent):
        return Maker.deploy
    kind = kind_of(file)
    return kind.maker if kind else Maker.deploy  # the networks themselves


def _pattern_of(file: Path) -> str | None:
    return next((pattern for pattern in KINDS if fnmatchcase(file.name, pattern)), None)


@cache
def _adapter(pattern: str) -> TypeAdapter[Any]:
    return TypeAdapter(KINDS[pattern].shape)


def _read_json(file: Path, shape: Any, adapter: TypeAdapter[Any]) -> Any:
    text = file.read_text(encoding="utf-8")
    value = json.loads(text, parse_float=_finite, parse_constant=_finite)
    adapter.validate_json(text, strict=True)
    return value


def _read_yaml(file: Path, shape: Any, adapter: TypeAdapter[Any]) -> Any:
    text = file.read_text(encoding="utf-8")
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, _Loader)):
        raise ValueError("it has aliases, with which a few lines can stand for billions")
    value = yaml.load(text, _Loader)
    adapter.validate_python(value, strict=True)
    return value


def _read_csv(file: Path, shape: Any, adapter: TypeAdapter[Any]) -> list[dict[str, Any]]:
    """The rows; numbers are numbers, or `None` in an empty cell; other columns stay text."""
    text = file.read_text(encoding="utf-8-sig")
    if not text.endswith("\n"):
        raise ValueError("its last line is cut off")
    if missing := _columns(shape) - {*next(csv.reader(text.splitlines()), ())}:
        raise ValueError(f"it lacks the columns {', '.join(sorted(missing))}")
    rows = read_csv(file)
    checked = adapter.validate_python(rows)
    return [row | typed for row, typed in zip(rows, checked, strict=True)]


def _read_npz(file: Path, shape: Any, adapter: TypeAdapter[Any]) -> Any:
    return adapter.validate_python(read_npz(file))


def _columns(shape: Any) -> frozenset[str]:
    """The columns of a list of rows, which may be annotated."""
    inner = get_args(shape)[0]
    return inner.__required_keys__ if is_typeddict(inner) else _columns(inner)


_READERS: dict[str, Callable[[Path, Any, TypeAdapter[Any]], Any]] = {
    ".json": _read_json,
    ".yaml": _read_yaml,
    ".csv": _read_csv,
    ".npz": _read_npz,
}


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number of JSON")
    return value


def _tell(error: Exception) -> str:
    """What is wrong, and where."""
    if isinstance(error, UnicodeDecodeError):
        return "it is no text in UTF-8"
    if not isinstance(error, ValidationError):
        return " ".join(str(error).split())
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    told = first["msg"].removeprefix("Value error, ")
    return f"{place}: {told}" if place else told
