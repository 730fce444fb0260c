"""A web server for the page that segments: this machine's only, with the headers threads need."""

import logging
import sys
import webbrowser
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from brainseg.errors import InputError
from brainseg.policy import APP_POLICY
from brainseg.predict.page_files import START

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"

HEADERS = {
    # Threads of WebAssembly share memory, which browsers give to isolated pages only.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": f"{APP_POLICY}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
TYPES = {
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
    ".onnx": "application/octet-stream",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".css": "text/css",
    ".html": "text/html; charset=utf-8",
}
"""What Windows' registry may say otherwise."""


class Handler(SimpleHTTPRequestHandler):
    """Files of one folder, for pages that were opened under the server's own name."""

    server: ThreadingHTTPServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "brainseg", ""
    extensions_map = SimpleHTTPRequestHandler.extensions_map | TYPES

    def send_head(self) -> Any:
        """Refuse what a foreign page asks for, and what lies elsewhere; else as the parent."""
        port = self.server.server_port
        if self.headers.get("Host") not in (f"{LOOPBACK}:{port}", f"localhost:{port}"):
            # A foreign name that was made to lead here (https://en.wikipedia.org/wiki/DNS_rebinding).
            return self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "This is another server")
        if not self._is_inside(self.translate_path(self.path)):
            return self.send_error(HTTPStatus.NOT_FOUND, "File not found")
        return super().send_head()

    def _is_inside(self, path: str) -> bool:
        """Whether a path, and what it links to, lies in the folder."""
        try:
            return Path(path).resolve().is_relative_to(Path(self.directory).resolve())
        except (ValueError, OSError):  # no name that a file can have
            return False

    def list_directory(self, path: Any) -> None:
        """No folder is listed."""
        self.send_error(HTTPStatus.NOT_FOUND, "File not found")

    def end_headers(self) -> None:
        """Add `HEADERS` to every answer."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *values: Any) -> None:
        """Into the log, where it is asked for."""
        logger.debug(format, *values)


class Server(ThreadingHTTPServer):
    """Passes over pages that were closed while they loaded."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print what is none of that."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def make_server(folder: Path, port: int) -> Server:
    """A server of `folder` on the loopback address, not yet serving.

    Args:
        folder: a package of `brainseg package`.
        port: 0 for any that is free.

    Raises:
        InputError: the folder has no page, or the port cannot be had.
    """
    if not (folder / START).is_file():
        raise InputError(
            f"{folder} has no {START}. Expected a package with its page; make one with `brainseg "
            "package RUN --out NEW`, after `make web`."
        )
    try:
        return Server((LOOPBACK, port), partial(Handler, directory=str(folder)))
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise InputError(
            f"Port {port} of {LOOPBACK} cannot be had ({why}). Choose another with --port, or "
            "--port 0 for any that is free."
        ) from error


def serve(
    folder: Path, port: int, *, tell: Callable[[str], None] = print, show: bool = False
) -> None:
    """Serve the page of a package until Ctrl-C.

    Args:
        folder: a package of `brainseg package`.
        port: 0 for any that is free.
        tell: gets the address.
        show: whether to open a browser.

    Raises:
        InputError: see `make_server`.
        KeyboardInterrupt: the server was stopped.
    """
    with make_server(folder, port) as server:
        address = f"http://{LOOPBACK}:{server.server_port}/"
        tell(f"{address}  (Ctrl-C ends it)")
        if show:
            webbrowser.open(address)
        server.serve_forever()
