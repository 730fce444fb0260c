"""An exported network for notebooks: arrays in, arrays out."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainseg.errors import InputError, check_known
from brainseg.experiment import explain_missing
from brainseg.predict.segment import segment
from brainseg.run import Run
from brainseg.runtime.open import open_session
from brainseg.runtime.session import Session
from brainseg.vocabulary import MODES, REFERENCE, REFERENCE_RUNTIME


@dataclass(frozen=True)
class Predictor:
    """An exported network, opened in a runtime."""

    session: Session

    def predict(self, image: NDArray) -> NDArray[np.float32]:
        """Tumour probabilities of a grey image, at its own size.

        Args:
            image: H×W; integers in 0..255, or floats in [0, 1], which are rounded to such integers.

        Returns:
            H×W, float32 in [0, 1].

        Raises:
            InputError: the image has other dimensions or values.
        """
        pixels = np.asarray(image)
        is_float = np.issubdtype(pixels.dtype, np.floating)
        scaled = np.rint(pixels * 255.0) if is_float else pixels
        is_bool = pixels.dtype == bool
        if (
            is_bool
            or pixels.ndim != 2
            or not pixels.size
            or not ((scaled >= 0) & (scaled <= 255)).all()
        ):
            raise InputError(
                f"An image of shape {pixels.shape} and type {pixels.dtype} cannot be used. "
                "Expected H×W: integers in 0..255, or floats in [0, 1]."
            )
        return segment(self.session, scaled.astype(np.uint8)[None])[0]


def load(
    path: Path | str,
    mode: str = REFERENCE,
    *,
    device: str = "cpu",
    runtime: str = REFERENCE_RUNTIME,
    threads: int | None = None,
) -> Predictor:
    """Open an exported network.

    Args:
        path: an ONNX file of brainseg, or the folder of a run.
        mode: which of the run's networks; a file is what it is.
        device: one of `vocabulary.DEVICES`.
        runtime: a key of `vocabulary.RUNTIMES`.
        threads: of the CPU; the physical cores where it is `None`.

    Raises:
        Unavailable: the runtime or device is not there.
        InputError: the file is missing or damaged, or something has another name.
    """
    path, run = Path(path), Run(Path(path))
    check_known("mode", [mode], MODES)
    if path.is_dir() and run.onnx(mode).exists() and not run.is_current(mode):
        raise InputError(explain_missing(run, mode))
    file = run.onnx(mode) if path.is_dir() else path
    return Predictor(open_session(file, device, threads, runtime))
