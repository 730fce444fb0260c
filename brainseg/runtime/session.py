"""An opened network: what every runtime gives, and what goes wrong when a file is opened."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainseg.errors import InputError
from brainseg.runtime.kernels import Kernel


class Unavailable(InputError):  # noqa: N818 (a state of the machine, which becomes a row)
    """A runtime or device was asked for and not got; the message is the reason."""


@dataclass(frozen=True)
class Session:
    """An opened network: images in, tumour probabilities out.

    Attributes:
        path: the file that was opened.
        runtime: a key of `vocabulary.RUNTIMES`.
        device: one of `vocabulary.DEVICES`.
        threads: CPU threads within an operator.
        precision: the arithmetic that was asked for, `None` for that of the file.
        got: what the runtime says that it does: providers or precision, threads, ….
        load_ms: time from the file to the ready session, milliseconds.
        input_shape: of the file's input; a size that is free is no integer.
        metadata: what was written into the file when it was exported: version, mode, parity, ….
        run: images N×1×H×W in [0, 1] to probabilities N×1×H×W.
        find_kernels: finds out what runs where; takes as long as opening the file. `None` where the
            runtime does not tell.
        run_on_device: on a GPU, one more pass over the images that are there, without copies.
    """

    path: Path
    runtime: str
    device: str
    threads: int
    precision: str | None
    got: dict[str, Any]
    load_ms: float
    input_shape: list[Any]
    metadata: dict[str, str]
    run: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    find_kernels: Callable[[], list[Kernel]] | None
    run_on_device: Callable[[], None] | None = None

    @property
    def image_size(self) -> int:
        """Height and width that the network takes, pixels.

        Raises:
            InputError: they are not fixed or equal, or there is more than one channel, so the file
                is not one of brainseg's.
        """
        match self.input_shape:
            case [_, 1, int(height), int(width)] if height == width:
                return width
        raise InputError(
            f"{self.path} takes {self.input_shape}; expected N×1×H×W with a fixed height and width "
            "that are equal. Give a file that `brainseg export` or `quantize` wrote."
        )


def damaged(path: Path, error: object) -> InputError:
    """The error for a file that a runtime refuses with `error`."""
    return InputError(
        f"{path} could not be opened: {error}. If the file is damaged, remove it and make it "
        "again with `brainseg export` or `quantize`."
    )
