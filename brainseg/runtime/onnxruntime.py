"""The one place that imports onnxruntime to run a network: on CPUs, and on NVIDIA GPUs."""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from brainseg.environment import nvidia_gpus
from brainseg.errors import InputError
from brainseg.runtime.kernels import from_profile
from brainseg.runtime.session import Session, Unavailable, damaged, require_file
from brainseg.terminal import quiet
from brainseg.vocabulary import REFERENCE_RUNTIME

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


def open_onnxruntime(
    path: Path, device: str, threads: int, precision: str | None, batch: int
) -> Session:
    """Open an ONNX file in onnxruntime; any number of images makes a pass. See `open_session`.

    Raises:
        Unavailable: CUDA was asked for and not got.
        InputError: the file is missing or damaged, or another precision was asked for.
    """
    if precision:
        raise InputError(f"onnxruntime has no precision {precision}; it takes that of the file.")
    if device == "cuda":
        _require_cuda()
    require_file(path)
    start = time.perf_counter()
    inference = _open(path, device, threads)
    load_ms = 1e3 * (time.perf_counter() - start)
    name = inference.get_inputs()[0].name
    return Session(
        path=path,
        runtime=REFERENCE_RUNTIME,
        device=device,
        threads=threads,
        precision=None,
        got=_got(inference, device),
        load_ms=load_ms,
        input_shape=inference.get_inputs()[0].shape,
        metadata=inference.get_modelmeta().custom_metadata_map,
        run=lambda images: inference.run(None, {name: images})[0],
        find_kernels=lambda: from_profile(_profile(path, device, threads)),
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
