"""What is checked of an ONNX file before a runtime opens it: it may be a stranger's, or damaged."""

from collections.abc import Iterator
from contextlib import suppress
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

from brainseg.content.read import remedy
from brainseg.errors import DamagedFile, InputError
from brainseg.run import is_changed


def require_file(path: Path) -> None:
    """Refuse a path without a file, a file of a run that has changed, and one of several files.

    Raises:
        InputError: it says which command makes it, or how it becomes one file.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist. Make it with `brainseg export` or `quantize`.")
    if is_changed(path):
        raise DamagedFile(path, "it is not the file that was written", remedy(path))
    if _has_weights_elsewhere(path):
        raise InputError(
            f"{path} takes weights from other files, whose names may lead anywhere. Save it as one "
            "file where you trust it: onnx.save(onnx.load(FILE), OTHER)."
        )


def _has_weights_elsewhere(path: Path) -> bool:
    """Whether the network is more than this file; it is parsed only if it may be."""
    with path.open("rb") as opened, suppress(ValueError):  # an empty file cannot be mapped
        with mmap(opened.fileno(), 0, access=ACCESS_READ) as content:
            if content.find(b"location") < 0:  # the key under which the other file is named
                return False
        import onnx  # takes time

        try:
            model = onnx.load(path, load_external_data=False)
        except Exception:  # the runtime says what is wrong with it
            return False
        external = onnx.TensorProto.EXTERNAL
        return any(getattr(each, "data_location", None) == external for each in _messages(model))
    return False


def _messages(message: Any) -> Iterator[Any]:
    """A protobuf message and all that it contains."""
    yield message
    for field, value in message.ListFields():
        if field.message_type:
            for each in [value] if hasattr(value, "ListFields") else value:
                yield from _messages(each)
