"""brainseg: which attention module and which quantization for brain tumour segmentation?

From Python, for notebooks; the command line is `brainseg --help`.

A network with new weights, which maps images N×1×H×W in [0, 1] to one logit per pixel:

>>> import brainseg
>>> network = brainseg.build_model("resunet", attention="ag")

A finished run, and the files in it:

>>> run = brainseg.open_run("outputs/demo/ag-seed0")
>>> run.onnx("fp32").name
'model.fp32.onnx'

An exported network, which maps an image at any size to tumour probabilities at that size:

>>> import numpy as np
>>> image = np.zeros((300, 200), np.uint8)
>>> brainseg.load("model.int8_static.onnx").predict(image).shape
(300, 200)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brainseg.experiment import open_run
    from brainseg.model.registry import build_model
    from brainseg.predict.predictor import load

__version__ = "0.1.0"
__all__ = ["build_model", "load", "open_run"]

_MODULES = {
    "build_model": "brainseg.model.registry",
    "load": "brainseg.predict.predictor",
    "open_run": "brainseg.experiment",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
