"""Opening a network that is in memory, as a file of it would be opened."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
from onnx import ModelProto

from brainseg.environment import physical_cores
from brainseg.runtime.onnxruntime import open_inference
from brainseg.runtime.open import open_session
from brainseg.runtime.session import Session


def opened(model: ModelProto) -> Session:
    """A session on the CPU: images to probabilities."""
    return _open(model, open_session)


def opened_inside(model: ModelProto) -> ort.InferenceSession:
    """The same as a session of onnxruntime itself, for inputs and outputs by name."""
    return _open(model, lambda path: open_inference(path, physical_cores()))


def _open(model: ModelProto, opener: Callable[[Path], Any]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        return opener(path)
