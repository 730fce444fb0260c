"""`brainseg serve`: what it answers, to whom, and how it ends."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from brainseg.errors import InputError
from brainseg.predict.serve import make_server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package, and a secret beside it."""
    place = tmp_path_factory.mktemp("serve")
    (place / "secret.txt").write_text("secret")
    folder = place / "package"
    (folder / "page").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html>")
    for name in ("main.mjs", "ort.wasm", "model.onnx", "manifest.json", "style.css", "a b.svg"):
        (folder / "page" / name).write_text("x")
    (folder / "way-out").symlink_to(place)
    return folder


@pytest.fixture(scope="module")
def address(serving, folder: Path) -> str:
    return serving(folder)


def ask(address: str, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    answer.body = answer.read()
    connection.close()
    return answer


def test_pages_are_isolated_and_bound_to_this_place(address: str):
    answer = ask(address, "/")
    assert (answer.status, answer.body) == (200, b"<!doctype html>")
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("main.mjs", "text/javascript"),
        ("ort.wasm", "application/wasm"),
        ("model.onnx", "application/octet-stream"),
        ("manifest.json", "application/json"),
        ("style.css", "text/css"),
        ("a%20b.svg", "image/svg+xml"),
    ],
)
def test_files_have_the_types_that_browsers_want(address: str, name: str, kind: str):
    answer = ask(address, f"/page/{name}")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == kind


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/page/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/..%5csecret.txt",
        "//etc/passwd",
        "/way-out/secret.txt",
        "/way-out/",
        "/page/",
        "/nothing",
        "/%00",
    ],
)
def test_nothing_else_is_given_away(address: str, path: str):
    answer = ask(address, path)
    assert answer.status == 404
    assert b"secret" not in answer.body
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "", "0.0.0.0:1"])
def test_other_names_are_refused(address: str, host: str):
    assert ask(address, "/", Host=host).status == 421


def test_its_own_names_are_answered(address: str):
    port = urlsplit(address).port
    for host in (f"127.0.0.1:{port}", f"localhost:{port}"):
        assert ask(address, "/", Host=host).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_it_only_gives(address: str, method: str):
    assert ask(address, "/", method).status == 501
    assert ask(address, "/", "HEAD").status == 200


def test_it_listens_on_this_machine_only(folder: Path):
    with make_server(folder, 0) as server:
        assert server.server_address[0] == "127.0.0.1"


def test_a_folder_without_a_page_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"has no index\.html\. Expected a package"):
        make_server(tmp_path, 0)
    with pytest.raises(InputError, match=r"has no index\.html"):
        make_server(tmp_path / "missing", 0)


def test_a_port_that_is_taken_is_told(folder: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"Port {port} of 127.* in use.*--port"):
            make_server(folder, port)
    with pytest.raises(InputError, match=r"Port 70000 of .*0-65535"):
        make_server(folder, 70000)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_ends_quietly(folder: Path, number: int, code: int):
    command = [sys.executable, "-u", "-m", "brainseg", "serve", str(folder), "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        assert process.stdout
        assert process.stderr
        first = process.stdout.readline()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/  \(Ctrl-C ends it\)\n", first)
        assert ask(first.split()[0], "/").status == 200
        process.send_signal(number)
        assert process.wait(20) == code
        assert process.stdout.read() == process.stderr.read() == ""


def test_without_a_package_it_says_what_to_do(tmp_path: Path):
    command = [sys.executable, "-m", "brainseg", "serve", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {tmp_path} has no index.html.")
