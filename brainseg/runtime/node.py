"""A Node process that runs one network, and the frames in which it is spoken to.

A frame is a length (4 bytes, little-endian), so many bytes of JSON, and `bytes` more of float32:
images one way, probabilities the other. The process ends when its standard input does, so with
whoever started it, however that ends.
"""

import json
import queue
import struct
import subprocess
import tempfile
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from brainseg.errors import InputError

WORKER = Path(__file__).parent / "wasm" / "worker.mjs"

PATIENCE = 600.0
"""Seconds after which a process that does not answer is ended: far more than a pass takes."""

Frame = tuple[dict[str, Any], NDArray[np.float32]]


class NodeWorker:
    """A running process; it is ended when this object is."""

    def __init__(self, node: Path, asked: dict[str, Any], subject: Path) -> None:
        """Start the worker.

        Args:
            node: the program.
            asked: what the worker takes: module, model, threads and settings.
            subject: the file that errors name.
        """
        self._subject = subject
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (as long as this object)
        self._process = subprocess.Popen(
            [node, WORKER, json.dumps(asked)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            start_new_session=True,  # Ctrl-C is for us: rows that are complete are kept
        )
        self._frames: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        assert self._process.stdout is not None
        reading = (self._process.stdout, self._frames)
        threading.Thread(target=_read_all, args=reading, daemon=True).start()
        self.end = weakref.finalize(self, _end, self._process, self._said)

    def ask(self, images: NDArray[np.float32]) -> Frame:
        """Send images N×1×H×W; the header and the probabilities that come back.

        Raises:
            InputError: it says what went wrong, such as a wrong size, or that the process has died
                or does not answer.
        """
        values = np.ascontiguousarray(images, np.float32)
        header = json.dumps({"shape": values.shape, "bytes": values.nbytes}).encode()
        pipe = self._process.stdin
        assert pipe is not None
        with suppress(OSError, ValueError):  # the answer tells why
            pipe.write(struct.pack("<I", len(header)) + header)
            pipe.write(values.tobytes())
            pipe.flush()
        return self.answer()

    def answer(self) -> Frame:
        """The next frame.

        Raises:
            InputError: see `ask`.
        """
        try:
            frame = self._frames.get(timeout=PATIENCE)
        except queue.Empty:
            self.end()
            raise InputError(
                f"onnxruntime-web did not answer within {PATIENCE:.0f} s for {self._subject}. Its "
                "process was ended. Give fewer images per pass (--batch)."
            ) from None
        if frame is None:
            self._frames.put(None)  # for whoever asks again
            raise InputError(self._obituary())
        if "error" in frame[0]:
            raise InputError(f"onnxruntime-web: {frame[0]['error']} ({self._subject})")
        return frame

    def _obituary(self) -> str:
        if not self.end.alive:
            return f"The Node process for {self._subject} was ended before. Open the file again."
        code = self._process.wait()
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").split("\n")
        told = [line.strip()[:300] for line in lines if "Error" in line or "FATAL" in line]
        reason = f": {told[0]}" if told else ""
        return (
            f"The Node process for {self._subject} ended with exit code {code}{reason}. If memory "
            "is short, give fewer images per pass (--batch)."
        )


def _read_all(pipe: IO[bytes], frames: "queue.SimpleQueue[Frame | None]") -> None:
    """Pass frames on as they come, and `None` when no more will."""
    with suppress(OSError, ValueError):  # cut off
        while len(length := pipe.read(4)) == 4:
            header = json.loads(pipe.read(*struct.unpack("<I", length)))
            values = np.frombuffer(pipe.read(header["bytes"]), np.float32)
            frames.put((header, values.reshape(header.get("shape", -1) if values.size else 0)))
    frames.put(None)


def _end(process: "subprocess.Popen[bytes]", said: IO[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in filter(None, (process.stdin, process.stdout, said)):
        with suppress(OSError):  # what it was not told any more
            pipe.close()
