"""On what a number was measured: versions, hardware, commit and command line."""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import joblib
import psutil

from brainseg import __version__

PACKAGES = ("torch", "torchvision", "timm", "pytorch-lightning", "onnx", "openvino")
RUNTIMES = ("onnxruntime-gpu", "onnxruntime")
FLAGS = (
    *("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8", "amx_bf16"),
    *("asimddp", "i8mm"),
)
"""The CPU features that decide how fast 8-bit and 16-bit arithmetic is."""

SECRET = re.compile(r"((?:key|token|secret|password)\w*=).+", re.IGNORECASE | re.DOTALL)
"""An argument that nobody else may read; brainseg takes none as two words."""

GPU_FULL = ("out of memory", "failed to allocate memory", "alloc_failed")
"""What is said of a GPU whose memory is full, in lower case."""


def describe() -> dict[str, Any]:
    """Describe this process's environment as plain JSON; what cannot be found out is `None`.

    `folder` is where the command was typed: relative paths in a run's files start there. Neither
    the home folder's name nor secrets are among it: runs are shared.
    """
    return {
        "python": platform.python_version(),
        "host": platform.node(),
        "os": platform.platform(),
        "versions": {"brainseg": __version__}
        | {name: version_of(name) for name in PACKAGES}
        | {"onnxruntime": next(filter(None, map(version_of, RUNTIMES)), None)},
        "cpu": _cpu(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": nvidia_gpus() or _torch_gpus(),
        "commit": _commit(),
        "command": typed_command(),
        "folder": hide_home(str(Path.cwd())),
    }


def typed_command() -> list[str]:
    """The command line of this process, without the home folder's name and secrets."""
    return [_without_secrets(argument) for argument in hide_home(sys.argv)]


def hide_home(value: Any) -> Any:
    """Text, or plain JSON, with `~` for the home folder, whose name is often a person's.

    `Path.expanduser` takes it back where the text is a path.
    """
    if isinstance(value, Mapping):
        return {key: hide_home(each) for key, each in value.items()}
    if isinstance(value, list):
        return [hide_home(each) for each in value]
    home = str(Path.home()).rstrip("/")
    if not isinstance(value, str) or not home:
        return value
    return re.sub(rf"(?<![^\s'\"=:,\[]){re.escape(home)}(?![^/\s'\"])", "~", value)


def _without_secrets(argument: str) -> str:
    """An argument with `…` for the value of whatever is called a key, token, secret or password."""
    return SECRET.sub(r"\1…", argument)


def physical_cores() -> int:
    """Physical cores that this process may use: the default number of threads.

    joblib knows the limits that affinity and containers set.
    """
    return joblib.cpu_count(only_physical_cores=True)


def cpu_flags() -> list[str]:
    """Those of `FLAGS` that this processor has; empty where the system does not tell."""
    return _cpu()["flags"]


@cache
def nvidia_gpus() -> list[dict[str, str]]:
    """Name, driver and memory of each GPU that `nvidia-smi` lists; empty where there is none.

    `nvidia-smi` does not know that CUDA_VISIBLE_DEVICES hides all of them from this process.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return []
    keys = ("name", "driver_version", "memory.total")
    query = _output("nvidia-smi", f"--query-gpu={','.join(keys)}", "--format=csv,noheader")
    lines = [[field.strip() for field in line.split(",")] for line in (query or "").splitlines()]
    names = ("name", "driver", "memory")
    return [dict(zip(names, fields, strict=True)) for fields in lines if len(fields) == len(names)]


def gpu_use() -> float | None:
    """The share of the last second in which the busiest visible GPU computed; `None` without."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    asked = ("--query-gpu=utilization.gpu", "--format=csv,noheader,nounits")
    query = _output("nvidia-smi", *asked, *([f"--id={visible}"] if visible else []))
    shares = [float(line) / 100 for line in (query or "").splitlines() if line.strip().isdigit()]
    return max(shares, default=None)


def is_gpu_full(error: BaseException) -> bool:
    """Whether something failed for lack of memory on a GPU, as torch, onnxruntime or cuDNN say."""
    return any(sign in str(error).lower() for sign in GPU_FULL)


def _torch_gpus() -> list[dict[str, str]]:
    torch = sys.modules.get("torch")  # importing it only for this would take seconds
    if torch is None or not torch.cuda.is_available():
        return []
    return [{"name": torch.cuda.get_device_name(i)} for i in range(torch.cuda.device_count())]


def version_of(package: str) -> str | None:
    """The version of an installed package; `None` where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> dict[str, Any]:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(errors="replace").splitlines() if info.is_file() else []
    pairs = (line.partition(":") for line in lines)
    fields = {key.strip(): value.strip() for key, _, value in pairs}
    flags = fields.get("flags", fields.get("Features", "")).split()
    return {
        "model": fields.get("model name") or platform.processor() or platform.machine(),
        "physical_cores": psutil.cpu_count(logical=False),
        "logical_cores": psutil.cpu_count(),
        "flags": [flag for flag in FLAGS if flag in flags],
    }


def _commit() -> dict[str, Any] | None:
    """The commit of the code and whether it was changed since; `None` where git does not hold it.

    An installed package may lie inside somebody else's repository, hence the question whether
    git tracks this very file.
    """
    here = Path(__file__)
    git = ("git", "-C", str(here.parent))
    if _output(*git, "ls-files", "--error-unmatch", here.name) is None:
        return None
    commit = _output(*git, "rev-parse", "HEAD")
    changes = _output(*git, "status", "--porcelain", "--untracked-files=no")
    return None if commit is None else {"hash": commit, "dirty": bool(changes)}


def _output(*command: str) -> str | None:
    """What a command prints, or `None` where it is missing, fails or hangs."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
