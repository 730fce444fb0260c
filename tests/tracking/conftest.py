"""What a W&B server would get: a reader of the log that W&B writes offline.

The Python package has no reader of its own (as of wandb 0.31). A file has a head of 7 bytes, then
LevelDB's log format: blocks of 32 KiB hold chunks of CRC (4 bytes), length (2), kind (1) and data;
a record has one chunk or several.
"""

import json
import struct
import time

import pytest
from wandb.proto.wandb_internal_pb2 import Record

HEAD, BLOCK, CHUNK_HEAD = 7, 32768, 7
WHOLE, LAST = 1, 4


def read_records(path):
    """The records of a `.wandb` file, up to the last that is there as a whole."""
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


def read_offline(folder):
    """Identity, config, history, summary, defined metrics, media and exit code of a folder."""
    (path,) = folder.glob("run-*.wandb")
    found = {"config": {}, "history": [], "metrics": {}, "exit_code": None}
    summary = {}
    for record in read_records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            for name in ("run_id", "display_name", "project", "run_group", "job_type"):
                found[name] = getattr(run, name)
            found["tags"] = list(run.tags)
            config = {item.key: json.loads(item.value_json) for item in run.config.update}
            found["config"] |= {key: value for key, value in config.items() if key != "_wandb"}
        elif kind == "metric":
            metric = record.metric
            aims = [aim for aim in ("max", "min") if getattr(metric.summary, aim)]
            found["metrics"][metric.name or metric.glob_name] = {
                "summary": next(iter(aims), None),
                "step": metric.step_metric or None,
            }
        elif kind == "history":
            found["history"].append(numbers(grow({}, record.history.item)))
        elif kind == "summary":
            grow(summary, record.summary.update)
        elif kind == "exit":
            found["exit_code"] = record.exit.exit_code
    media = {n: v for n, v in summary.items() if isinstance(v, dict) and "_type" in v}
    tables = {n: v["nrows"] for n, v in media.items() if v["_type"] == "table-file"}
    images = {n: v["count"] for n, v in media.items() if v["_type"] == "images/separated"}
    return found | {"summary": numbers(summary), "tables": tables, "images": images}


def grow(tree, items):
    """Put the items at their places in `tree`; each names the way to its own."""
    for item in items:
        *way, last = item.nested_key or [item.key]
        node = tree
        for name in way:
            node = node.setdefault(name, {})
        node[last] = json.loads(item.value_json)
    return tree


def numbers(tree):
    """Neither media nor what W&B adds; a curve's best value gets the name that W&B shows."""
    flat = {}
    for name, value in tree.items():
        if name.startswith("_") or (isinstance(value, dict) and "_type" in value):
            continue
        inner = value if isinstance(value, dict) else None
        flat |= {name: value} if inner is None else {f"{name}.{key}": inner[key] for key in inner}
    return flat


@pytest.fixture(scope="session")
def read_back():
    """Run → what each of its offline folders holds, oldest first.

    W&B's own process may write the last of them a moment after the run was finished.
    """

    def read(run):
        folders = sorted(run.wandb.glob("offline-run-*"))
        deadline = time.monotonic() + 20
        while True:
            held = [read_offline(folder) for folder in folders]
            finished = all(one["exit_code"] is not None for one in held)
            if finished or time.monotonic() > deadline:
                return held
            time.sleep(0.05)

    return read
