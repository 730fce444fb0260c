"""onnxruntime on an NVIDIA GPU as one would deploy it: tensors bound there, one CUDA graph a pass.

At batch 1 a GPU waits for its launches, not for arithmetic: what runs as one graph takes less than
half the time.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from brainseg.environment import nvidia_gpus
from brainseg.errors import brief
from brainseg.runtime.session import Unavailable, damaged
from brainseg.terminal import quiet, silenced

PROVIDER = "CUDAExecutionProvider"

SETTLING = 3
"""Passes after which cuDNN has chosen its kernels and the graph is captured."""


@dataclass(frozen=True)
class Form:
    """How onnxruntime is asked to run a network on CUDA.

    Attributes:
        tf32: whether products of fp32 may lose 13 bits of their factors.
        graph: whether a pass is one CUDA graph; all of its nodes must be on CUDA.
        nhwc: whether channels come last, as tensor cores like them.
    """

    tf32: bool
    graph: bool = True
    nhwc: bool = True

    def options(self) -> dict[str, str]:
        """The options of onnxruntime's CUDA provider."""
        asked = {
            "use_tf32": self.tf32,
            "enable_cuda_graph": self.graph,
            "prefer_nhwc": self.nhwc,
        }
        return {name: str(int(value)) for name, value in asked.items()}


@dataclass
class BoundNetwork:
    """A network whose input and output stay where they are, for each number of images per pass.

    Attributes:
        inference: the opened file.
        is_graph: whether a pass is one CUDA graph, whose tensors are bound once and for all.
        device: `cuda`; tests bind on the `cpu`.
    """

    inference: ort.InferenceSession
    is_graph: bool = False
    device: str = "cuda"
    _passes: dict[int, "_Pass"] = field(default_factory=dict)

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Images N×1×H×W to probabilities N×1×H×W, with the copies to the device and back."""
        bound = self._pass(len(images))
        bound.images.update_inplace(np.ascontiguousarray(images))
        if not self.is_graph:
            # A node on the CPU sees the input as it was when it was bound (onnxruntime #5857).
            bound.bind_images()
        bound.run()
        return bound.probabilities.numpy()

    def repeat(self, batch: int) -> None:
        """One more pass over the images that were predicted last, without any copy."""
        self._pass(batch).run()

    def _pass(self, batch: int) -> "_Pass":
        if batch not in self._passes:
            with silenced():  # cuDNN complains of each layout that it passes over
                self._passes[batch] = self._bind(batch)
        return self._passes[batch]

    def _bind(self, batch: int) -> "_Pass":
        image, probability = self.inference.get_inputs()[0], self.inference.get_outputs()[0]
        shape = [batch, *image.shape[1:]]
        images, probabilities = (
            ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, np.float32), self.device, 0)
            for _ in range(2)
        )
        binding = self.inference.io_binding()
        binding.bind_ortvalue_output(probability.name, probabilities)
        options = ort.RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(batch))  # a graph has one shape
        bound = _Pass(self.inference, binding, options, images, probabilities)
        bound.bind_images()
        for _ in range(SETTLING):
            bound.run()
        return bound


@dataclass(frozen=True)
class _Pass:
    """One number of images: its tensors on the device, and what binds them."""

    inference: ort.InferenceSession
    binding: ort.IOBinding
    options: ort.RunOptions
    images: ort.OrtValue
    probabilities: ort.OrtValue

    def bind_images(self) -> None:
        self.binding.bind_ortvalue_input(self.inference.get_inputs()[0].name, self.images)

    def run(self) -> None:
        self.inference.run_with_iobinding(self.binding, self.options)


def forms(path: Path, precision: str | None) -> list[Form]:
    """The forms in which to try a file, best first.

    TF32 is allowed where it was asked for, and for what stays in fp32 of a file in half precision.
    Without it channels stay first: the other layout was 6 to 14 % slower (docs/performance.md).

    Raises:
        InputError: the file is damaged.
    """
    tf32 = precision == "tf32" or _is_half(path)
    wanted = [Form(tf32, graph, nhwc) for graph in (True, False) for nhwc in (True, False)]
    return [form for form in wanted if tf32 or not form.nhwc]


def describe(form: Form, refused: dict[str, str]) -> dict[str, Any]:
    """What of a form was got, as a row of `deploy.json` says it.

    Args:
        form: that was got.
        refused: why others were not, by `cuda_graph` and `nhwc`.
    """
    import torch

    got = {"cuda_graph": form.graph, "nhwc": form.nhwc}

    version = torch.backends.cudnn.version() or 0
    return {
        "io_binding": True,
        "cuda_graph": form.graph,
        "layout": "NHWC" if form.nhwc else "NCHW",
        "tf32": form.tf32,
        "cudnn": f"{version // 10000}.{version // 100 % 100}.{version % 100}",
        "without": {what: why for what, why in refused.items() if not got[what]},
    }


def why_refused(form: Form, error: Exception) -> dict[str, str]:
    """What a form that failed says of the graph, or of the layout."""
    if form.graph and "graph capture feature" in str(error):
        return {"cuda_graph": "not every node runs on CUDA"}
    return {"nhwc" if form.nhwc else "cuda_graph": brief(error)}


def require_cuda() -> None:
    """Make sure that onnxruntime and torch know CUDA, and that there is a device.

    Raises:
        Unavailable: it says which of them does not.
    """
    if PROVIDER not in ort.get_available_providers():
        raise Unavailable(f"onnxruntime {ort.__version__} has no CUDA: install onnxruntime-gpu.")
    import torch  # loads the CUDA libraries that onnxruntime then finds; takes seconds

    with quiet():  # an old driver is a warning of torch's, and part of our reason
        available = torch.cuda.is_available()
    if not available:
        raise Unavailable(f"torch {torch.__version__} finds no CUDA device{driver()}.")


def driver() -> str:
    """What `nvidia-smi` says of a GPU that does not start, as the end of a sentence."""
    gpus = nvidia_gpus()
    if not gpus:
        return " (nvidia-smi lists no GPU)"
    return f" although nvidia-smi lists {gpus[0]['name']} with driver {gpus[0]['driver']}"


def full(path: Path, batch: int) -> Unavailable:
    """The error for a GPU that has no room for a network."""
    import torch

    free, total = (size / 2**20 for size in torch.cuda.mem_get_info())
    return Unavailable(
        f"The GPU has too little free memory for {path} with {batch} images per pass: "
        f"{free:.0f} of {total:.0f} MiB are free. Use a smaller --batch, or end what else uses the "
        "GPU (nvidia-smi lists it)."
    )


def _is_half(path: Path) -> bool:
    half = onnx.TensorProto.FLOAT16
    try:
        initializers = onnx.load(path).graph.initializer
    except Exception as error:  # protobuf's errors have no base class of their own
        raise damaged(path, error) from error
    return any(each.data_type == half for each in initializers)
