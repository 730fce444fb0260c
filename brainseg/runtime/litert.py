"""The one place that imports LiteRT, which was TensorFlow Lite: Google's runtime, here on CPUs."""

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainseg.errors import InputError
from brainseg.runtime.session import Session, Unavailable, damaged
from brainseg.runtime.trust import require_file
from brainseg.terminal import silenced

try:
    from ai_edge_litert import __version__ as version
    from ai_edge_litert.interpreter import Interpreter
except ImportError:  # an optional extra
    Interpreter = None

RUNTIME = "litert"


def open_litert(
    path: Path, device: str, threads: int, precision: str | None, batch: int
) -> Session:
    """Open a `.tflite` file in LiteRT, with XNNPACK's kernels. See `open_session`.

    It takes one image a pass: more are passed one after the other.

    Raises:
        Unavailable: LiteRT is not installed, or the device is not `cpu`.
        InputError: the file is missing or damaged, or there is no such precision.
    """
    if Interpreter is None:
        raise Unavailable("LiteRT is not installed. Install it: make litert")
    if device != "cpu":
        raise Unavailable(f"LiteRT runs on the CPU only here, not on {device}.")
    if precision is not None:
        raise InputError(f"LiteRT has no precision {precision} on {device}.")
    require_file(path)
    start = time.perf_counter()
    try:
        with silenced():  # it tells standard error of its delegates
            network = _Network(path, threads)
    except (ValueError, RuntimeError) as error:
        raise damaged(path, error) from error
    return Session(
        path=path,
        runtime=RUNTIME,
        device=device,
        threads=threads,
        precision=None,
        got={"version": version, "threads": threads},
        load_ms=1e3 * (time.perf_counter() - start),
        input_shape=network.input_shape,
        metadata={},
        run=network.predict,
        find_kernels=None,
    )


class _Network:
    """An interpreter whose input is one image, 1×1×H×W."""

    def __init__(self, path: Path, threads: int) -> None:
        self._interpreter: Any = Interpreter(str(path), num_threads=threads)
        self._interpreter.allocate_tensors()
        (image,), (probability,) = (
            self._interpreter.get_input_details(),
            self._interpreter.get_output_details(),
        )
        self._image, self._probability = image["index"], probability["index"]
        self.input_shape = ["batch", *image["shape"].tolist()[1:]]

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Images N×1×H×W to probabilities N×1×H×W."""
        return np.concatenate([self._predict(image[None]) for image in images])

    def _predict(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        self._interpreter.set_tensor(self._image, image)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._probability)
