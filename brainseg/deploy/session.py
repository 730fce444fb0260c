"""The one place that opens a network: in the runtime and on the device asked for, or not at all."""

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from brainseg.deploy.environment import nvidia_gpus, physical_cores
from brainseg.deploy.kernels import Kernel, from_profile
from brainseg.deploy.quiet import quiet
from brainseg.deploy.runtimes import Unavailable, check_devices, check_runtimes
from brainseg.errors import InputError

TF32 = {"use_tf32": "0"}
"""fp32 on CUDA is plain fp32: by default products would lose 13 bits of their factors."""

PROVIDERS: dict[str, list[Any]] = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": [("CUDAExecutionProvider", TF32), "CPUExecutionProvider"],
}
"""Device → execution providers; the CPU takes the nodes that CUDA has no kernel for."""

BLOCKED_LAYOUT = "NchwcTransformer"
"""onnxruntime's rewrite to channels in blocks of 16, with its own nodes between the others."""

REQUANTIZES = "WeightBiasQuantization"
"""onnxruntime's rewrite that, when a file is loaded, quantizes a convolution between 8-bit
neighbours, even one that was kept in float on purpose."""

_FATAL = 4


@dataclass(frozen=True)
class Session:
    """An opened network: images in, tumour probabilities out.

    Attributes:
        path: the ONNX file.
        runtime: `onnxruntime` or `openvino`.
        device: `cpu` or `cuda`.
        threads: CPU threads within an operator.
        options: what else was asked of the runtime, as in `open_session`.
        got: what the runtime says that it does: providers or precision, threads, ….
        load_ms: time from the file to the ready session, milliseconds.
        input_shape: of the file's input; a size that is free is no integer.
        metadata: what was written into the file when it was exported: version, mode, parity, ….
        run: images N×1×H×W in [0, 1] to probabilities N×1×H×W.
        find_kernels: finds out what runs where; takes as long as opening the file.
    """

    path: Path
    runtime: str
    device: str
    threads: int
    options: dict[str, Any]
    got: dict[str, Any]
    load_ms: float
    input_shape: list[Any]
    metadata: dict[str, str]
    run: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    find_kernels: Callable[[], list[Kernel]]

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


def open_session(
    path: Path,
    device: str = "cpu",
    threads: int | None = None,
    runtime: str = "onnxruntime",
    options: Mapping[str, Any] | None = None,
    *,
    batch: int = 1,
) -> Session:
    """Open an ONNX file in `runtime` on `device`.

    Args:
        path: an ONNX file.
        device: a key of `PROVIDERS`.
        threads: of the CPU; the physical cores where it is `None`.
        runtime: one of `RUNTIMES`.
        options: OpenVINO takes `precision`: `f32` (default) or `bf16`.
        batch: images per pass that OpenVINO compiles for; others work and are compiled when first
            seen. onnxruntime takes any number.

    Raises:
        Unavailable: the runtime or device was not got.
        InputError: the file is missing or damaged, or something has another name.
    """
    check_runtimes([runtime])
    check_devices([device])
    threads, options = threads or physical_cores(), dict(options or {})
    if runtime == "openvino":
        from brainseg.deploy.openvino_session import open_openvino

        return open_openvino(path, device, threads, options, batch)
    if options:
        raise InputError(f"onnxruntime takes no option {', '.join(options)}.")
    if device == "cuda":
        _require_cuda()
    require_file(path)
    start = time.perf_counter()
    inference = _open(path, device, threads)
    load_ms = 1e3 * (time.perf_counter() - start)
    name = inference.get_inputs()[0].name
    return Session(
        path=path,
        runtime=runtime,
        device=device,
        threads=threads,
        options={},
        got=_got(inference, device),
        load_ms=load_ms,
        input_shape=inference.get_inputs()[0].shape,
        metadata=inference.get_modelmeta().custom_metadata_map,
        run=lambda images: inference.run(None, {name: images})[0],
        find_kernels=lambda: from_profile(_profile(path, device, threads)),
    )


def require_file(path: Path) -> None:
    """Refuse a path without a file.

    Raises:
        InputError: it says which command makes one.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist. Make it with `brainseg export` or `quantize`.")


def damaged(path: Path, error: object) -> InputError:
    """The error for a file that a runtime refuses with `error`."""
    return InputError(
        f"{path} could not be opened: {error}. If the file is damaged, remove it and make it "
        "again with `brainseg export` or `quantize`."
    )


def _open(
    path: Path, device: str, threads: int, profile: Path | None = None
) -> ort.InferenceSession:
    """Open a file; with `profile`, the prefix of a file that will list the kernels."""
    ort.set_default_logger_severity(_FATAL)  # what goes wrong is raised; the rest is noise
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = threads
    # Threads of an idle session that spin would slow its neighbours down.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    left_out = [REQUANTIZES]
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
        # It changes neither device nor precision, but rounds channels up and renames nodes, so
        # that multiply-adds could not be told.
        left_out.append(BLOCKED_LAYOUT)
    try:
        inference = ort.InferenceSession(
            path, options, PROVIDERS[device], enable_fallback=0, disabled_optimizers=left_out
        )
    except Exception as error:  # onnxruntime's errors have no base class of their own
        raise damaged(path, error) from error
    # onnxruntime lists CUDA on machines without one, and falls back to the CPU in silence.
    if device == "cuda" and "CUDAExecutionProvider" not in inference.get_providers():
        raise Unavailable(
            f"onnxruntime {ort.__version__} could not start CUDA and fell back to "
            f"{inference.get_providers()[0]}{_driver()}. Its CUDA version must be that of torch."
        )
    return inference


def _profile(path: Path, device: str, threads: int) -> list[dict[str, Any]]:
    """The events of one pass over an empty image, in a session of its own."""
    with tempfile.TemporaryDirectory() as folder:
        inference = _open(path, device, threads, Path(folder) / "profile")
        image = inference.get_inputs()[0]
        inference.run(None, {image.name: np.zeros((1, *image.shape[1:]), np.float32)})
        return json.loads(Path(inference.end_profiling()).read_text(encoding="utf-8"))


def _got(inference: ort.InferenceSession, device: str) -> dict[str, Any]:
    got: dict[str, Any] = {"providers": inference.get_providers()}
    if device == "cuda":
        given = inference.get_provider_options()["CUDAExecutionProvider"]
        got |= {name: given.get(name) for name in TF32}
    return got


def _require_cuda() -> None:
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        raise Unavailable(f"onnxruntime {ort.__version__} has no CUDA: install onnxruntime-gpu.")
    import torch  # loads the CUDA libraries that onnxruntime then finds; takes seconds

    with quiet():  # an old driver is a warning of torch's, and part of our reason
        available = torch.cuda.is_available()
    if not available:
        raise Unavailable(f"torch {torch.__version__} finds no CUDA device{_driver()}.")


def _driver() -> str:
    gpus = nvidia_gpus()
    if not gpus:
        return " (nvidia-smi lists no GPU)"
    return f" although nvidia-smi lists {gpus[0]['name']} with driver {gpus[0]['driver']}"
