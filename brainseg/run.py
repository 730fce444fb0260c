"""A run is a directory: the one place that spells its file names (SPEC section 5)."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from brainseg.content.read import kind_of, read_content, remedy
from brainseg.errors import DamagedFile, InputError
from brainseg.files import hash_file, is_whole, write_json
from brainseg.vocabulary import (
    CHECKPOINT,
    FLOAT_MODES,
    MODES,
    REFERENCE,
    REFERENCE_RUNTIME,
    RUNTIMES,
    TUNING,
)

INTERRUPTED = "interrupted"
"""The reason in the state of a run that was stopped, by a signal or with its process."""


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

    Attributes:
        path: its folder.
        lost: damaged files that are passed over (`without`): their properties name no file.
    """

    path: Path
    lost: frozenset[Path] = frozenset()

    def _file(self, name: str) -> Path:
        file = self.path / name
        return self.path / ".lost" / name if file in self.lost else file

    def without(self, damaged: Iterable[Path]) -> Self:
        """The run as it is seen where some of its files are taken as missing."""
        return replace(self, lost=self.lost | {*damaged})

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
        return self._file("state.json")

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self._file("config.yaml")

    @property
    def environment(self) -> Path:
        """Versions, hardware, git commit, command line and the folder it was typed in."""
        return self._file("environment.json")

    @property
    def split(self) -> Path:
        """`id,class,patient,split` of every case."""
        return self._file("split.csv")

    @property
    def data(self) -> Path:
        """What the data are: counts, copies, leaks, and the source shortcut."""
        return self._file("data.json")

    @property
    def leaks(self) -> Path:
        """Each test case that training or validation knows, by image or by patient."""
        return self._file("leaks.csv")

    @property
    def best(self) -> Path:
        """Weights of the epoch with the best validation score."""
        return self._file("checkpoints/best.ckpt")

    @property
    def last(self) -> Path:
        """Everything needed to resume; removed once the run is finished."""
        return self._file("checkpoints/last.ckpt")

    @property
    def previous(self) -> Path:
        """`last` as it was an epoch before, should that be damaged; removed with it."""
        return self.path / "checkpoints" / "previous.ckpt"

    @property
    def history(self) -> Path:
        """A row per epoch."""
        return self._file("history.csv")

    @property
    def metrics(self) -> Path:
        """Metrics of the checkpoint on the test split."""
        return self._file("metrics.json")

    @property
    def test(self) -> Path:
        """`ids`, `images` and `masks` (N×H×W, uint8) of the test split."""
        return self._file("test.npz")

    @property
    def val(self) -> Path:
        """The same of the validation split, where modes are calibrated and chosen."""
        return self._file("val.npz")

    @property
    def model(self) -> Path:
        """Parameters, multiply-adds and shapes per part."""
        return self._file("model.json")

    @property
    def deploy(self) -> Path:
        """A list of rows, one per mode, runtime, device, batch and threads."""
        return self._file("deploy.json")

    @property
    def benchmarks(self) -> Path:
        """The timing sessions that the rows name: environment, A/A control, noise."""
        return self._file("benchmarks.json")

    @property
    def attention(self) -> Path:
        """`ids` of some test cases, and the attention's coefficients in each part, uint8."""
        return self._file("attention.npz")

    @property
    def figures(self) -> Path:
        """Folder of the run's own figures."""
        return self._file("figures")

    @property
    def card(self) -> Path:
        """The model card."""
        return self._file("card.md")

    @property
    def evaluations(self) -> Path:
        """Folder of what was found on other data sets: a folder each, with files as a run's."""
        return self._file("evaluation")

    @property
    def evaluation(self) -> Path:
        """In such a folder: what was evaluated, on what, and what was left out."""
        return self._file("evaluation.json")

    @property
    def tuning(self) -> Self:
        """The fine-tuning for `int8_qat`, in a folder of its own with a run's state and history.

        Its `best` are the weights of the last epoch: none was chosen.
        """
        return replace(self, path=self.path / TUNING)

    @property
    def ranges(self) -> Path:
        """In such a folder: the range of every activation."""
        return self._file("ranges.json")

    @property
    def wandb(self) -> Path:
        """Folder of the W&B files."""
        return self._file("wandb")

    @property
    def robustness(self) -> Path:
        """What is lost with weights of fewer bits: `deploy.robustness`."""
        return self._file("robustness.json")

    def onnx(self, mode: str) -> Path:
        """The exported network in `mode`."""
        return self._file(f"model.{mode}.onnx")

    def network(self, mode: str, runtime: str = REFERENCE_RUNTIME) -> Path:
        """What holds the weights of `mode`: the best checkpoint, or what a runtime takes."""
        if mode == CHECKPOINT:
            return self.best
        return self._file(f"model.{mode}{RUNTIMES[runtime].suffix}")

    def made(self, mode: str, runtime: str = REFERENCE_RUNTIME) -> Path:
        """How the network in `mode` was made: from what, options, calibration images, ….

        See `read_made`.
        """
        return self._file(record_of(self.network(mode, runtime)).name)

    def metrics_of(self, mode: str) -> Path:
        """Metrics of `mode` on the test split; those of the checkpoint are `metrics`."""
        return self.metrics if mode == CHECKPOINT else self._file(f"metrics.{mode}.json")

    @property
    def scored(self) -> Path:
        """Which network each set of scores is of, and where it was computed: `scoring.kept`."""
        return self._file("scored.json")

    def cases(self, mode: str, part: str = "test", place: str | None = None) -> Path:
        """Per-case scores of `mode` on the `test` or `val` split.

        Args:
            mode: of the network.
            part: of the split.
            place: where it ran, as `place_name` gives it; `None` is where it was scored first, of
                which `metrics_of` is, too.
        """
        name = f"cases.{mode}.csv" if part == "test" else f"cases.{part}.{mode}.csv"
        return self._scores(name, place)

    def _scores(self, name: str, place: str | None) -> Path:
        return self._file(name if place is None else f"scores/{place}/{name}")

    def appropriateness(self, mode: str) -> Path:
        """Place, shape and contrast of each tumour in the test split, as predicted in `mode`.

        Those of the masks themselves are under the mode `truth`.
        """
        return self._file(f"appropriateness.{mode}.csv")

    def predictions(self, mode: str, place: str | None = None) -> Path:
        """`ids` and `probabilities` (N×H×W, uint8) of `mode` on the test split, as `cases`."""
        return self._scores(f"predictions.{mode}.npz", place)

    def validation(self, mode: str) -> Path:
        """How thresholds and test-time augmentation do on the validation slices."""
        return self._file(f"validation.{mode}.json")

    def read(self, file: Path) -> Any:
        """What one of the run's files holds, as `content.read.KINDS` describes it.

        Raises:
            DamagedFile: it is not what was written; the message names what makes it again.
            InputError: it is missing.
        """
        content = read_content(file)
        self._check_hash(file)
        return content

    def find_damage(self) -> dict[Path, str]:
        """Each damaged file, of evaluations too, with what is wrong and what makes it again.

        Checkpoints and networks, which are large, are checked where they are opened.
        """
        found = {}
        for file in sorted(self.path.rglob("[!.]*")):
            if kind_of(file) is None or {self.wandb, self.figures} & {*file.parents}:
                continue
            apart = {self.evaluations, self.tuning.path} & {*file.parents}
            owner = Run(file.parent) if apart else self
            try:
                # what has the known content has the right shape, and is not read
                if not owner._check_hash(file):
                    read_content(file)
            except InputError as error:
                found[file] = str(error)
        return found

    def _check_hash(self, file: Path) -> bool:
        """Refuse a file that has changed since it was written; `False` where nobody can tell."""
        noted = (self.state, self.scored, self.evaluation)
        for record in (each for each in noted if each.exists() and each != file):
            known = _hashes_in(record, record.stat().st_mtime_ns)
            if expected := known.get(file.relative_to(self.path).as_posix()):
                if hash_file(file) != expected:
                    raise DamagedFile(file, "its content is not what was written", remedy(file))
                return True
        return False

    def hash_files(self, files: Iterable[Path]) -> dict[str, str]:
        """SHA-256 of those files that there are, by name, as `files` of a record holds it.

        Records are `state.json` (of what training leaves), `scored.json` and `evaluation.json`.
        """
        there = [file for file in files if file.exists()]
        return {file.relative_to(self.path).as_posix(): hash_file(file) for file in there}

    def hash_trained(self) -> dict[str, str]:
        """`hash_files` of what training leaves and nothing later changes.

        The configuration is none of it: people correct paths in it.
        """
        tables = (self.split, self.leaks, self.data, self.history)
        return self.hash_files([self.environment, *tables, self.val, self.test])

    def read_state(self) -> dict[str, Any]:
        """The state, or an empty dictionary where the run never started."""
        return self.read(self.state) if self.state.exists() else {}

    def update_state(self, **changes: Any) -> None:
        """Change some entries of the state and keep the others."""
        write_json(self.state, self.read_state() | changes)

    def float_mode(self) -> str | None:
        """The first of `FLOAT_MODES` that was scored, `None` where neither was."""
        return next((mode for mode in FLOAT_MODES if self.cases(mode).exists()), None)

    def hash_network(self, mode: str, runtime: str = REFERENCE_RUNTIME) -> str | None:
        """SHA-256 of the network in `mode`, as a runtime takes it; `None` where there is none."""
        file = self.network(mode, runtime)
        return hash_file(file) if file.exists() else None

    def is_current(self, mode: str) -> bool:
        """Whether the network in `mode` is there, and was made from the checkpoint that is there.

        Files are told by their content: copies and newer dates change nothing. A file of a brainseg
        that did not record what it was made from is taken as it is.
        """
        if mode == CHECKPOINT or not self.onnx(mode).exists():
            return self.network(mode).exists()
        made = self.read_made(mode)
        if "network" not in made and self.is_recorded():
            return False  # its making was interrupted, or its record is lost
        sources = {"checkpoint": CHECKPOINT, "export": REFERENCE, "network": mode}
        return all(
            made[name] == self.hash_network(source)
            for name, source in sources.items()
            if name in made and self._tells(source)
        )

    def is_converted(self, mode: str, runtime: str) -> bool:
        """Whether a runtime's own file of `mode` is there, converted from the export as it is."""
        made = self.read_made(mode, runtime)
        sources = {
            "network": self.hash_network(mode, runtime),
            "export": self.hash_network(REFERENCE),
        }
        return all(made.get(name) == known is not None for name, known in sources.items())

    def is_recorded(self) -> bool:
        """Whether it is known of any of its exported networks what it was made from."""
        return any("network" in self.read_made(mode) for mode in MODES)

    def _tells(self, source: str) -> bool:
        """Whether a network that others were made from is there; a damaged one tells nothing."""
        return self.has_checkpoint() if source == CHECKPOINT else self.network(source).exists()

    def has_checkpoint(self) -> bool:
        """Whether the best checkpoint is there and whole; what was exported serves without it."""
        return self.best.exists() and is_whole(self.best)

    def read_made(self, mode: str, runtime: str = REFERENCE_RUNTIME) -> dict[str, Any]:
        """How the network in `mode` was made, empty where nothing is recorded.

        `network`, `checkpoint` and `export` are the SHA-256 of the file itself, and of those that
        it was made from.
        """
        record = self.made(mode, runtime)
        return self.read(record) if record.exists() else {}

    def note_made(self, mode: str, runtime: str = REFERENCE_RUNTIME, **facts: Any) -> None:
        """Record how the network in `mode` was made, and from what, as `read_made` gives it."""
        sources = {"checkpoint": CHECKPOINT, "export": REFERENCE}
        if self.network(mode, runtime) == self.network(REFERENCE):
            del sources["export"]
        hashes = {name: self.hash_network(source) for name, source in sources.items()}
        own = {"network": self.hash_network(mode, runtime)}
        write_json(self.made(mode, runtime), {"mode": mode, **facts, **own, **hashes})

    @property
    def stage(self) -> Stage:
        """How far it has come."""
        return Stage(self.read_state().get("stage", Stage.data))

    def is_trained(self) -> bool:
        """Whether the training has ended, and left a network: the checkpoint or its export."""
        networks = (self.best, self.onnx(REFERENCE))
        return self.stage in (Stage.deploy, Stage.done) and any(each.exists() for each in networks)

    def read_config(self) -> dict[str, Any]:
        """The resolved configuration as plain dictionaries.

        Raises:
            InputError: the folder has no configuration, or a damaged one.
        """
        if not self.config.exists():
            raise InputError(
                f"{self.path} has no {self.config.name}: it is not a finished brainseg run. Give "
                "a folder that holds one, such as outputs/demo/ag-seed0."
            )
        return self.read(self.config)

    def read_environment(self) -> dict[str, Any]:
        """The environment in which the run was made."""
        return self.read(self.environment) if self.environment.exists() else {}


