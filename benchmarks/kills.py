"""Kill a small sweep at chosen moments, restart it until it ends, and compare what it leaves.

    python benchmarks/kills.py FOLDER --kills 15

Two variants of a tiny network on 32×32 phantoms, three epochs, fp32 and int8_dynamic, five timed
passes. The moment of each kill is chosen by phase: the script watches the files of the sweep, kills
in the phase that has the fewest kills so far, and restarts. A sweep that has come to its end is
compared with an undisturbed one, byte by byte but for times, latencies and environments, and the
next one starts from nothing. FOLDER keeps the counts: the same command goes on. Linux only.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from shutil import rmtree
from typing import Any

from brainseg.files import read_csv, read_json, write_json

ROOT = Path(__file__).parents[1]
PHASES = ("epoch", "checkpoint write", "scoring", "export", "quantization", "timing", "report")
SWEEP = (
    *("+sweeps=smoke", "model.attention=none,ag", "experiment_name=kills", "trainer.max_epochs=3"),
    *("deploy.modes=[int8_dynamic]", "deploy.devices=[cpu]", "deploy.passes=5", "tracking=none"),
)
LEARNT = ("epoch", "train_loss", "val_loss", "val_mean_iou", "val_tumor_iou", "lr")
MADE = ("mode", "options", "status", "size_bytes", "mean_iou", "tumor_iou", "dice", "network")
"""What of a row is no time."""

PATTERNS = (
    *("config.yaml", "split.csv", "data.json", "leaks.csv", "model.json", "checkpoints/*.ckpt"),
    *("metrics*.json", "cases*.csv", "appropriateness*.csv", "*.npz", "*.onnx", "model.*.json"),
    *("scored.json", "scores/*/*"),
)
"""Files of a run that are equal byte by byte."""

POLL_S, SPREAD_S = 0.003, 0.25
"""Between two looks; the longest wait in a phase before the kill."""


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Start, or go on with, the sweep in `folder`."""
    command = [sys.executable, str(ROOT / "train.py"), *SWEEP, f"data.cache_dir={folder}/../cache"]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)


def runs_in(folder: Path) -> list[Path]:
    """The run folders of the sweep."""
    return sorted(state.parent for state in folder.glob("outputs/kills/*/state.json"))


def observe(folder: Path, started: float) -> str | None:
    """The phase that the sweep is in, as far as its files tell.

    `started` is when its process was started, in seconds since the epoch.
    """
    runs = runs_in(folder)
    stages = []
    for run in runs:
        try:
            stages.append(json.loads((run / "state.json").read_text())["stage"])
        except (OSError, ValueError, KeyError):
            return None
    for run, stage in zip(runs, stages, strict=True):
        if stage == "train" and any(run.glob("checkpoints/.*.ckpt")):
            return "checkpoint write"
        if stage == "train" and is_newer(run / "state.json", started):
            return "epoch"
        if stage == "deploy" and is_newer(run / "state.json", started):
            return phase_after_training(run)
    if len(runs) < 2 or set(stages) != {"done"}:
        return None
    if not all(is_timed(run) for run in runs):
        return "timing"
    page = folder / "outputs/kills/report/index.html"
    return None if is_newer(page, max(map(timed_at, runs))) else "report"


def phase_after_training(run: Path) -> str:
    """Scoring, export or quantization."""
    if not (run / "cases.checkpoint.csv").exists() or not (run / "attention.npz").exists():
        return "scoring"
    if not (run / "model.fp32.json").exists():
        return "export"
    if not (run / "cases.fp32.csv").exists():
        return "scoring"
    return "scoring" if (run / "model.int8_dynamic.json").exists() else "quantization"


def is_newer(file: Path, moment: float) -> bool:
    """Whether a file was written after a moment."""
    try:
        return file.stat().st_mtime > moment
    except OSError:
        return False


