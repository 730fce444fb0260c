"""Archives that answer in ways of their own."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from brainseg.errors import InputError
from brainseg.predict.archive import Archive
from brainseg.predict.archive_listing import Listed

SERIES = {
    "0020000E": {"vr": "UI", "Value": ["1.2.4"]},
    "00080060": {"vr": "CS", "Value": ["MR"]},
    "00201209": {"vr": "IS", "Value": [3]},
}
ANSWERS: dict[str, Any] = {
    "page": "<html>A web page</html>",
    "object": {"error": "none"},
    "nothing": [None],
    "series": [SERIES],
    "two": [SERIES, SERIES | {"0020000E": {"vr": "UI", "Value": ["1.2.5"]}}],
    "evil": [SERIES | {"0020000E": {"vr": "UI", "Value": ["../../x"]}}],
}


class Odd(BaseHTTPRequestHandler):
    """Answers by the first part of the path; it lists one series, or two images, at a time."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        kind = parts.path.split("/")[1]
        if kind == "busy":
            return self.send_error(503)
        if kind == "cut":
            return self._answer(b"[{", 1000)
        offset = int(parse_qs(parts.query).get("offset", ["0"])[0])
        if parts.path.endswith("/instances"):
            start = 0 if kind == "deaf" else offset
            listed = [{"00080018": {"Value": [f"1.2.{k}"]}} for k in range(3)][start : start + 2]
            return self._answer(json.dumps(listed).encode())
        answer = ANSWERS[kind][offset : offset + 1] if kind == "two" else ANSWERS[kind]
        return self._answer((answer if kind == "page" else json.dumps(answer)).encode())

    def _answer(self, content: bytes, length: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/dicom+json")
        self.send_header("Content-Length", str(length or len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""


@pytest.fixture
def server() -> Iterator[str]:
    made = ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_port}"
    made.shutdown()
    made.server_close()


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("busy", r"answered with an error \(503\)"),
        ("cut", "broke off while it answered"),
        ("page", "does not answer as DICOMweb does"),
        ("nothing", "does not answer as DICOMweb does"),
        ("object", "no series of MR slices"),
    ],
)
def test_odd_answers_are_told(server: str, kind: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        Archive(f"{server}/{kind}").choose_series("1.2.3")


def test_a_list_in_parts_is_read_whole(server: str) -> None:
    archive = Archive(f"{server}/series")
    series = archive.choose_series("1.2.3")
    assert (series.uid, series.images) == ("1.2.4", 3)
    assert archive._list_images("1.2.3", series) == ["1.2.0", "1.2.1", "1.2.2"]


def test_series_that_are_listed_one_by_one_are_all_seen(server: str) -> None:
    archive = Archive(f"{server}/two")
    with pytest.raises(InputError, match="2 series that fit"):
        archive.choose_series("1.2.3")
    assert archive.choose_series("1.2.3", "1.2.5").uid == "1.2.5"


def test_an_archive_that_never_lists_the_rest(server: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has 3 images, but lists 2"):
        Archive(f"{server}/deaf").fetch("1.2.3", Listed("1.2.4", "MR", "", 3), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_series_that_is_no_uid_leads_nowhere(server: str, tmp_path: Path) -> None:
    archive = Archive(f"{server}/evil")
    with pytest.raises(InputError, match="does not answer as DICOMweb does"):
        archive.fetch("1.2.3", archive.choose_series("1.2.3"), tmp_path)
