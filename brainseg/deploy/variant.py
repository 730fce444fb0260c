"""What takes part in a benchmark: a run in a mode, opened on a device."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from brainseg.deploy.session import Session, Unavailable, open_session
from brainseg.deploy.testset import read_test, to_input
from brainseg.run import Run

IMAGES = 64
"""Test images, spread over the split, among which each round draws."""


@dataclass(frozen=True)
class Variant:
    """A run in a mode with its session, images N×1×H×W in [0, 1], and images per pass."""

    run: Run
    mode: str
    session: Session
    images: NDArray[np.float32]
    batch: int

    def __call__(self, index: int) -> None:
        """Segment the image with this index and, in a batch, those after it."""
        indices = np.arange(index, index + self.batch) % len(self.images)
        self.session.run(self.images[indices])

    def twin(self) -> "Variant":
        """The same in a session of its own: an A/A control."""
        path, device = self.run.onnx(self.mode), self.session.device
        return replace(self, session=open_session(path, device, self.session.threads))


def open_variant(run: Run, mode: str, device: str, threads: int, batch: int) -> Variant | str:
    """The variant after its first pass, or why its file cannot be run.

    Raises:
        Unavailable: the device is not there, for no file.
        InputError: the run has no test images.
    """
    images = read_test(run)["images"]
    spread = to_input(images[:: max(1, len(images) // IMAGES)][:IMAGES])
    try:
        session = open_session(run.onnx(mode), device, threads)
        variant = Variant(run, mode, session, spread, batch)
        variant(0)
    except Unavailable:
        raise
    except Exception as error:  # onnxruntime's errors have no base class of their own
        return str(error)
    return variant
