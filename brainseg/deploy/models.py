"""What a path on the command line stands for: a run in some modes, or ONNX files."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from brainseg.deploy.quantize import MODES
from brainseg.deploy.rows import REFERENCE
from brainseg.deploy.session import open_session
from brainseg.errors import InputError
from brainseg.run import CHECKPOINT, Run


@dataclass(frozen=True)
class Model:
    """What is evaluated.

    Attributes:
        run: that it belongs to, `None` for a file from elsewhere.
        files: the ONNX file of each mode.
        checkpoint: whether the run's checkpoint is evaluated too.
        size: height and width that it takes, pixels.
        name: as it was typed.
    """

    run: Run | None
    files: Mapping[str, Path]
    checkpoint: bool
    size: int
    name: str

    @property
    def modes(self) -> list[str]:
        """What is evaluated of it, in the usual order."""
        return in_order([*([CHECKPOINT] if self.checkpoint else []), *self.files])

    def hash_network(self, mode: str) -> str | None:
        """SHA-256 of its network in any mode, `None` where there is none."""
        file = self.files.get(mode)
        if file is None and self.run:
            file = self.run.best if mode == CHECKPOINT else self.run.onnx(mode)
        if file is None or not file.exists():
            return None
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()


def in_order(modes: Iterable[str]) -> list[str]:
    """Modes in the order in which they are made: the checkpoint, its export, what follows."""
    usual = [CHECKPOINT, REFERENCE, *MODES]
    return sorted(modes, key=lambda mode: usual.index(mode) if mode in usual else len(usual))


def find_models(paths: Sequence[Path], modes: Sequence[str] | None = None) -> list[Model]:
    """What some paths stand for; files of one run are one model.

    Args:
        paths: runs, and ONNX files that brainseg exported.
        modes: of the runs, `checkpoint` among them; `None`: the checkpoint, and all that were made.

    Raises:
        InputError: a path is neither, a run lacks one of the modes, or modes of files are chosen.
    """
    models = [_model_of_run(path, modes) for path in paths if path.suffix != ".onnx"]
    files = [path for path in paths if path.suffix == ".onnx"]
    if files and modes is not None:
        raise InputError("--mode chooses among the modes of a run; an ONNX file has its own.")
    owned: dict[Path, Model] = {}
    for path in files:
        model = _model_of_file(path)
        if model.run and model.run.path in owned:
            before = owned[model.run.path]
            model = replace(before, files={**before.files, **model.files})
        owned[model.run.path if model.run else path] = model
    return [*models, *owned.values()]


def find_file(path: Path, mode: str) -> Path:
    """The ONNX file that `path` stands for: itself, or a run's `model.<mode>.onnx`.

    Raises:
        InputError: `path` is neither, or the run has not been exported in `mode`.
    """
    if path.is_file() and path.suffix == ".onnx":
        return path
    run = Run(path)
    if not run.state.exists():
        raise InputError(
            f"{path} is neither a run nor an ONNX file. Give a folder such as outputs/demo/ag-seed0"
            ", or a file such as model.fp32.onnx."
        )
    return _file_of(run, mode)


def _model_of_file(path: Path) -> Model:
    session = open_session(path)
    owner = Run(path.parent)
    mode = session.metadata.get("mode", path.stem.removeprefix("model."))
    run = owner if owner.state.exists() else None
    return Model(run, {mode: path}, False, session.image_size, str(path))


def _model_of_run(path: Path, modes: Sequence[str] | None) -> Model:
    run = Run(path)
    size = run.read_config()["data"]["image_size"]
    wanted = [CHECKPOINT, *_exported(run)] if modes is None else modes
    files = {mode: _file_of(run, mode) for mode in wanted if mode != CHECKPOINT}
    if CHECKPOINT in wanted and not run.best.exists():
        raise InputError(f"{path} has no {run.best.name}: train it first, or to its end.")
    return Model(run, files, CHECKPOINT in wanted, size, str(path))


def _exported(run: Run) -> list[str]:
    return [mode for mode in (REFERENCE, *MODES) if run.onnx(mode).exists()]


def _file_of(run: Run, mode: str) -> Path:
    if not run.onnx(mode).exists():
        command = "export" if mode == REFERENCE else "quantize"
        chosen = "" if mode == REFERENCE else f" --mode {mode}"
        raise InputError(
            f"{run.path} has no {run.onnx(mode).name} (exported: "
            f"{', '.join(_exported(run)) or 'none yet'}). Make it first: "
            f"brainseg {command} {run.path}{chosen}"
        )
    return run.onnx(mode)
