"""Which runs lie below a folder, what they can be used as, and what is known of them elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainseg.content.read import is_tuning
from brainseg.errors import InputError
from brainseg.run import Run, is_changed
from brainseg.vocabulary import FLOAT_MODES, MODES, REFERENCE, USUAL_MODEL


@dataclass(frozen=True)
class Evaluation(Run):
    """The folder of what was found on another data set.

    Attributes:
        modes: that were scored, of networks that the run has as they were then.
    """

    modes: tuple[str, ...] = ()

    def float_mode(self) -> str | None:
        """As that of a run, among `modes`."""
        known = (mode for mode in FLOAT_MODES if mode in self.modes)
        return next((mode for mode in known if self.cases(mode).exists()), None)


def open_run(path: Path | str) -> Run:
    """The run in a folder.

    Raises:
        InputError: the folder is none of a run.
    """
    run = Run(Path(path))
    run.read_config()
    return run


def find_runs(path: Path) -> list[Run]:
    """The run at `path`, or every run below it, in the order of their paths.

    Raises:
        InputError: the folder does not exist, or holds no run.
    """
    if not path.is_dir():
        raise InputError(f"{path} is not a folder. Give a run, or a folder of runs (outputs/…).")
    if (path / "state.json").exists() and not is_tuning(path):
        return [Run(path)]
    folders = (state.parent for state in sorted(path.rglob("state.json")))
    runs = [Run(each) for each in folders if not (each.name.startswith(".") or is_tuning(each))]
    if not runs:
        raise InputError(f"No run below {path}: expected folders with a state.json. Train first.")
    return runs


def find_experiment(path: Path) -> list[Run]:
    """The runs of the experiment at `path`.

    Raises:
        InputError: as `find_runs`, or the folder is a run itself.
    """
    runs = find_runs(path)
    if runs[0].path == path:
        raise InputError(f"{path} is a run. Give its experiment's folder: {path.parent}")
    return runs


def find_evaluations(run: Run) -> list[Evaluation]:
    """The finished evaluations of a run on other data sets, in the order of their names.

    Scores of a network that the run no longer has are left out, and so is an evaluation of which a
    file is passed over (`Run.without`).
    """
    files = sorted(run.evaluations.glob("*/evaluation.json"))
    damaged = {folder for file in run.lost for folder in file.parents}
    folders = [file.parent for file in files if file.parent not in damaged]
    facts = {folder: Run(folder).read(folder / "evaluation.json") for folder in folders}
    found = [
        Evaluation(folder, modes=_current_modes(run, each))
        for folder, each in facts.items()
        if each["status"] == "finished"
    ]
    return [each for each in found if each.modes]


def _current_modes(run: Run, facts: Mapping[str, Any]) -> tuple[str, ...]:
    """The modes of an evaluation whose network is the run's; also where nobody can tell."""
    networks = facts.get("networks", {})

    def is_same(mode: str) -> bool:
        if mode not in networks or not run.network(mode).exists():
            return True
        return run.is_current(mode) and run.hash_network(mode) == networks[mode]

    return tuple(filter(is_same, facts["modes"]))


def variant_of(config: Mapping[str, Any]) -> str:
    """What a run is called among those it is compared with: its attention, else its model.

    A network of one's own is called `own_` and its class, in lower case.
    """
    model = config["model"]
    name = model.get("name", USUAL_MODEL)
    if target := model.get("target"):
        return f"{name}_{target.rpartition('.')[2].lower()}"
    return model.get("attention") or name


def exported_modes(run: Run) -> list[str]:
    """The modes that a run has a file of, made from its checkpoint as it is."""
    return [mode for mode in MODES if run.is_current(mode)]


def explain_missing(run: Run, mode: str) -> str:
    """Why a run cannot be used in an exported mode, and how to make it."""
    file = run.onnx(mode)
    if is_changed(file):
        why, how = f"{file} is damaged: it is not the file that was written", "Make it again"
    elif file.exists():
        why, how = (
            f"{file} was made from another checkpoint or export than the run has",
            "Make it again",
        )
    else:
        exported = ", ".join(exported_modes(run)) or "none yet"
        why, how = f"{run.path} has no {file.name} (exported: {exported})", "Make it first"
    verb, chosen = ("export", "") if mode == REFERENCE else ("quantize", f" --mode {mode}")
    return f"{why}. {how}: brainseg {verb} {run.path}{chosen}"
