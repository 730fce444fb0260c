"""Opening a network in onnxruntime: on CPUs, and on NVIDIA GPUs."""

import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from brainseg.environment import is_gpu_full
from brainseg.errors import InputError
from brainseg.runtime.cuda import (
    PROVIDER,
    BoundNetwork,
    Form,
    describe,
    driver,
    forms,
    full,
    require_cuda,
    why_refused,
)
from brainseg.runtime.kernels import from_profile
from brainseg.runtime.session import Session, Unavailable, damaged
from brainseg.runtime.trust import require_file
from brainseg.terminal import silenced
from brainseg.vocabulary import REFERENCE_RUNTIME, RUNTIMES

CPU = "CPUExecutionProvider"
"""Takes the nodes, too, that CUDA has no kernel for."""

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
        InputError: the file is missing or damaged, the GPU is full, or there is no such precision.
    """
    if precision not in (None, *RUNTIMES[REFERENCE_RUNTIME].precisions.get(device, ())):
        raise InputError(f"onnxruntime has no precision {precision} on {device}.")
    if device == "cuda":
        require_cuda()
    require_file(path)
    opened = _open_on_cuda if device == "cuda" else _open_on_cpu
    return opened(path, threads, precision, batch)


def _open_on_cpu(path: Path, threads: int, precision: str | None, batch: int) -> Session:
    start = time.perf_counter()
    inference = open_inference(path, threads)
    load_ms = 1e3 * (time.perf_counter() - start)
    name = inference.get_inputs()[0].name
    return _session(
        (path, threads, precision, load_ms),
        inference,
        device="cpu",
        got={"providers": inference.get_providers()},
        run=lambda images: inference.run(None, {name: images})[0],
        find_kernels=lambda: from_profile(_profile(path, threads)),
    )


def _open_on_cuda(path: Path, threads: int, precision: str | None, batch: int) -> Session:
    """Open it in the best form that this network can be had in."""
    refused: dict[str, str] = {}
    *better, last = forms(path, precision)
    for form in (*better, last):
        if form.graph and "cuda_graph" in refused:
            continue
        start = time.perf_counter()
        try:
            network = BoundNetwork(open_inference(path, threads, form), form.graph)
            load_ms = 1e3 * (time.perf_counter() - start)
            network.repeat(batch)
            break
        except Unavailable:
            raise
        except Exception as error:  # onnxruntime's errors have no base class of their own
            if is_gpu_full(error):
                raise full(path, batch) from error
            if form == last:
                raise damaged(path, error) from error
            refused |= why_refused(form, error)
    got = {"providers": network.inference.get_providers()} | describe(form, refused)
    # Without graph and layout, which change neither device nor precision, but rename nodes.
    plain = Form(form.tf32, graph=False, nhwc=False)
    return _session(
        (path, threads, precision, load_ms),
        network.inference,
        device="cuda",
        got=got,
        run=network.predict,
        find_kernels=lambda: from_profile(_profile(path, threads, plain)),
        run_on_device=lambda: network.repeat(batch),
    )


def _session(
    opened: tuple[Path, int, str | None, float], inference: ort.InferenceSession, **others: Any
) -> Session:
    path, threads, precision, load_ms = opened
    return Session(
        path=path,
        runtime=REFERENCE_RUNTIME,
        threads=threads,
        precision=precision,
        load_ms=load_ms,
        input_shape=inference.get_inputs()[0].shape,
        metadata=inference.get_modelmeta().custom_metadata_map,
        **others,
    )


def open_inference(
    path: Path, threads: int, form: Form | None = None, profile: Path | None = None
) -> ort.InferenceSession:
    """Open a file: on CUDA in a form, else on the CPU.

    Args:
        path: the file.
        threads: of the CPU.
        form: how CUDA shall run it.
        profile: the prefix of a file that will list the kernels.

    Raises:
        Unavailable: CUDA did not start.
        InputError: onnxruntime refuses the file, or the form.
    """
    providers: list[Any] = [(PROVIDER, form.options()), CPU] if form else [CPU]
    try:
        with silenced() if form else nullcontext():
            inference = start_inference(path, threads, providers, profile)
    except Exception as error:  # onnxruntime's errors have no base class of their own
        raise damaged(path, error) from error
    # onnxruntime lists CUDA on machines without one, and falls back to the CPU in silence.
    if form and PROVIDER not in inference.get_providers():
        raise Unavailable(
            f"onnxruntime {ort.__version__} could not start CUDA and fell back to "
            f"{inference.get_providers()[0]}{driver()}. Its CUDA version must be that of torch."
        )
    return inference


def start_inference(
    path: Path, threads: int, providers: Sequence[Any], profile: Path | None = None
) -> ort.InferenceSession:
    """Start a session, as all of brainseg does: on other terms a file gives other numbers.

    Args:
        path: the file.
        threads: of the CPU.
        providers: in the order of preference.
        profile: the prefix of a file that will list the kernels.
    """
    ort.set_default_logger_severity(_FATAL)  # what goes wrong is raised; the rest is noise
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = threads
    # Threads spin between the operators of a pass, and sleep when it ends: those of an idle
    # session that went on spinning would slow its neighbours down.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    left_out = [REQUANTIZES]
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
        # It changes neither device nor precision, but rounds channels up and renames nodes, so
        # that multiply-adds could not be told.
        left_out.append(BLOCKED_LAYOUT)
    return ort.InferenceSession(
        path, options, providers, enable_fallback=0, disabled_optimizers=left_out
    )


def _profile(path: Path, threads: int, form: Form | None = None) -> list[dict[str, Any]]:
    """The events of one pass over an empty image, in a session of its own."""
    with tempfile.TemporaryDirectory() as folder:
        inference = open_inference(path, threads, form, Path(folder) / "profile")
        image = inference.get_inputs()[0]
        inference.run(None, {image.name: np.zeros((1, *image.shape[1:]), np.float32)})
        return json.loads(Path(inference.end_profiling()).read_text(encoding="utf-8"))
