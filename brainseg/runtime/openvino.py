"""The one place that imports OpenVINO: Intel's runtime, on CPUs."""

import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainseg.environment import cpu_flags
from brainseg.errors import check_known
from brainseg.runtime.kernels import Kernel
from brainseg.runtime.session import Session, Unavailable, damaged
from brainseg.runtime.trust import require_file
from brainseg.vocabulary import RUNTIMES

try:
    import openvino
    from openvino import properties
    from openvino.properties import hint
except ImportError:  # an optional extra
    openvino = None

PROVIDER = "CPU (OpenVINO)"
PRECISIONS = {None: "f32", "bf16": "bf16"}
"""What was asked for → what OpenVINO calls it."""

BF16_FLAGS = ("avx512_bf16", "amx_bf16")
"""CPU features that compute in bf16; without them OpenVINO would only imitate it."""

KINDS = {"u8": "int8", "i8": "int8", "f16": "fp16", "bf16": "bf16"}
"""Precision of a layer → kind of kernel; all others are `float`."""

CONVOLUTIONS = ("Convolution", "Deconvolution")
NO_WORK = ("Const", "Input", "Output")
"""Layers of the compiled graph that compute nothing."""


def open_openvino(
    path: Path, device: str, threads: int, precision: str | None, batch: int
) -> Session:
    """Open an ONNX file in OpenVINO for lowest latency; see `open_session`.

    Raises:
        Unavailable: OpenVINO is not installed, the device is not `cpu`, or the CPU has no bf16.
        InputError: the file is missing, or OpenVINO cannot load it; or it has no such precision.
    """
    _check(device, precision)
    require_file(path)
    core = _core()
    start = time.perf_counter()
    try:
        network = _Network(core.read_model(path), threads, PRECISIONS[precision], batch)
    except RuntimeError as error:
        raise damaged(path, _shorten(error)) from error
    load_ms = 1e3 * (time.perf_counter() - start)
    got = network.got(batch)
    if got["precision"] != PRECISIONS[precision]:
        raise Unavailable(
            f"OpenVINO was asked for {PRECISIONS[precision]} and computes in {got['precision']}."
        )
    return Session(
        path=path,
        runtime="openvino",
        device=device,
        threads=threads,
        precision=precision,
        got=got,
        load_ms=load_ms,
        input_shape=network.input_shape,
        metadata=network.metadata,
        run=network.predict,
        find_kernels=lambda: network.find_kernels(batch),
    )


class _Network:
    """A network, compiled for each number of images per pass when it is first seen.

    A fixed number of images is faster than a free one, above all in 8 bits.
    """

    def __init__(self, model: Any, threads: int, precision: str, batch: int) -> None:
        self._model = model
        self._settings = {
            # Without it, CPUs that know bf16 would use it unasked.
            hint.inference_precision: getattr(openvino.Type, precision),
            hint.performance_mode: hint.PerformanceMode.LATENCY,
            properties.num_streams: 1,
            properties.inference_num_threads: threads,
        }
        self._compiled: dict[int, Any] = {}
        self._requests: dict[int, Any] = {}
        shape = model.inputs[0].partial_shape
        self.input_shape = [
            each.get_length() if each.is_static else str(each) for each in list(shape)
        ]
        self._compile(batch)

    @property
    def metadata(self) -> dict[str, str]:
        """What the ONNX file says of itself."""
        written = dict(self._model.get_rt_info()).get("framework", {})
        return {name: value.astype(str) for name, value in written.items()}

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Images N×1×H×W to probabilities N×1×H×W."""
        if len(images) not in self._requests:
            self._compile(len(images))
        return self._requests[len(images)].infer({0: images})[0]

    def got(self, batch: int) -> dict[str, Any]:
        """What OpenVINO says that it does."""
        compiled = self._compiled[batch]
        return {
            "precision": compiled.get_property(hint.inference_precision).to_string(),
            "threads": compiled.get_property(properties.inference_num_threads),
            "streams": compiled.get_property(properties.num_streams),
        }

    def find_kernels(self, batch: int) -> list[Kernel]:
        """The layers of the compiled graph that run in every pass."""
        constant: set[str] = set()  # OpenVINO computes these once, when it compiles
        kernels = []
        for layer in self._compiled[batch].get_runtime_model().get_ordered_ops():
            info = {name: value.astype(str) for name, value in layer.get_rt_info().items()}
            sources = {each.get_source_output().get_node().get_name() for each in layer.inputs()}
            if info["layerType"] == "Const" or (sources and sources <= constant):
                constant.add(layer.get_name())
            elif info["layerType"] not in NO_WORK:
                kernels.append(_kernel(info))
        return kernels

    def _compile(self, batch: int) -> None:
        model = self._model.clone()
        model.reshape([batch, *list(model.inputs[0].partial_shape)[1:]])
        self._compiled[batch] = _core().compile_model(model, "CPU", self._settings)
        self._requests[batch] = self._compiled[batch].create_infer_request()


def _kernel(info: dict[str, str]) -> Kernel:
    """What OpenVINO says of a layer; only a convolution is told by the nodes that it stands for.

    A convolution that became one in 8 bits may keep only the name of its part before the bias.
    """
    names = info["originalLayersNames"].split(",") if info["layerType"] in CONVOLUTIONS else []
    nodes = dict.fromkeys(name.removesuffix("/WithoutBiases") for name in names)
    kind = KINDS.get(info["runtimePrecision"], "float")
    return Kernel(PROVIDER, info["layerType"], kind, tuple(nodes))


@cache
def _core() -> Any:
    """OpenVINO with its CPU plugin loaded, which is not part of opening a file."""
    core = openvino.Core()
    core.get_property("CPU", "FULL_DEVICE_NAME")
    return core


def _check(device: str, precision: str | None) -> None:
    """Whether all of this can be had."""
    if openvino is None:
        raise Unavailable("OpenVINO is not installed. Install it: pip install openvino")
    if device != "cpu":
        raise Unavailable(f"OpenVINO runs on the CPU only, not on {device}.")
    check_known("precision", filter(None, [precision]), RUNTIMES["openvino"].precisions[device])
    if precision == "bf16" and not set(BF16_FLAGS).intersection(cpu_flags()):
        raise Unavailable(
            f"This CPU has no bf16 arithmetic ({' or '.join(BF16_FLAGS)}); OpenVINO would only "
            "imitate it."
        )


def _shorten(error: RuntimeError) -> str:
    """What went wrong, without the places in OpenVINO's source."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith("Exception from")]
    return (told or lines)[0].rstrip(".")
