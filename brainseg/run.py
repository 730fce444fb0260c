"""A run is a directory: the one place that spells its file names (SPEC section 5)."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from brainseg.errors import InputError
from brainseg.files import hash_file, read_json, write_json
from brainseg.vocabulary import CHECKPOINT, FLOAT_MODES, REFERENCE

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's is seven times as fast, and a report reads each configuration many times."""


class Stage(StrEnum):
    """How far a run has come; only `training/job.py` advances it."""

    data = "data"
    train = "train"
    deploy = "deploy"
    done = "done"


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
    def previous(self) -> Path:
        """`last` as it was an epoch before, should that be damaged; removed with it."""
        return self.path / "checkpoints" / "previous.ckpt"

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

    def made(self, mode: str) -> Path:
        """How the network in `mode` was made: from what, options, calibration images, ….

        See `read_made`.
        """
        return self.path / f"model.{mode}.json"

    def metrics_of(self, mode: str) -> Path:
        """Metrics of `mode` on the test split; those of the checkpoint are `metrics`."""
        return self.metrics if mode == CHECKPOINT else self.path / f"metrics.{mode}.json"

    @property
    def scored(self) -> Path:
        """Which network each set of scores is of, and where it was computed: `scoring.kept`."""
        return self.path / "scored.json"

    def cases(self, mode: str, part: str = "test", place: str | None = None) -> Path:
        """Per-case scores of `mode` on the `test` or `val` split.

        Args:
            mode: of the network.
            part: of the split.
            place: where it ran, as `place_name` gives it; `None` is where it was scored first, of
                which `predictions` and `metrics_of` are, too.
        """
        name = f"cases.{mode}.csv" if part == "test" else f"cases.{part}.{mode}.csv"
        return self.path / name if place is None else self.path / "scores" / place / name

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

    def hash_network(self, mode: str) -> str | None:
        """SHA-256 of the network in `mode`, `None` where there is none."""
        file = self.network(mode)
        return hash_file(file) if file.exists() else None

    def is_current(self, mode: str) -> bool:
        """Whether the network in `mode` is there, and was made from the checkpoint that is there.

        Files are told by their content: copies and newer dates change nothing. A file of a brainseg
        that did not record what it was made from is taken as it is.
        """
        if mode == CHECKPOINT or not self.onnx(mode).exists():
            return self.network(mode).exists()
        made = self.read_made(mode)
        if "network" not in made and "network" in self.read_made(REFERENCE):
            return False  # its making was interrupted
        sources = {"checkpoint": CHECKPOINT, "export": REFERENCE, "network": mode}
        return all(
            made[name] == self.hash_network(source)
            for name, source in sources.items()
            if name in made and self.network(source).exists()
        )

    def read_made(self, mode: str) -> dict[str, Any]:
        """How the network in `mode` was made, empty where nothing is recorded.

        `network`, `checkpoint` and `export` are the SHA-256 of the file itself, and of those that
        it was made from.
        """
        return read_json(self.made(mode)) if self.made(mode).exists() else {}

    def note_made(self, mode: str, **facts: Any) -> None:
        """Record how the network in `mode` was made, and from what, as `read_made` gives it."""
        sources = {"network": mode, "checkpoint": CHECKPOINT, "export": REFERENCE}
        if mode == REFERENCE:
            del sources["export"]
        hashes = {name: self.hash_network(source) for name, source in sources.items()}
        write_json(self.made(mode), {"mode": mode, **facts, **hashes})

    @property
    def stage(self) -> Stage:
        """How far it has come."""
        return Stage(self.read_state().get("stage", Stage.data))

    def is_trained(self) -> bool:
        """Whether the training has ended, so that the best checkpoint is the final one."""
        return self.stage in (Stage.deploy, Stage.done) and self.best.exists()

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
        return yaml.load(self.config.read_text(encoding="utf-8"), _Loader)

    def read_environment(self) -> dict[str, Any]:
        """The environment in which the run was made."""
        return read_json(self.environment) if self.environment.exists() else {}


SCORED = ("val", "test")
"""The parts of a split on which modes are scored."""


def place_name(runtime: str, device: str, precision: str | None = None) -> str:
    """The name of a place in which a mode is scored, such as `onnxruntime-cuda-tf32`."""
    return "-".join(filter(None, [runtime, device, precision]))
