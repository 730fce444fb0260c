"""The files of onnxruntime-web, which run networks in browsers and in Node."""

from pathlib import Path

from brainseg.runtime.session import Unavailable

WASM = Path(__file__).parent / "wasm"
"""What pins onnxruntime-web; `make web` puts its files into `ort` in it."""

BROWSER, NODE = "ort.wasm.min.mjs", "ort.node.min.mjs"
"""The module to import in a browser, and in Node."""

FILES = (
    *(BROWSER, NODE, "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"),
    *("LICENSE", "ThirdPartyNotices.txt"),
)

IN_PAGES = tuple(name for name in FILES if name != NODE)
"""What a page needs of them."""


def find_ort(folder: Path = WASM / "ort") -> Path:
    """The folder with `FILES`.

    Raises:
        Unavailable: one of them is missing.
    """
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        raise Unavailable(
            f"onnxruntime-web is not there: {folder} lacks {', '.join(missing)}. Run `make web` in "
            "brainseg's source folder, which fetches it from the npm registry."
        )
    return folder
