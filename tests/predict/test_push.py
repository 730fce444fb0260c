"""Uploading packages to a fake hub, which answers as the Hugging Face hub does."""

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

TOKEN = "hf_secret"


class Hub(BaseHTTPRequestHandler):
    """Repositories in memory: files that were committed, by name."""

    repos: ClassVar[dict[str, dict[str, Any]]] = {}
    stored: ClassVar[dict[str, bytes]] = {}
    refusing: ClassVar[dict[str, int]] = {}

    def do_POST(self) -> None:
        body = self._body()
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self._answer(401, {"error": "Invalid username or password."})
        for part, status in self.refusing.items():
            if part in self.path:
                return self._answer(status, {"error": "no"})
        if self.path == "/api/repos/create":
            return self._create(json.loads(body))
        if self.path == "/api/validate-yaml":
            return self._answer(200, {"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            files = [
                {
                    "path": each["path"],
                    "uploadMode": "lfs" if each["path"].endswith(".onnx") else "regular",
                    "shouldIgnore": False,
                }
                for each in json.loads(body)["files"]
            ]
            return self._answer(200, {"files": files})
        if self.path.endswith("/objects/batch"):
            objects = json.loads(body)["objects"]
            for each in objects:
                href = f"http://{self.headers['Host']}/upload/{each['oid']}"
                each["actions"] = {"upload": {"href": href}}
            return self._answer(200, {"transfer": "basic", "objects": objects})
        if "/commit/" in self.path:
            return self._commit(body)
        return self._answer(404, {})

    def do_PUT(self) -> None:
        self.stored[self.path.rpartition("/")[2]] = self._body()
        self._answer(200, {})

    def do_GET(self) -> None:
        repo = self.repos.get(self.path.removeprefix("/api/models/").partition("/revision")[0])
        if repo is None:
            return self._answer(404, {"error": "Repository not found"})
        return self._answer(200, {"id": "anna/tumours", "private": repo["private"], "siblings": []})

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked.get('organization', 'anna')}/{asked['name']}"
        known = name in self.repos
        private = asked.get("private", asked.get("visibility") == "private")
        self.repos.setdefault(name, {"private": private, "files": {}})
        url = f"http://{self.headers['Host']}/{name}"
        self._answer(409 if known else 200, {"url": url, "error": "it exists"})

    def _commit(self, body: bytes) -> None:
        name = self.path.removeprefix("/api/models/").partition("/commit/")[0]
        repo = self.repos[name]
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                repo["message"] = value["summary"]
            elif line["key"] == "file":
                repo["files"][value["path"]] = base64.b64decode(value["content"])
            else:
                repo["files"][value["path"]] = self.stored[value["oid"]]
        self._answer(200, {"commitUrl": f"{name}/commit/1", "commitOid": "1"})

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""


@pytest.fixture
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    for kept in (Hub.repos, Hub.stored, Hub.refusing):
        kept.clear()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder with the files that count here, and one that it does not list."""
    folder = tmp_path / "package"
    (folder / "page").mkdir(parents=True)
    network = os.urandom(100_000)
    manifest = {
        "format": 1,
        "name": "se-seed0",
        "mode": "int8_static",
        "model": "model.int8_static.onnx",
        "model_sha256": hashlib.sha256(network).hexdigest(),
        "image_size": 32,
        "threshold": 0.5,
        "best_threshold": None,
        "plane": "axial",
        "keep_aspect": False,
        "brainseg": "0.1.0",
        "notice": "",
    }
    (folder / "model.int8_static.onnx").write_bytes(network)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "README.md").write_text("---\ntags: [mri]\n---\n# A network\n")
    (folder / "page" / "page.js").write_text("1;")
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n"
        for path in files
    ]
    (folder / "SHA256SUMS").write_text("".join(sums))
    (folder / "patient.png").write_bytes(b"private")
    return folder


def push(
    folder: Path, hub: str, *options: str, token: str | None = TOKEN
) -> subprocess.CompletedProcess:
    """`brainseg push` in a process of its own: the address of the hub is read at its start."""
    environment = {**os.environ, "HF_ENDPOINT": hub, "HF_HUB_DISABLE_XET": "1"}
    environment |= {"HF_HOME": str(folder.parent / "home"), "HF_TOKEN": token or ""}
    command = [sys.executable, "-m", "brainseg", "push", str(folder), "anna/tumours", *options]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert "Traceback" not in result.stderr
    assert TOKEN not in result.stdout + result.stderr
    return result


def test_what_is_listed_is_uploaded_and_nobody_else_sees_it(package: Path, hub: str) -> None:
    result = push(package, hub)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{hub}/anna/tumours (private): 5 files\n"
    repo = Hub.repos["anna/tumours"]
    assert repo["private"]
    assert repo["message"] == "se-seed0 (int8_static), brainseg 0.1.0"
    assert sorted(repo["files"]) == [
        *("README.md", "SHA256SUMS", "manifest.json", "model.int8_static.onnx", "page/page.js")
    ]
    for name, content in repo["files"].items():
        assert content == (package / name).read_bytes()


def test_a_public_repository_must_be_meant(package: Path, hub: str) -> None:
    Hub.repos["anna/tumours"] = {"private": False, "files": {}}
    refused = push(package, hub)
    assert refused.returncode == 1
    assert "anna/tumours is public" in refused.stderr
    assert not Hub.repos["anna/tumours"]["files"]
    assert push(package, hub, "--public", "--message", "First").returncode == 0
    assert Hub.repos["anna/tumours"]["message"] == "First"


@pytest.mark.parametrize(
    ("token", "refusing", "told"),
    [
        (None, {}, "There is no token of a hub"),
        ("hf_other", {}, "does not know this token"),
        (TOKEN, {"/commit/": 403}, "the token may not write there"),
        (TOKEN, {"/api/repos/create": 429}, "too many requests"),
    ],
)
def test_refusals_are_told_in_words(
    package: Path, hub: str, token: str | None, refusing: dict[str, int], told: str
) -> None:
    Hub.refusing.update(refusing)
    result = push(package, hub, token=token)
    assert result.returncode == 1
    assert told in result.stderr
    assert not any(repo["files"] for repo in Hub.repos.values())


def test_a_hub_that_cannot_be_reached_is_told(package: Path) -> None:
    result = push(package, "http://127.0.0.1:9")
    assert result.returncode == 1
    assert "http://127.0.0.1:9 could not be reached" in result.stderr


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda folder: (folder / "page/page.js").write_text("2;"), "page.js is damaged"),
        (lambda folder: (folder / "README.md").unlink(), "README.md is damaged"),
        (lambda folder: (folder / "SHA256SUMS").unlink(), "has no SHA256SUMS"),
        (lambda folder: (folder / "SHA256SUMS").write_text("00  ../x\n"), "it lists ../x"),
        (lambda folder: (folder / "SHA256SUMS").write_bytes(b"\xff\n"), "it is not UTF-8"),
        (lambda folder: (folder / "manifest.json").unlink(), "manifest.json is damaged"),
    ],
)
def test_what_was_changed_is_not_uploaded(package: Path, hub: str, change, told: str) -> None:
    change(package)
    result = push(package, hub)
    assert result.returncode == 1
    assert told in result.stderr
    assert not Hub.repos
