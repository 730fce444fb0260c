"""A run is a directory: the one place that spells its file names (SPEC section 5)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from brainseg.errors import InputError
from brainseg.files import hash_file, is_fresh, read_json, write_json

CHECKPOINT = "checkpoint"
"""The mode name under which the checkpoint itself is scored, before any export."""

FLOAT_MODES = ("fp32", CHECKPOINT)
"""What stands for the network itself: its plain export, or the checkpoint where there is none."""

TRUTH = "truth"
"""The mode name of what is measured on the masks themselves."""


@dataclass(frozen=True)
class Run:
    """One trained network with everything that was found out about it.

    Each property is a path; whether it exists depends on how far the run has come.
    """

    path: Path

    @property
    def name(self) -> str:
        """Folder name, such as `ag-seed0-lr0.0001`."""
        return self.path.name

    @property
    def experiment(self) -> Path:
        """Folder of the experiment that the run belongs to."""
        return self.path.parent

    @property
    def state(self) -> Path:
        """Stage, status, reason, attempts, identity; written first."""
        return self.path / "state.json"

    @property
    def lock(self) -> Path:
        """Empty; held by the process that trains the run, and left there after it."""
        return self.path / ".lock"

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def environment(self) -> Path:
        """Versions, hardware, git commit, command line and the folder it was typed in."""
        return self.path / "environment.json"

    @property
    def split(self) -> Path:
        """`id,class,patient,split` of every case."""
        return self.path / "split.csv"

    @property
    def data(self) -> Path:
        """What the data are: counts, copies, leaks, and the source shortcut."""
        return self.path / "data.json"

    @property
    def leaks(self) -> Path:
        """Each test case that training or validation knows, by image or by patient."""
        return self.path / "leaks.csv"

    @property
    def best(self) -> Path:
        """Weights of the epoch with the best validation score."""
        return self.path / "checkpoints" / "best.ckpt"

    @property
    def last(self) -> Path:
        """Everything needed to resume; removed once the run is finished."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def history(self) -> Path:
        """A row per epoch."""
        return self.path / "history.csv"

    @property
    def metrics(self) -> Path:
        """Metrics of the checkpoint on the test split."""
        return self.path / "metrics.json"

    @property
    def test(self) -> Path:
        """`ids`, `images` and `masks` (N×H×W, uint8) of the test split."""
        return self.path / "test.npz"

    @property
    def val(self) -> Path:
        """The same of the validation split, where modes are calibrated and chosen."""
        return self.path / "val.npz"

    @property
    def model(self) -> Path:
        """Parameters, multiply-adds and shapes per part."""
        return self.path / "model.json"

    @property
    def deploy(self) -> Path:
        """A list of rows, one per mode, runtime, device, batch and threads."""
        return self.path / "deploy.json"

    @property
    def benchmarks(self) -> Path:
        """The timing sessions that the rows name: environment, A/A control, noise."""
        return self.path / "benchmarks.json"

    @property
    def attention(self) -> Path:
        """`ids` of some test cases, and the attention's coefficients in each part, uint8."""
        return self.path / "attention.npz"

    @property
    def figures(self) -> Path:
        """Folder of the run's own figures."""
        return self.path / "figures"

    @property
    def card(self) -> Path:
        """The model card."""
        return self.path / "card.md"

    @property
    def evaluations(self) -> Path:
        """Folder of what was found on other data sets: a folder each, with files as a run's."""
        return self.path / "evaluation"

    @property
    def evaluation(self) -> Path:
        """In such a folder: what was evaluated, on what, and what was left out."""
        return self.path / "evaluation.json"

    @property
    def wandb(self) -> Path:
        """Folder of the W&B files."""
        return self.path / "wandb"

    def onnx(self, mode: str) -> Path:
        """The exported network in `mode`."""
        return self.path / f"model.{mode}.onnx"

    def network(self, mode: str) -> Path:
        """What holds the weights of `mode`: the best checkpoint, or an exported file."""
        return self.best if mode == CHECKPOINT else self.onnx(mode)

    def quantization(self, mode: str) -> Path:
        """How the network in `mode` was made: options, calibration images, layers kept in float."""
        return self.path / f"model.{mode}.json"

    def metrics_of(self, mode: str) -> Path:
        """Metrics of `mode` on the test split; those of the checkpoint are `metrics`."""
        return self.metrics if mode == CHECKPOINT else self.path / f"metrics.{mode}.json"

    def cases(self, mode: str, part: str = "test") -> Path:
        """Per-case scores of `mode` on the `test` or `val` split."""
        return self.path / (f"cases.{mode}.csv" if part == "test" else f"cases.{part}.{mode}.csv")

    def appropriateness(self, mode: str) -> Path:
        """Place, shape and contrast of each tumour in the test split, as predicted in `mode`.

        Those of the masks themselves are under the mode `truth`.
        """
        return self.path / f"appropriateness.{mode}.csv"

    def predictions(self, mode: str) -> Path:
        """`ids` and `probabilities` (N×H×W, uint8) of `mode` on the test split."""
        return self.path / f"predictions.{mode}.npz"

    def read_state(self) -> dict[str, Any]:
        """The state, or an empty dictionary where the run never started."""
        return read_json(self.state) if self.state.exists() else {}

    def update_state(self, **changes: Any) -> None:
        """Change some entries of the state and keep the others."""
        write_json(self.state, self.read_state() | changes)

    def float_mode(self) -> str | None:
        """The first of `FLOAT_MODES` that was scored, `None` where neither was."""
        return next((mode for mode in FLOAT_MODES if self.cases(mode).exists()), None)

    def is_current(self, mode: str) -> bool:
        """Whether the file of `mode` is there, and no older than what it was made from.

        An exported network comes from the best checkpoint, a quantized one from the export too.
        """
        sources = () if mode == CHECKPOINT else (self.best, self.onnx("fp32"))
        return is_fresh(self.network(mode), *filter(Path.exists, sources))

    def is_trained(self) -> bool:
        """Whether the training has ended, so that the best checkpoint is the final one."""
        return self.read_state().get("stage") in ("deploy", "done") and self.best.exists()

    def read_config(self) -> dict[str, Any]:
        """The resolved configuration as plain dictionaries.

        Raises:
            InputError: the folder has no configuration.
        """
        if not self.config.exists():
            raise InputError(
                f"{self.path} has no {self.config.name}: it is not a finished brainseg run. Give "
                "a folder that holds one, such as outputs/demo/ag-seed0."
            )
        return yaml.safe_load(self.config.read_text(encoding="utf-8"))

    def read_environment(self) -> dict[str, Any]:
        """The environment in which the run was made."""
        return read_json(self.environment) if self.environment.exists() else {}


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