@lru_cache(maxsize=256)
def _hashes_in(record: Path, changed: int) -> dict[str, str]:
    """The hashes of files that a record holds, in itself or in its entries."""
    noted: dict[str, Any] = {}
    with suppress(InputError):  # who needs the record itself is told
        noted = read_content(record)
    entries = [noted, *(entry for entry in noted.values() if isinstance(entry, dict))]
    return {name: known for entry in entries for name, known in entry.get("files", {}).items()}


def record_of(network: Path) -> Path:
    """What tells how an exported file was made: `model.fp32.json`, `model.fp32.tflite.json`."""
    suffix = "" if network.suffix == RUNTIMES[REFERENCE_RUNTIME].suffix else network.suffix
    return network.with_suffix(f"{suffix}.json")


def is_changed(network: Path) -> bool:
    """Whether an exported file is another than the one that was written, as far as is known.

    Raises:
        DamagedFile: what is known of it is damaged itself.
    """
    record = record_of(network)
    if not (record.exists() and network.exists()) or kind_of(record) is None:
        return False
    expected = read_content(record).get("network")
    return expected is not None and expected != hash_file(network)


SCORED = ("val", "test")
"""The parts of a split on which modes are scored."""


def place_name(runtime: str, device: str, precision: str | None = None) -> str:
    """The name of a place in which a mode is scored, such as `onnxruntime-cuda-tf32`."""
    return "-".join(filter(None, [runtime, device, precision]))


def runtime_of(place: str) -> str:
    """The runtime in the name of a place."""
    named = (name for name in RUNTIMES if place.startswith(f"{name}-"))
    return max(named, key=len, default=REFERENCE_RUNTIME)
