"""W&B's offline folders, read back: what a server gets when they are sent."""

import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

from brainseg.errors import InputError
from brainseg.run import Run

HEAD, BLOCK, CHUNK_HEAD = 7, 32768, 7
WHOLE, LAST = 1, 4
"""Kinds of chunk with which a record ends; 2 and 3 are its first and its middle parts."""

IMAGES = ("images/separated", "image-file")


def latest_offline(run: Run) -> Path | None:
    """The offline folder of a run that was written last, which holds all of it."""
    folders = [path.parent for path in run.wandb.glob("offline-run-*/run-*.wandb")]
    return max(folders, default=None)  # the names begin with the time


def is_sent(folder: Path) -> bool:
    """Whether `wandb sync` has sent an offline folder."""
    return any(folder.glob("run-*.wandb.synced"))


def read_offline(folder: Path) -> dict[str, Any]:
    """What an offline folder holds.

    Returns:
        `id`, `name`, `project`, `entity`, `group`, `job_type`, `tags`; `config` as a dictionary;
        `history`, the logged numbers of each step; `summary`, the numbers of the run (the best
        value of a curve is `<name>.max` or `<name>.min`); `metrics`, of each defined one the
        `summary` (`max`, `min`) and the `step` it is drawn over; `tables` and `images`, how many
        rows and pictures each has; and `exit_code`, `None` where the run was not finished.

    Raises:
        InputError: the folder holds no file of W&B's.
    """
    path = next(iter(sorted(folder.glob("run-*.wandb"))), None)
    if path is None:
        raise InputError(
            f"{folder} is no offline folder of W&B: expected a run-<id>.wandb in it. Give one such "
            "as outputs/demo/ag-seed0/wandb/offline-run-<time>-<id>."
        )
    found: dict[str, Any] = {"config": {}, "history": [], "metrics": {}, "exit_code": None}
    summary: dict[str, Any] = {}
    for record in read_records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found |= _identity(record.run)
            found["config"] |= _config(record.run.config.update)
        elif kind == "metric":
            name = record.metric.name or record.metric.glob_name
            found["metrics"][name] = _definition(record.metric)
        elif kind == "history":
            found["history"].append(_numbers(_tree({}, record.history.item)))
        elif kind == "summary":
            summary = _tree(summary, record.summary.update)
        elif kind == "exit":
            found["exit_code"] = record.exit.exit_code
    return found | {"summary": _numbers(summary)} | _media(summary)


def read_records(path: Path) -> Iterator[Record]:
    """The records of a `.wandb` file, up to the last that is there as a whole.

    The Python package has no reader of its own (as of wandb 0.31). The file has a head of 7 bytes,
    then LevelDB's log format: blocks of 32 KiB hold chunks of CRC (4 bytes), length (2), kind (1)
    and data; a record has one chunk or several.
    """
    content, at, parts = path.read_bytes(), HEAD, b""
    while at + CHUNK_HEAD <= len(content):
        left_in_block = BLOCK - at % BLOCK
        if left_in_block < CHUNK_HEAD:
            at += left_in_block
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        data = content[at + CHUNK_HEAD : at + CHUNK_HEAD + length]
        if len(data) < length:
            return  # it is still being written
        parts += data
        at += CHUNK_HEAD + length
        if kind in (WHOLE, LAST):
            yield Record.FromString(parts)
            parts = b""


def describe_offline(runs: Sequence[Run]) -> list[str]:
    """Lines for people: what the latest offline folder of each run holds, and how to send them."""
    lines = ["What the latest W&B folder of each run holds:"]
    for run in runs:
        folder = latest_offline(run)
        held = [_why_none(run)] if folder is None else [str(folder), *_describe(folder)]
        lines += [run.name, *(f"    {line}" for line in held)]
    if any(latest_offline(run) for run in runs):
        lines.append(f"To send them: {sync_command(runs)}")
    return lines


def sync_command(runs: Sequence[Run]) -> str:
    """What sends the latest offline folder of each run beside `runs`."""
    experiments = dict.fromkeys(run.experiment for run in runs)
    return " ".join(
        ["wandb sync", *(f"{quote(str(path))}/*/wandb/latest-run" for path in experiments)]
    )


def _describe(folder: Path) -> list[str]:
    held = read_offline(folder)
    epochs = sum("epoch" in row for row in held["history"])
    score = held["summary"].get("test/mean_iou")
    tested = "no test score" if score is None else f"test/mean_iou {score:.4f}"
    return [
        f"epochs: {epochs}; numbers: {len(held['summary'])}, {tested}",
        f"table rows: {_count(held['tables'])}; images: {_count(held['images'])}",
        "sent already" if is_sent(folder) else "not sent yet",
    ]


def _why_none(run: Run) -> str:
    if any(run.wandb.glob("run-*")):
        return "nothing waits here: W&B got it while the run was made"
    return "no W&B folder: it was made with tracking=none"


def _count(of: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {of[name]}" for name in sorted(of)) or "none"


def _identity(run: Any) -> dict[str, Any]:
    return {
        "id": run.run_id,
        "name": run.display_name,
        "project": run.project,
        "entity": run.entity or None,
        "group": run.run_group,
        "job_type": run.job_type,
        "tags": list(run.tags),
    }


def _config(items: Iterable[Any]) -> dict[str, Any]:
    """Without what W&B notes of itself."""
    return {item.key: json.loads(item.value_json) for item in items if item.key != "_wandb"}


def _definition(metric: Any) -> dict[str, Any]:
    aims = [name for name in ("max", "min") if getattr(metric.summary, name)]
    return {"summary": next(iter(aims), None), "step": metric.step_metric or None}


def _tree(tree: dict[str, Any], items: Iterable[Any]) -> dict[str, Any]:
    """`tree` with the items at their places; each names the way to its own."""
    for item in items:
        *way, last = item.nested_key or [item.key]
        node = tree
        for name in way:
            node = node.setdefault(name, {})
        node[last] = json.loads(item.value_json)
    return tree


def _numbers(tree: dict[str, Any]) -> dict[str, Any]:
    """Neither media nor what W&B adds; a curve's best value gets the name that W&B shows."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if name.startswith("_") or (isinstance(value, dict) and "_type" in value):
            continue
        if isinstance(value, dict):
            flat |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            flat[name] = value
    return flat


def _media(summary: dict[str, Any]) -> dict[str, dict[str, int]]:
    typed = {name: value for name, value in summary.items() if isinstance(value, dict)}
    return {
        "tables": {n: v["nrows"] for n, v in typed.items() if v.get("_type") == "table-file"},
        "images": {n: v.get("count", 1) for n, v in typed.items() if v.get("_type") in IMAGES},
    }
