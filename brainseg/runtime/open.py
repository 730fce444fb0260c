"""Opening an exported file: in the runtime and on the device asked for, or not at all.

No runtime is imported before one is needed: asking what there is takes no time.
"""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from brainseg.environment import nvidia_gpus, physical_cores
from brainseg.errors import check_known
from brainseg.runtime.session import Session
from brainseg.vocabulary import DEVICES, EVERY, REFERENCE_RUNTIME, RUNTIMES


def open_session(
    path: Path,
    device: str = "cpu",
    threads: int | None = None,
    runtime: str = REFERENCE_RUNTIME,
    precision: str | None = None,
    *,
    batch: int = 1,
) -> Session:
    """Open an exported file in `runtime` on `device`.

    Args:
        path: an ONNX file, or one of the runtime's own kind.
        device: one of `vocabulary.DEVICES`.
        threads: of the CPU; the physical cores where it is `None`.
        runtime: a key of `vocabulary.RUNTIMES`.
        precision: one of the runtime's, in which it shall use the file; `None` for that of the
            file.
        batch: images per pass that OpenVINO compiles for; others work and are compiled when first
            seen. onnxruntime takes any number.

    Raises:
        Unavailable: the runtime or device was not got.
        InputError: the file is missing or damaged, or something has another name.
    """
    check_known("runtime", [runtime], RUNTIMES)
    check_known("device", [device], DEVICES)
    threads = threads or physical_cores()
    return _opener(runtime)(path, device, threads, precision, batch)


def _opener(runtime: str) -> Callable[[Path, str, int, str | None, int], Session]:
    if runtime == "openvino":
        from brainseg.runtime.openvino import open_openvino

        return open_openvino
    if runtime == "onnxruntime-web":
        from brainseg.runtime.onnxruntime_web import open_onnxruntime_web

        return open_onnxruntime_web
    if runtime == "litert":
        from brainseg.runtime.litert import open_litert

        return open_litert
    from brainseg.runtime.onnxruntime import open_onnxruntime

    return open_onnxruntime


def require_device(device: str) -> None:
    """Refuse a device that this machine lacks, before any work is done for it.

    Raises:
        Unavailable: it says what is missing.
        InputError: it has another name.
    """
    check_known("device", [device], DEVICES)
    if device == "cuda":
        from brainseg.runtime.cuda import require_cuda

        require_cuda()


def is_installed(runtime: str) -> bool:
    """Whether `runtime` is there; finding out does not import it."""
    if module := RUNTIMES[runtime].module:
        return find_spec(module) is not None
    from brainseg.runtime.web_files import runs_in_node

    return runs_in_node()


def may_be_had(runtime: str, device: str) -> bool:
    """Whether there is a chance to open a file there: the runtime is installed, the GPU is seen."""
    known = device in RUNTIMES[runtime].devices and is_installed(runtime)
    return known and (device == "cpu" or bool(nvidia_gpus()))


def runtimes_on(device: str, runtimes: Sequence[str] | None = None) -> list[str]:
    """The runtimes to use on a device.

    Args:
        device: one of `vocabulary.DEVICES`.
        runtimes: all of these, where they are named: one that cannot be had is answered with the
            reason. `EVERY` among them: those that are installed and know the device. `None`: the
            usual ones of these.
    """
    installed = [
        name
        for name, runtime in RUNTIMES.items()
        if device in runtime.devices and is_installed(name)
    ]
    if runtimes is None:
        return [name for name in installed if RUNTIMES[name].usual]
    named = [name for name in runtimes if name != EVERY]
    return list(dict.fromkeys([*named, *(installed if EVERY in runtimes else ())]))
