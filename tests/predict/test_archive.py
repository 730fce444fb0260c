"""A study in a real archive, Orthanc with its DICOMweb plug-in: fetched, segmented, stored."""

import io
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pydicom
import pytest
import requests
from pydicom import Dataset

from brainseg import cli
from brainseg.errors import InputError
from brainseg.predict import archive as archives
from brainseg.predict.archive import Archive
from brainseg.predict.archived_study import predict_study
from brainseg.predict.predict import predict
from brainseg.predict.settings import Settings
from tests.predict.conftest import make_slices

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
USER, PASSWORD = "anna", "correct horse"


@dataclass
class Orthanc:
    """The archive, in a folder of its own on a free port of the loopback address."""

    folder: Path
    port: int = field(default_factory=lambda: _free_port())
    process: subprocess.Popen | None = None

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.root}/dicom-web"

    def start(self) -> None:
        settings = {
            "HttpPort": self.port,
            "StorageDirectory": str(self.folder / "store"),
            "IndexDirectory": str(self.folder / "store"),
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {USER: PASSWORD},
            "DicomServerEnabled": False,
            "Plugins": [str(PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        (self.folder / "orthanc.json").write_text(json.dumps(settings))
        with (self.folder / "log").open("a") as log:
            command = ["Orthanc", str(self.folder / "orthanc.json")]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        for _ in range(200):
            try:
                return self.ask("/system") and None
            except requests.ConnectionError:
                time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text())

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def ask(self, path: str) -> Any:
        """What Orthanc's own interface, which is not DICOMweb, answers."""
        answer = requests.get(f"{self.root}{path}", auth=(USER, PASSWORD), timeout=10)
        answer.raise_for_status()
        return answer.json() if "json" in answer.headers["Content-Type"] else answer.content

    def upload(self, slices: list[Dataset]) -> None:
        for each in slices:
            file = io.BytesIO()
            pydicom.dcmwrite(file, each, enforce_file_format=True)
            answer = requests.post(
                f"{self.root}/instances", file.getvalue(), auth=(USER, PASSWORD), timeout=10
            )
            answer.raise_for_status()

    def segmentations(self) -> list[Dataset]:
        """All that it has, read with pydicom."""
        found = [self.ask(f"/instances/{name}/file") for name in self.ask("/instances")]
        read = [pydicom.dcmread(io.BytesIO(content)) for content in found]
        return [each for each in read if each.Modality == "SEG"]


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@pytest.fixture
def orthanc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Orthanc]:
    if shutil.which("Orthanc") is None or not PLUGIN.exists():
        pytest.skip("needs Orthanc: apt-get install orthanc orthanc-dicomweb")
    monkeypatch.setenv("BRAINSEG_DICOMWEB_USER", USER)
    monkeypatch.setenv("BRAINSEG_DICOMWEB_PASSWORD", PASSWORD)
    folder = tmp_path / "orthanc"
    folder.mkdir()
    server = Orthanc(folder)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def slices(head: np.ndarray, orthanc: Orthanc) -> list[Dataset]:
    """A study that the archive has."""
    made = make_slices(head)
    orthanc.upload(made)
    return made


def run(
    model: Path, url: str, study: str, out: Path, *series: str, store: bool = True
) -> dict[str, Any]:
    settings = Settings(series=series)
    return predict_study(model, Archive(url), study, out, settings, store=store, threads=1)


def test_the_result_lies_beside_its_study(
    model: Path, orthanc: Orthanc, slices: list[Dataset], tmp_path: Path, save_series: Callable
) -> None:
    study = str(slices[0].StudyInstanceUID)
    (row,) = run(model, orthanc.url, study, tmp_path / "out")["rows"]
    assert (row["kind"], row["slices"], row["error"]) == ("series", 9, None)
    save_series(tmp_path / "local", slices)
    (local,) = predict(model, [tmp_path / "local"], tmp_path / "here", threads=1)["rows"]

    asked = {"params": {"Modality": "SEG"}, "auth": (USER, PASSWORD), "timeout": 10}
    (found,) = requests.get(f"{orthanc.url}/studies/{study}/series", **asked).json()
    assert found["0020000D"]["Value"] == [study]
    (stored,) = orthanc.segmentations()
    assert stored.SeriesInstanceUID == found["0020000E"]["Value"][0]
    kept, expected = (pydicom.dcmread(each["mask"]) for each in (row, local))
    assert stored.SOPInstanceUID == kept.SOPInstanceUID
    for other in (kept, expected):
        np.testing.assert_array_equal(stored.pixel_array, other.pixel_array)
    assert stored.pixel_array.any()
    referenced = {
        each.ReferencedSOPInstanceUID
        for each in stored.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    }
    assert referenced == {each.SOPInstanceUID for each in slices}
    assert sorted(path.name for path in (tmp_path / "out").glob(".fetched*")) == []


def typed(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int | str | None:
    """Type `brainseg predict ARGUMENTS`; returns what the process would exit with."""
    monkeypatch.setattr(sys, "argv", ["brainseg", "predict", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return caught.value.code


def test_the_verb(
    model: Path, orthanc: Orthanc, slices: list[Dataset], tmp_path: Path, monkeypatch, caplog
) -> None:
    study, out = slices[0].StudyInstanceUID, tmp_path / "out"
    archive = ["--dicomweb", orthanc.url, "--study", study]
    with caplog.at_level("INFO"):
        assert not typed(monkeypatch, model, *archive, "--store", "--out", out)
    (stored,) = orthanc.segmentations()
    assert f"Stored in {orthanc.url}: {stored.SOPInstanceUID}" in caplog.text
    assert PASSWORD not in caplog.text
    assert not any(PASSWORD.encode() in file.read_bytes() for file in out.iterdir())
    told = typed(monkeypatch, model, *archive, "--out", out)
    assert "holds the results of an earlier prediction" in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "found neither"),
        (["a.png", "--dicomweb", "http://localhost", "--study", "1.2"], "found both"),
        (["--dicomweb", "http://localhost"], "belong together"),
        (["a.png", "--study", "1.2"], "belong together"),
        (["a.png", "--store"], "belong together"),
    ],
)
def test_files_or_a_study(model: Path, monkeypatch, arguments: list[str], told: str) -> None:
    assert told in typed(monkeypatch, model, *arguments, "--out", "out")


def test_nothing_is_stored_unless_that_is_asked_for(
    model: Path, orthanc: Orthanc, slices: list[Dataset], tmp_path: Path
) -> None:
    run(model, orthanc.url, str(slices[0].StudyInstanceUID), tmp_path / "out", store=False)
    assert not orthanc.segmentations()


def test_one_of_several_series_must_be_named(
    model: Path, orthanc: Orthanc, slices: list[Dataset], head: np.ndarray, tmp_path: Path
) -> None:
    study = str(slices[0].StudyInstanceUID)
    others = {"StudyInstanceUID": study, "SeriesDescription": "flair"}
    second = make_slices(head[:6], **others)
    orthanc.upload(second)
    orthanc.upload(make_slices(head[:3], **(others | {"SeriesDescription": "3-plane localizer"})))
    with pytest.raises(InputError) as error:
        run(model, orthanc.url, study, tmp_path / "out")
    told = str(error.value)
    assert "2 series that fit. Choose one with --series UID" in told
    assert f"{slices[0].SeriesInstanceUID}: 9 images, MR, t1 with contrast" in told
    assert f"{second[0].SeriesInstanceUID}: 6 images, MR, flair" in told
    assert not (tmp_path / "out").exists()
    named = str(second[0].SeriesInstanceUID)
    (row,) = run(model, orthanc.url, study, tmp_path / "out", named)["rows"]
    assert row["slices"] == 6
    with pytest.raises(InputError, match=r"has no series 1\.2\.3\. It has:"):
        run(model, orthanc.url, study, tmp_path / "other", "1.2.3")


def test_what_cannot_be_asked_for_is_told(
    model: Path, orthanc: Orthanc, slices: list[Dataset], tmp_path: Path, monkeypatch
) -> None:
    study = str(slices[0].StudyInstanceUID)
    wrong = {
        (orthanc.url, "1.2.3"): r"has no study 1\.2\.3",
        (orthanc.url, "../../1"): "is no UID",
        (f"http://127.0.0.1:{_free_port()}/dicom-web", study): "cannot be reached",
        (f"{orthanc.root}/dicomweb", study): "knows no such address",
        (f"{orthanc.root}/app/explorer.html?", study): "does not answer as DICOMweb|no such addr",
    }
    for (url, asked), told in wrong.items():
        with pytest.raises(InputError, match=told):
            run(model, url, asked, tmp_path / "out")
    monkeypatch.setenv("BRAINSEG_DICOMWEB_PASSWORD", "wrong horse")
    with pytest.raises(InputError, match="does not know this user and password") as error:
        run(model, orthanc.url, study, tmp_path / "out")
    assert "horse" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_an_archive_that_dies_while_it_gives(
    model: Path, orthanc: Orthanc, slices: list[Dataset], tmp_path: Path, monkeypatch
) -> None:
    def dying(items: list[str], text: str) -> Iterator[str]:
        for number, item in enumerate(items):
            if number == 4:
                orthanc.kill()
            yield item

    monkeypatch.setattr(archives, "bar", dying)
    with pytest.raises(InputError, match="cannot be reached, or broke off"):
        run(model, orthanc.url, str(slices[0].StudyInstanceUID), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_archive_that_dies_before_it_takes(
    model: Path, orthanc: Orthanc, slices: list[Dataset], tmp_path: Path, monkeypatch
) -> None:
    send = Archive.store

    def dying(self: Archive, file: Path) -> str:
        orthanc.kill()
        return send(self, file)

    monkeypatch.setattr(Archive, "store", dying)
    with pytest.raises(InputError, match=r"seg\.dcm is kept; whether it was stored is not known"):
        run(model, orthanc.url, str(slices[0].StudyInstanceUID), tmp_path / "out")
    assert len(list((tmp_path / "out").glob("*.seg.dcm"))) == 1
    assert (tmp_path / "out" / "predictions.csv").exists()
    orthanc.start()
    assert len(orthanc.ask("/instances")) == 9
    assert not orthanc.segmentations()


def test_images_that_a_killed_process_left_are_removed(
    model: Path, orthanc: Orthanc, slices: list[Dataset], tmp_path: Path
) -> None:
    holder = {"host": socket.gethostname(), "process": 2**30}
    for name, process in (("dead", 2**30), ("living", os.getpid())):
        left = tmp_path / "out" / f".fetched.{name}"
        left.mkdir(parents=True)
        (left / ".lock").write_text(json.dumps(holder | {"process": process}))
    run(model, orthanc.url, str(slices[0].StudyInstanceUID), tmp_path / "out", store=False)
    assert [path.name for path in (tmp_path / "out").glob(".fetched.*")] == [".fetched.living"]


class Between(BaseHTTPRequestHandler):
    """Passes requests on to an archive; `lose` says which POSTs it drops, before or after that."""

    target, lose, seen = "", [""], [""]

    def do_GET(self) -> None:
        self.seen.append(self.headers.get("Authorization", ""))
        self._answer(requests.get(self.target + self.path, headers=self._headers(), timeout=10))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        how = self.lose.pop(0) if self.lose else ""
        if how == "before":
            return self.connection.close()
        url, headers = self.target + self.path, self._headers()
        answer = requests.post(url, body, headers=headers, timeout=10)
        return self.connection.close() if how == "after" else self._answer(answer)

    def _headers(self) -> dict[str, str]:
        return {key: value for key, value in self.headers.items() if key != "Host"}

    def _answer(self, answer: requests.Response) -> None:
        self.send_response(answer.status_code)
        self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""


@pytest.fixture
def between(orthanc: Orthanc) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Between)
    Between.target, Between.lose, Between.seen = orthanc.root, [], []
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("lose", [["after"], ["before"]])
def test_a_lost_answer_stores_nothing_twice(
    model: Path, orthanc: Orthanc, slices: list[Dataset], between, tmp_path: Path, lose: list[str]
) -> None:
    Between.lose = list(lose)
    url = f"http://127.0.0.1:{between.server_port}/dicom-web"
    (row,) = run(model, url, str(slices[0].StudyInstanceUID), tmp_path / "out")["rows"]
    (stored,) = orthanc.segmentations()
    assert stored.SOPInstanceUID == pydicom.dcmread(row["mask"]).SOPInstanceUID


def test_certificates_are_verified(
    model: Path, orthanc: Orthanc, slices: list[Dataset], between, tmp_path: Path, monkeypatch
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-keyout", key, "-out", certificate, "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    between.socket = context.wrap_socket(between.socket, server_side=True)
    url = f"https://127.0.0.1:{between.server_port}/dicom-web"
    study = str(slices[0].StudyInstanceUID)
    with pytest.raises(InputError, match="has no certificate that can be verified"):
        run(model, url, study, tmp_path / "out")
    assert not Between.seen  # no password was sent
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    run(model, url, study, tmp_path / "out")
    assert len(orthanc.segmentations()) == 1


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://pacs.example.org/dicom-web", "everybody on the way could read the password"),
        ("https://anna:horse@pacs.example.org", "holds an @"),
        ("anna:horse@pacs.example.org/dicom-web", "holds an @"),
        ("https://anna:ho[rse@pacs.example.org", "holds an @"),
        ("ftp://pacs.example.org", "is no address"),
        ("pacs.example.org/dicom-web", "is no address"),
        ("https://[", "is no address"),
    ],
)
def test_addresses_that_are_refused(monkeypatch, url: str, told: str) -> None:
    monkeypatch.setenv("BRAINSEG_DICOMWEB_PASSWORD", "secret")
    with pytest.raises(InputError, match=told) as error:
        Archive(url)
    assert "anna" not in str(error.value)
    monkeypatch.delenv("BRAINSEG_DICOMWEB_PASSWORD")


def test_images_in_the_clear_are_told(monkeypatch, caplog) -> None:
    monkeypatch.delenv("BRAINSEG_DICOMWEB_PASSWORD", raising=False)
    Archive("http://pacs.example.org/dicom-web")
    assert "everybody on the way can read the images" in caplog.text
    caplog.clear()
    Archive("http://localhost:8042/dicom-web")
    assert not caplog.text
