"""What takes part in a benchmark: a run in a mode, in a runtime on a device."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from brainseg.benchmark.plan import TimingPlan
from brainseg.data.image import read_image
from brainseg.data.parts import read_test, spread
from brainseg.errors import InputError
from brainseg.predict.segment import segment
from brainseg.run import Run
from brainseg.runtime.open import is_installed, may_be_had, open_session, runtimes_on
from brainseg.runtime.session import Session
from brainseg.vocabulary import REFERENCE, RUNTIMES

IMAGES = 64
"""Test images, spread over the split, among which each round draws."""


@dataclass(frozen=True)
class Choice:
    """What a row is about, before it is known whether it can be had.

    Attributes:
        precision: arithmetic in which the weights of fp32 are used, if not that of the file.
    """

    run: Run
    mode: str
    runtime: str
    device: str
    threads: int
    precision: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Those of the row: how the file was made, or how it is used."""
        if self.precision:
            return {"precision": self.precision}
        return self.run.read_made(self.mode).get("options", {})

    @property
    def is_baseline(self) -> bool:
        """Whether others of the same run and runtime are compared with this one."""
        return self.mode == REFERENCE and self.precision is None

    def name(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "run": str(self.run.path),
            "mode": self.mode,
            "options": self.options,
            "runtime": self.runtime,
            "threads": self.threads,
        }


def choices(runs: Sequence[Run], plan: TimingPlan, device: str) -> list[Choice]:
    """Every run in every runtime on a device, in those of the plan's modes that it has.

    A file made from another checkpoint is left out. fp32 comes in the runtime's other precisions
    too, where there is a chance to have them.
    """
    return [
        Choice(run, mode, runtime, device, threads, precision)
        for run in runs
        for threads in plan.threads_on(device)
        for runtime in runtimes_on(device, plan.runtimes)
        for mode in plan.modes
        if run.is_current(mode)
        for precision in (None, *(_precisions(runtime, device) if mode == REFERENCE else ()))
    ]


def _precisions(runtime: str, device: str) -> tuple[str, ...]:
    return RUNTIMES[runtime].precisions.get(device, ()) if may_be_had(runtime, device) else ()


@dataclass(frozen=True)
class Variant:
    """An opened choice, with images N×1×H×W in [0, 1], and images per pass."""

    choice: Choice
    session: Session
    images: NDArray[np.float32]
    batch: int

    def __call__(self, index: int) -> None:
        """Segment the image with this index and, in a batch, those after it."""
        indices = np.arange(index, index + self.batch) % len(self.images)
        self.session.run(self.images[indices])

    def twin(self) -> "Variant":
        """The same in a session of its own: an A/A control."""
        return replace(self, session=_open(self.choice, self.batch))


@dataclass(frozen=True)
class FromFiles:
    """A variant as it is used: from an image file to a mask at the file's own size."""

    session: Session
    files: Sequence[Path]

    def __call__(self, index: int) -> NDArray[np.bool_]:
        """Read and segment the file with this index."""
        image = read_image(self.files[index % len(self.files)])
        return segment(self.session, image[None])[0] >= 0.5


@dataclass(frozen=True)
class OnDevice:
    """A variant whose images are on the GPU already, and whose masks stay there."""

    session: Session

    def __call__(self, index: int) -> None:
        """Run the images that were there last, whatever the index."""
        assert self.session.run_on_device is not None
        self.session.run_on_device()


def open_variant(choice: Choice, images: NDArray[np.float32], batch: int) -> Variant:
    """The variant after its first pass.

    Raises:
        Unavailable: the runtime or device is not there.
        Exception: the file cannot be run; each runtime has its own kind of error.
    """
    variant = Variant(choice, _open(choice, batch), images, batch)
    variant(0)
    return variant


def spread_images(run: Run) -> NDArray[np.uint8]:
    """Up to `IMAGES` test images of a run, N×H×W, from all over the split.

    Raises:
        InputError: the run has no test images.
    """
    images = read_test(run)["images"]
    return images[spread(len(images), IMAGES)]


def write_images(images: NDArray[np.uint8], folder: Path) -> list[Path]:
    """Write images N×H×W as PNG files into a new folder."""
    folder.mkdir()
    files = [folder / f"{index}.png" for index in range(len(images))]
    for image, file in zip(images, files, strict=True):
        Image.fromarray(image).save(file)
    return files


def _open(choice: Choice, batch: int) -> Session:
    run, mode, runtime = choice.run, choice.mode, choice.runtime
    modes, path = RUNTIMES[runtime].modes, run.network(mode, runtime)
    if modes and mode not in modes:
        raise InputError(f"brainseg has no {mode} for {runtime}, only {' and '.join(modes)}.")
    if modes and is_installed(runtime) and not run.is_converted(mode, runtime):
        raise InputError(
            f"{path} is missing, or not made from the network as it is: it was not converted."
        )
    return open_session(path, choice.device, choice.threads, runtime, choice.precision, batch=batch)
