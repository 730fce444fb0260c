"""Peak memory of a network in use, seen in a process of its own."""

import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from brainseg.runtime.open import open_session
from brainseg.runtime.session import Session

PASSES = 5
"""Enough for the buffers of all layers to have been made."""


def peak_memory_mb(session: Session, batch: int = 1) -> float | None:
    """Peak resident memory of a fresh process that opens the same file and runs it, MiB.

    Python, the runtime's own libraries and a process that it starts are part of it.

    Args:
        session: says which file, runtime, device, threads and precision.
        batch: images per pass.

    Returns:
        `None` where that process failed, for lack of memory for example.
    """
    request = {
        "path": str(session.path),
        "device": session.device,
        "threads": session.threads,
        "runtime": session.runtime,
        "precision": session.precision,
        "batch": batch,
    }
    command = [sys.executable, "-m", "brainseg.runtime.memory", json.dumps(request)]
    done = subprocess.run(command, capture_output=True, text=True)
    return float(done.stdout.split()[-1]) if done.returncode == 0 else None


def peak_of_this_process_mb() -> float:
    """Peak resident memory of this process since it began, MiB, with that of its children."""
    peaks = [_peak_of(pid) for pid in (os.getpid(), *_children())]
    if peaks[0] is not None:  # getrusage would count what the parent held before exec
        return sum(filter(None, peaks))
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _children() -> list[int]:
    return [child.pid for child in psutil.Process().children(recursive=True)]


def _peak_of(pid: int) -> float | None:
    """Peak resident memory of a process, MiB; `None` where the system does not tell."""
    with suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text()
        if found := re.search(r"VmHWM:\s*(\d+) kB", status):
            return int(found[1]) / 2**10
    return None


def _run(request: dict[str, Any]) -> None:
    session = open_session(**request | {"path": Path(request["path"])})
    size = session.image_size
    images = np.random.default_rng(0).random((request["batch"], 1, size, size), np.float32)
    for _ in range(PASSES):
        session.run(images)
    print(peak_of_this_process_mb())


if __name__ == "__main__":
    _run(json.loads(sys.argv[1]))
