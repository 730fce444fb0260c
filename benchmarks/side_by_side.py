"""Commands within a budget of time: they print as they go, and end when their time is up."""

import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

GRACE = 10.0
"""Seconds between the request to end and the end."""


@dataclass
class Outcome:
    """What became of a command.

    Attributes:
        command: as it is typed.
        status: `ok`, or what went wrong, or why it was not run.
        seconds: that it took.
        lines: what it printed.
    """

    command: str
    status: str = "ok"
    seconds: float = 0.0
    lines: list[str] = field(default_factory=list)


class Budget:
    """Runs commands while there is time.

    A command is a process group of its own: a hang or a crash in a driver ends there, and what it
    has started ends with it.

    Attributes:
        outcomes: of all commands so far.
    """

    def __init__(
        self, seconds: float, log: Path, folder: Path, environment: Mapping[str, str]
    ) -> None:
        """Start the clock.

        Args:
            seconds: for everything.
            log: file that gets all that is printed.
            folder: in which commands run.
            environment: variables beside those of this process.
        """
        self.outcomes: list[Outcome] = []
        self._end = time.monotonic() + seconds
        self._log, self._folder = log, folder
        self._environment = {**os.environ, **environment}
        self._printing = threading.Lock()

    @property
    def left(self) -> float:
        """Seconds."""
        return self._end - time.monotonic()

    def say(self, text: str) -> None:
        """Print a line, and keep it in the log."""
        with self._printing, self._log.open("a", encoding="utf-8") as log:
            print(text, flush=True)
            print(text, file=log)

    def run(self, command: Sequence[str], seconds: float, *, copies: int = 1) -> list[Outcome]:
        """Run a command, or several at once.

        Args:
            command: a program and its arguments; `{copy}` in them is the number of the copy.
            seconds: what it is expected to take. With less left it is not run; it is ended after
                three times as much.
            copies: that run side by side.
        """
        commands = [
            [part.replace("{copy}", str(copy)) for part in command] for copy in range(copies)
        ]
        outcomes = [Outcome(shlex.join(each)) for each in commands]
        self.outcomes += outcomes
        self.say(f"\n$ {outcomes[0].command}{f'   ({copies} at once)' if copies > 1 else ''}")
        if self.left < seconds:
            return self._skip(outcomes, seconds)
        start, limit = time.monotonic(), min(self.left, 3 * seconds)
        processes = [self._start(each) for each in commands]
        readers = [
            threading.Thread(target=self._read, args=pair, daemon=True)
            for pair in zip(processes, outcomes, strict=True)
        ]
        try:
            for reader in readers:
                reader.start()
            for process, outcome in zip(processes, outcomes, strict=True):
                outcome.status = self._wait(process, start + limit)
                outcome.seconds = time.monotonic() - start
        finally:
            for process in processes:
                _signal(process, signal.SIGKILL)  # what it has started, too
                process.wait()
        for reader in readers:
            reader.join(GRACE)
        for outcome in outcomes:
            self.say(f"  {outcome.status}, {outcome.seconds:.1f} s")
        return outcomes

    def _skip(self, outcomes: list[Outcome], seconds: float) -> list[Outcome]:
        for outcome in outcomes:
            outcome.status = f"skipped: it takes about {seconds:.0f} s, {self.left:.0f} s are left"
        self.say(f"  {outcomes[0].status}")
        return outcomes

    def _start(self, command: Sequence[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def _read(self, process: subprocess.Popen[str], outcome: Outcome) -> None:
        assert process.stdout is not None
        with process.stdout as printed:
            for line in printed:
                outcome.lines.append(line.rstrip())
                self.say(f"  {outcome.lines[-1]}")

    def _wait(self, process: subprocess.Popen[str], end: float) -> str:
        try:
            code = process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGINT)  # as Ctrl-C: what is complete is kept
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
            return "stopped: its time was up"
        return "ok" if code == 0 else f"failed: exit code {code}"


def _signal(process: subprocess.Popen[str], kind: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, kind)