def is_timed(run: Path) -> bool:
    """Whether the run has a session, and rows of it."""
    try:
        return any(row.get("session") for row in json.loads((run / "deploy.json").read_text()))
    except (OSError, ValueError):
        return False


def timed_at(run: Path) -> float:
    """When its rows were written."""
    return (run / "deploy.json").stat().st_mtime


def kill_in(folder: Path, wanted: str) -> str | None:
    """Start the sweep and kill it in a phase; the phase it was in, `None` where it ended first."""
    started = time.time()
    process = start(folder)
    while process.poll() is None:
        if observe(folder, started) == wanted:
            time.sleep(random.uniform(0, SPREAD_S) * random.random())
            phase = observe(folder, started)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return phase or wanted
        time.sleep(POLL_S)
    if process.returncode:
        sys.exit(f"The sweep ended with {process.returncode}: see {folder}/log")
    return None


def content(file: Path) -> Any:
    """What of a file is compared."""
    if file.name == "config.yaml":
        return file.read_text().replace(str(file.parents[3]), "")
    return file.read_bytes()


def differences(folder: Path, reference: Path) -> list[str]:
    """What the sweep in `folder` has lost or changed against the undisturbed one."""
    found = []
    for expected in runs_in(reference):
        run = folder / expected.relative_to(reference)
        files = {file for pattern in PATTERNS for file in expected.glob(pattern)}
        files |= {expected / file.relative_to(run) for p in PATTERNS for file in run.glob(p)}
        for file in sorted(files):
            other = run / file.relative_to(expected)
            if not (file.exists() and other.exists()) or content(file) != content(other):
                found.append(str(other))
        for name, keys, read in (
            ("history.csv", LEARNT, read_csv),
            ("deploy.json", MADE, read_json),
        ):
            one, other = (read(each / name) for each in (expected, run))
            if [[row.get(key) for key in keys] for row in one] != [
                [row.get(key) for key in keys] for row in other
            ]:
                found.append(str(run / name))
        if left := [file for file in run.rglob(".*") if file.name != ".lock"]:
            found.append(f"left behind: {left[0]}")
    if not (folder / "outputs/kills/report/index.html").exists():
        found.append("the report")
    return found


def main() -> None:
    """Run the campaign and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=15, help="in each phase")
    given = parser.parse_args()
    reference, victim = (given.folder.resolve() / name for name in ("reference", "victim"))
    notes = given.folder / "kills.json"
    kept = read_json(notes) if notes.exists() else {"kills": {}, "sweeps": 0, "differences": {}}
    kills = Counter(kept["kills"])
    since: set[str] = set(kept.get("since", []))
    for folder in (reference, victim):
        folder.mkdir(parents=True, exist_ok=True)
    if not (reference / "ended").exists():
        if start(reference).wait():
            sys.exit(f"The undisturbed sweep failed: see {reference}/log")
        (reference / "ended").touch()
    while min(kills[phase] for phase in PHASES) < given.kills or since:
        ahead = sorted(PHASES, key=lambda phase: kills[phase])
        wanted = ahead[0] if kills[ahead[0]] < given.kills else "none: to its end"
        phase = kill_in(victim, wanted)
        if phase:
            kills[phase] += 1
            since.add(phase)
            print(f"killed in {phase} ({kills.total()})", flush=True)
        else:
            kept["sweeps"] += 1
            changed = differences(victim, reference)
            for each in since:
                kept["differences"].setdefault(each, []).extend(changed)
            told = changed or "nothing lost or changed"
            print(f"sweep {kept['sweeps']} ended: {told}", flush=True)
            rmtree(victim / "outputs")
            since = set()
        write_json(notes, {**kept, "kills": dict(kills), "since": sorted(since)})
    print("| phase | kills | lost or changed |\n|---|---|---|")
    for phase in PHASES:
        changed = sorted(set(kept["differences"].get(phase, [])))
        print(f"| {phase} | {kills[phase]} | {', '.join(changed) or 'nothing'} |")


if __name__ == "__main__":
    main()
