"""What of runs can be deleted, and how it is made again."""

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from brainseg.content.read import is_tuning
from brainseg.errors import InputError
from brainseg.files import GONE, discard
from brainseg.lock import locked
from brainseg.run import Run
from brainseg.runs.listing import Listed, files_of, tell_size
from brainseg.vocabulary import MODES, QAT_MODE, RUNTIMES, quantized_modes

IN_USE = 3600.0
"""Seconds in which a temporary file may still belong to a command that writes it."""


@dataclass(frozen=True)
class Prunable:
    """A file or folder that can go.

    `again` says what makes it again, or that nothing refers to it.
    """

    path: Path
    size_bytes: int
    again: str


def find_leftovers(folder: Path) -> list[Prunable]:
    """What interrupted commands left below a folder: temporary files, and half-deleted runs.

    Raises:
        InputError: there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder. Give a run, or a folder of runs (outputs/…).")
    found = [path for path in folder.rglob(".*") if _is_leftover(path)]
    inside = {path for path in found if any(parent in found for parent in path.parents)}
    unneeded = "nothing refers to it"
    return [Prunable(path, _size(path), unneeded) for path in sorted({*found} - inside)]


def find_failed(listed: Sequence[Listed]) -> list[Prunable]:
    """The runs that failed, and have no epoch from which anything could go on."""
    again = "its training, from the start"
    failed = (each for each in listed if each.state == "failed" and not _has_weights(each.run))
    return [Prunable(each.run.path, each.size_bytes, again) for each in failed]


def _has_weights(run: Run) -> bool:
    return any(file.exists() for file in (run.best, run.last, run.previous))


def find_quantized(listed: Sequence[Listed]) -> list[Prunable]:
    """What is made of the checkpoint of finished runs that have it: networks, fine-tunings."""
    return [
        Prunable(path, _size(path), again)
        for each in listed
        if each.state == "finished" and each.run.best.exists()
        for path, again in _made_again(each.run)
        if path.exists()
    ]


def _made_again(run: Run) -> Iterator[tuple[Path, str]]:
    """Files and folders that are made from others, with what does it."""
    for mode in quantized_modes():
        chosen = f" --mode {mode}" if MODES[mode].trained else ""
        yield run.onnx(mode), f"brainseg quantize {run.path}{chosen}"
    yield run.tuning.path, f"brainseg quantize {run.path} --mode {QAT_MODE}"
    for runtime in RUNTIMES.values():
        for mode in runtime.modes:
            yield (
                run.network(mode, runtime.name),
                (f"brainseg benchmark {run.path} --runtime {runtime.name}"),
            )


def to_table(found: Sequence[Prunable]) -> Table:
    """What can go, for a terminal."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    table.add_column("What", overflow="fold")
    table.add_column("Size", justify="right", no_wrap=True)
    table.add_column("Made again by", overflow="fold")
    for each in found:
        table.add_row(Text(str(each.path)), tell_size(each.size_bytes), Text(each.again))
    return table


def delete(prunable: Sequence[Prunable]) -> None:
    """Delete what was found.

    Raises:
        InputError: another process works on a run among them, or has trained it meanwhile.
    """
    for each in prunable:
        if each.path.name.startswith("."):
            shutil.rmtree(each.path) if each.path.is_dir() else each.path.unlink(missing_ok=True)
        elif each.path.is_dir() and not is_tuning(each.path):
            _discard(Run(each.path))
        else:
            with locked(each.path.parent):
                discard(each.path) if each.path.is_dir() else each.path.unlink(missing_ok=True)


def _discard(run: Run) -> None:
    with locked(run.path):
        if _has_weights(run):
            raise InputError(f"{run.path} was trained meanwhile. Nothing of it is deleted.")
        discard(run.path)


def _is_leftover(path: Path) -> bool:
    """Whether it is a half-deleted run, or a temporary file beside the files of one."""
    if path.is_symlink() or path.name in (".lock", ".gitkeep"):
        return False
    if path.is_dir():
        return path.name.endswith(GONE)
    # `files.replacing` names them `.<name>.<random>.<suffix>`, beside their target in a run.
    in_run = any((parent / "state.json").exists() for parent in path.parents[:2])
    return in_run and path.name.count(".") > 2 and time.time() - path.stat().st_mtime > IN_USE


def _size(path: Path) -> int:
    files = files_of(path) if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)