def find_runs(path: Path) -> list[Run]:
    """The run at `path`, or every run below it, in the order of their paths.

    Raises:
        InputError: the folder does not exist, or holds no run.
    """
    if not path.is_dir():
        raise InputError(f"{path} is not a folder. Give a run, or a folder of runs (outputs/…).")
    if (path / "state.json").exists():
        return [Run(path)]
    folders = (state.parent for state in sorted(path.rglob("state.json")))
    runs = [Run(folder) for folder in folders if not folder.name.startswith(".")]
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

    Scores of a network that the run no longer has are left out.
    """
    files = sorted(run.evaluations.glob("*/evaluation.json"))
    facts = {file: read_json(file) for file in files}
    found = [
        Evaluation(file.parent, _current_modes(run, file, each))
        for file, each in facts.items()
        if each["status"] == "finished"
    ]
    return [each for each in found if each.modes]


def _current_modes(run: Run, evaluation: Path, facts: Mapping[str, Any]) -> tuple[str, ...]:
    """The modes of an evaluation whose network is the run's; also where nobody can tell."""
    networks = facts.get("networks", {})

    def is_same(mode: str) -> bool:
        file = run.network(mode)
        if mode not in networks or not file.exists():
            return True
        if not run.is_current(mode):
            return False
        # What is older than the evaluation was there then: hashing it would take time.
        return is_fresh(evaluation, file) or hash_file(file) == networks[mode]

    return tuple(filter(is_same, facts["modes"]))
