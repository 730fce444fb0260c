"""The files of onnxruntime-web."""

import json
from pathlib import Path

import pytest

from brainseg.runtime import web_files
from brainseg.runtime.session import Unavailable


def test_missing_files_are_named_with_what_to_do(tmp_path: Path):
    for name in web_files.IN_PAGES[1:]:
        (tmp_path / name).touch()
    with pytest.raises(Unavailable, match=r"lacks ort\.wasm\.min\.mjs\. Run `make web`"):
        web_files.find_ort(folder=tmp_path)
    (tmp_path / web_files.BROWSER).touch()
    assert web_files.find_ort(folder=tmp_path) == tmp_path


def test_one_version_is_pinned_with_its_digest():
    package, lock = (
        json.loads((web_files.WASM / name).read_text())
        for name in ("package.json", "package-lock.json")
    )
    locked = lock["packages"]
    version = package["dependencies"]["onnxruntime-web"]
    assert locked["node_modules/onnxruntime-web"]["version"] == version
    assert all(each["integrity"].startswith("sha512-") for name, each in locked.items() if name)
