"""The one place that opens an ONNX file: on the device that was asked for, or not at all."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from brainseg.deploy.environment import nvidia_gpus, physical_cores
from brainseg.deploy.quiet import quiet
from brainseg.errors import InputError

PROVIDERS = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"],
}
"""Device → execution providers; the CPU takes the nodes that CUDA has no kernel for."""

_FATAL = 4


class Unavailable(InputError):  # noqa: N818 (a state of the machine, which becomes a row)
    """A device was asked for and not got; the message is the reason."""


@dataclass(frozen=True)
class Session:
    """An opened network: images in, tumour probabilities out.

    Attributes:
        device: `cpu` or `cuda`.
        threads: CPU threads within an operator.
        load_ms: time from the file to the ready session, milliseconds.
        placement: provider → `nodes` (count) and `share` (of all nodes, 0..1).
    """

    inference: ort.InferenceSession
    device: str
    threads: int
    load_ms: float
    placement: dict[str, dict[str, float]]

    @property
    def image_size(self) -> int:
        """Height and width that the network takes, pixels.

        Raises:
            InputError: they are not fixed, so the file is not one of brainseg's.
        """
        shape = self.inference.get_inputs()[0].shape
        if len(shape) != 4 or not isinstance(shape[-1], int):
            raise InputError(
                f"This ONNX file takes {shape}; expected N×1×H×W with a fixed height and width, as "
                "`brainseg export` writes it."
            )
        return shape[-1]

    @property
    def metadata(self) -> dict[str, str]:
        """What was written into the file when it was exported: version, mode, parity, …."""
        return self.inference.get_modelmeta().custom_metadata_map

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Segment images N×1×H×W in [0, 1]: probabilities N×1×H×W."""
        return self.inference.run(None, {self.inference.get_inputs()[0].name: images})[0]


def open_session(path: Path, device: str = "cpu", threads: int | None = None) -> Session:
    """Open an ONNX file on `device`.

    onnxruntime lists CUDA on machines without one and silently falls back to the CPU, so the
    device is checked before and the session's providers after.

    Args:
        path: an ONNX file.
        device: a key of `PROVIDERS`.
        threads: of the CPU; the physical cores where it is `None`.

    Raises:
        Unavailable: the device was not got.
        InputError: the file is missing or damaged, or the device has another name.
    """
    check_devices([device])
    if not path.is_file():
        raise InputError(f"{path} does not exist. Make it with `brainseg export` or `quantize`.")
    if device == "cuda":
        _require_cuda()
    threads = threads or physical_cores()
    start = time.perf_counter()
    inference = _open(path, PROVIDERS[device], threads)
    load_ms = 1e3 * (time.perf_counter() - start)
    if PROVIDERS[device][0] not in inference.get_providers():
        raise Unavailable(
            f"onnxruntime {ort.__version__} could not start CUDA and fell back to "
            f"{inference.get_providers()[0]}{_driver()}. Its CUDA version must be that of torch."
        )
    return Session(inference, device, threads, load_ms, _placement(inference))


def check_devices(devices: Sequence[str]) -> None:
    """Refuse a device that is not one of `PROVIDERS`.

    Raises:
        InputError: it lists those that there are.
    """
    if unknown := set(devices) - PROVIDERS.keys():
        raise InputError(
            f"Unknown device {', '.join(sorted(unknown))}. Choose from: {', '.join(PROVIDERS)}."
        )


def _open(path: Path, providers: list[str], threads: int) -> ort.InferenceSession:
    ort.set_default_logger_severity(_FATAL)  # what goes wrong is raised; the rest is noise
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = threads
    # Threads of an idle session that spin would slow its neighbours down.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    try:
        return ort.InferenceSession(path, options, providers=providers, enable_fallback=0)
    except Exception as error:  # onnxruntime's errors have no base class of their own
        raise InputError(
            f"{path} could not be opened: {error}. If the file is damaged, remove it and make it "
            "again with `brainseg export` or `quantize`."
        ) from error


def _placement(inference: ort.InferenceSession) -> dict[str, dict[str, float]]:
    nodes: Counter[str] = Counter()
    for subgraph in inference.get_provider_graph_assignment_info():
        nodes[subgraph.ep_name] += len(subgraph.get_nodes())
    return {name: {"nodes": count, "share": count / nodes.total()} for name, count in nodes.items()}


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
