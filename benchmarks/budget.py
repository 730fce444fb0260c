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

    def run(self, command: Sequence[str], seconds: float) -> Outcome:
        """Run a command.

        Args:
            command: a program and its arguments.
            seconds: what it is expected to take. With less left it is not run; it is ended after
                three times as much.
        """
        outcome = Outcome(shlex.join(command))
        self.outcomes.append(outcome)
        self.say(f"\n$ {outcome.command}")
        if self.left < seconds:
            left = max(self.left, 0)
            outcome.status = f"skipped: it takes about {seconds:.0f} s, {left:.0f} s are left"
            self.say(f"  {outcome.status}")
            return outcome
        start, limit = time.monotonic(), min(self.left, 3 * seconds)
        process = subprocess.Popen(
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
        reader = threading.Thread(target=self._read, args=(process, outcome), daemon=True)
        try:
            reader.start()
            outcome.status = _wait(process, limit)
        finally:
            _signal(process, signal.SIGKILL)  # what it has started, too
            process.wait()
        outcome.seconds = time.monotonic() - start
        reader.join(GRACE)
        self.say(f"  {outcome.status}, {outcome.seconds:.1f} s")
        return outcome

    def _read(self, process: subprocess.Popen[str], outcome: Outcome) -> None:
        assert process.stdout is not None
        with process.stdout as printed:
            for line in printed:
                outcome.lines.append(line.rstrip())
                self.say(f"  {outcome.lines[-1]}")


def _wait(process: subprocess.Popen[str], seconds: float) -> str:
    """How it ends, on its own or by Ctrl-C after so many seconds."""
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGINT)  # what is complete is kept
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
        return "stopped: its time was up"
    return "ok" if code == 0 else f"failed: exit code {code}"


def _signal(process: subprocess.Popen[str], kind: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, kind)
