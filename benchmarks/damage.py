"""Damage every file of a finished run in several ways; tell what a user sees, and what is lost.

    python benchmarks/damage.py EXPERIMENT [--only NAME …] [--train COMMAND …]

Works on a copy of the experiment, by the command line: `brainseg report`, then what the report
names, then `report` again. Prints a table in Markdown. A traceback, or a run that is missing in the
report although its files are whole, ends with exit code 1.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

COMMAND = [sys.executable, "-m", "brainseg"]


def flip(content: bytes) -> bytes:
    """One bit in the middle is another one."""
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "garbage": lambda content: b"\xff\xfe\x00" + bytes(range(256)),
    "other shape": lambda content: b"[1, 2]\n",
    "bit flip": flip,
}


def main() -> int:
    """Run the campaign; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("experiment", type=Path)
    parser.add_argument("--only", nargs="*", help="names of files; default: all")
    parser.add_argument("--kinds", nargs="*", default=list(DAMAGES), choices=list(DAMAGES))
    parser.add_argument("--train", help="the command that trained the runs, without output_dir")
    chosen = parser.parse_args()
    print("| file | damage | what the report says | made again by | lost |\n|---|---|---|---|---|")
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in sorted(names_of(chosen.experiment)):
            if chosen.only and name not in chosen.only:
                continue
            for kind in chosen.kinds:
                failures += not attempt(chosen, Path(folder), name, kind)
    return 1 if failures else 0


def names_of(experiment: Path) -> list[str]:
    """The files of the first run, but for figures and what a report writes."""
    run = first_run(experiment)
    files = [file.relative_to(run) for file in run.rglob("*") if file.is_file()]
    skipped = {"figures", "wandb"}
    return [
        file.as_posix()
        for file in files
        if file.parts[0] not in skipped and not file.name.startswith(".") and file.suffix != ".md"
    ]


def first_run(experiment: Path) -> Path:
    """The run that is damaged."""
    return sorted(state.parent for state in experiment.glob("*/state.json"))[0]


def attempt(chosen: argparse.Namespace, folder: Path, name: str, kind: str) -> bool:
    """Damage one file in one way, print a row, and say whether all went as it should."""
    copy = folder / chosen.experiment.name
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(chosen.experiment, copy)
    run = first_run(copy)
    before = rows_of(run)
    content = (run / name).read_bytes()
    (run / name).write_bytes(DAMAGES[kind](content))
    code, printed = call([*COMMAND, "report", str(copy)])
    reasons = read_reasons(copy)  # as they are before a terminal breaks their lines
    said = printed if "Traceback" in printed else reasons
    others = set(rows_of_table(copy)) >= {path.name for path in copy.glob("*/state.json")}
    seen = tell(said)
    by, lost = mend(chosen, run, name, said)
    same = (run / name).exists() and (run / name).read_bytes() == content
    after = rows_of(run)
    if lost is None:
        lost = "nothing" if same else "nothing; made anew" if (run / name).exists() else "the file"
        lost += "" if timed(after) >= timed(before) else "; timings"
    good = code == 0 and others and "Traceback" not in said
    print(f"| {name} | {kind} | {seen} | {by} | {lost} |", flush=True)
    return good


def mend(chosen: argparse.Namespace, run: Path, name: str, said: str) -> tuple[str, str | None]:
    """Do what the report names, or what renews the file; what did it, and what is lost if known."""
    words = " ".join(said.split())
    found = re.search(r"`(brainseg [^`…]*)` makes it again", words)
    if found and "brainseg report" not in found[1]:
        verb = found[1].split()
        code, told = call([*COMMAND, verb[1], str(run), *verb[3:]])
    elif "python train.py" in words or "force=true" in words or name.endswith(".ckpt"):
        if not chosen.train:
            return "–", None
        code, told = call([*chosen.train.split(), f"output_dir={run.parents[1]}"])
    elif name.endswith(".onnx"):
        code, told = call([*COMMAND, "quantize", str(run), "--mode", "int8_dynamic"])
    else:
        return "nothing to do", None
    if "Traceback" in told:
        return "TRACEBACK", "?"
    label = "train.py" if "train.py" in " ".join(chosen.train or "") and not found else None
    by = label or (found[1].split()[1] if found else "train.py or quantize")
    return f"{by} (exit code {code})", None


def call(command: list[str]) -> tuple[int, str]:
    """Exit code of a command, and all that it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def read_reasons(experiment: Path) -> str:
    """Why rows of the report are not as they should be."""
    rows = json.loads((experiment / "report/table.json").read_text())["rows"]
    return "\n".join(row["reason"] for row in rows if row["reason"])


def tell(said: str) -> str:
    """The line that names the file, short."""
    if "Traceback" in said:
        return "TRACEBACK " + said.strip().splitlines()[-1]
    found = re.search(r"is damaged: (.*?)\. ", said)
    return found[1].replace("|", "/")[:90] if found else "–"


def rows_of(run: Path) -> list[dict]:
    """The rows of `deploy.json`, none where they cannot be read."""
    try:
        return json.loads((run / "deploy.json").read_text())
    except (OSError, ValueError):
        return []


def timed(rows: list[dict]) -> int:
    """How many of them were timed."""
    return sum(row.get("latency_ms") is not None for row in rows if isinstance(row, dict))


def rows_of_table(experiment: Path) -> list[str]:
    """The run of each row in the report."""
    return [
        row["run"] for row in json.loads((experiment / "report/table.json").read_text())["rows"]
    ]


if __name__ == "__main__":
    sys.exit(main())
