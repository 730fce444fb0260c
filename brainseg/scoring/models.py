"""What a path on the command line stands for: a run in some modes, or ONNX files."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from brainseg.errors import InputError, check_known
from brainseg.experiment import explain_missing, exported_modes
from brainseg.files import hash_file
from brainseg.run import Run
from brainseg.runtime.open import open_session
from brainseg.vocabulary import CHECKPOINT, MODES, rank, with_reference

logger = logging.getLogger(__name__)


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
        if mode in self.files:
            return hash_file(self.files[mode])
        return self.run.hash_network(mode) if self.run else None


def in_order(modes: Iterable[str]) -> list[str]:
    """Modes in the order in which they are made: the checkpoint, its export, what follows."""
    return sorted(modes, key=lambda mode: rank(mode, [CHECKPOINT, *MODES]))


def find_models(paths: Sequence[Path], modes: Sequence[str] | None = None) -> list[Model]:
    """What some paths stand for; files of one run are one model.

    Args:
        paths: runs, and ONNX files that brainseg exported.
        modes: of the runs, `checkpoint` among them; `None`: the checkpoint, and all that were made
            of it as it is now.

    Raises:
        InputError: a path is neither, there is no such mode, a run lacks one of the modes or has it
            of another network, or modes of files are chosen.
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


def find_all_models(
    paths: Sequence[Path], modes: Sequence[str] | None = None
) -> tuple[list[Model], dict[str, str]]:
    """As `find_models`, where a run that cannot be evaluated does not stop the others.

    Returns:
        The models, and by path why others are none.

    Raises:
        InputError: there is no model.
    """
    runs = [path for path in paths if path.suffix != ".onnx"]
    files = [path for path in paths if path not in runs]
    models, failed = find_models(files, modes), dict[str, str]()
    for path in runs:
        try:
            models += find_models([path], modes)
        except InputError as error:
            failed[str(path)] = str(error)
    if not models:
        raise InputError("\n".join(dict.fromkeys(failed.values())))
    return models, failed


def find_file(path: Path, mode: str) -> Path:
    """The ONNX file that `path` stands for: itself, or a run's `model.<mode>.onnx`.

    Raises:
        InputError: `path` is neither, there is no such mode, or the run has not been exported in it
            as it is now.
    """
    if path.is_file() and path.suffix == ".onnx":
        return path
    check_known("mode", [mode], MODES)
    run = Run(path)
    if not run.state.exists():
        raise InputError(
            f"{path} is neither a run nor an ONNX file. Give a folder such as outputs/demo/ag-seed0"
            ", or a file such as model.fp32.onnx."
        )
    return _file_of(run, mode)


def choose_modes(runs: Sequence[Run], modes: Sequence[str] | None = None) -> list[str]:
    """The exported modes of runs, fp32 first.

    Args:
        runs: of which one at least must have each mode.
        modes: to choose; `None`: all that one of them has.

    Raises:
        InputError: there is no such mode, or no run has it; it says how to make it.
    """
    had = in_order({mode for run in runs for mode in exported_modes(run)})
    chosen = with_reference(had if modes is None else modes)
    check_known("mode", chosen, MODES)
    for mode in chosen:
        if mode not in had:
            raise InputError(explain_missing(runs[0], mode))
    return chosen


def _model_of_file(path: Path) -> Model:
    session = open_session(path)
    owner = Run(path.parent)
    mode = session.metadata.get("mode", path.stem.removeprefix("model."))
    run = owner if owner.state.exists() else None
    if run and path.name == run.onnx(mode).name:
        _file_of(run, mode)
    return Model(run, {mode: path}, False, session.image_size, str(path))


def _model_of_run(path: Path, modes: Sequence[str] | None) -> Model:
    run = Run(path)
    size = run.read_config()["data"]["image_size"]
    if modes is None:
        wanted = [CHECKPOINT, *exported_modes(run)]
        for mode in MODES:
            if run.onnx(mode).exists() and mode not in wanted:
                logger.warning("Left out: %s", explain_missing(run, mode))
    else:
        check_known("mode", modes, [CHECKPOINT, *MODES])
        wanted = list(modes)
    files = {mode: _file_of(run, mode) for mode in wanted if mode != CHECKPOINT}
    if CHECKPOINT in wanted and not run.has_checkpoint():
        why = f"{run.best} is missing or damaged; only another training (force=true) makes it again"
        if not files or modes is not None:
            raise InputError(f"{why}.")
        logger.warning("Left out: %s.", why)
        wanted.remove(CHECKPOINT)
    return Model(run, files, CHECKPOINT in wanted, size, str(path))


def _file_of(run: Run, mode: str) -> Path:
    if not run.is_current(mode):
        raise InputError(explain_missing(run, mode))
    return run.onnx(mode)
