"""What a path on the command line stands for: a run in some modes, or ONNX files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from brainseg.deploy.quantize import MODES
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


def find_models(paths: Sequence[Path], modes: Sequence[str] | None = None) -> list[Model]:
    """What some paths stand for; files of one run are one model.

    Args:
        paths: runs, and ONNX files that brainseg exported.
        modes: of the runs, `checkpoint` among them; `None`: the checkpoint, and all that were made.

    Raises:
        InputError: a path is neither, a run lacks one of the modes, or modes of files are chosen.
    """
    models = [_find_run(path, modes) for path in paths if path.suffix != ".onnx"]
    files = [path for path in paths if path.suffix == ".onnx"]
    if files and modes is not None:
        raise InputError("--mode chooses among the modes of a run; an ONNX file has its own.")
    owned: dict[Path, Model] = {}
    for path in files:
        model = _find_file(path)
        if model.run and model.run.path in owned:
            before = owned[model.run.path]
            model = replace(before, files={**before.files, **model.files})
        owned[model.run.path if model.run else path] = model
    return [*models, *owned.values()]


def _find_file(path: Path) -> Model:
    session = open_session(path)
    owner = Run(path.parent)
    mode = session.metadata.get("mode", path.stem.removeprefix("model."))
    run = owner if owner.state.exists() else None
    return Model(run, {mode: path}, False, session.image_size, str(path))


def _find_run(path: Path, modes: Sequence[str] | None) -> Model:
    run = Run(path)
    size = run.read_config()["data"]["image_size"]
    made = [mode for mode in ("fp32", *MODES) if run.onnx(mode).exists()]
    wanted = [CHECKPOINT, *made] if modes is None else list(modes)
    for mode in wanted:
        if mode not in (CHECKPOINT, *made):
            raise InputError(
                f"{path} has no {run.onnx(mode).name} (exported: {', '.join(made) or 'none yet'}). "
                f"Make it first: brainseg quantize {path} --mode all"
            )
    if CHECKPOINT in wanted and not run.best.exists():
        raise InputError(f"{path} has no {run.best.name}: train it first, or to its end.")
    files = {mode: run.onnx(mode) for mode in wanted if mode != CHECKPOINT}
    return Model(run, files, CHECKPOINT in wanted, size, str(path))
