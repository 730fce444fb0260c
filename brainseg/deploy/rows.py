"""The rows of `deploy.json`: what a mode costs and what it gives, per runtime and device."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from brainseg.files import read_json, write_json
from brainseg.run import Run

Row = dict[str, Any]

KEY = ("mode", "options", "runtime", "device", "batch", "threads")
"""What a row is about; there is one row for each combination."""

VALUES = (
    "status",
    "reason",
    "size_bytes",
    "size_ratio",
    "mean_iou",
    "tumor_iou",
    "dice",
    "delta_mean_iou",
    "parity",
    "latency_ms",
    "speedup",
    "speedup_interval",
    "speedup_vs_reference",
    "passes",
    "placement",
    "load_ms",
    "peak_memory_mb",
    "session",
    "measured_at",
    "noisy",
)
"""What was found out; `None` where it was not measured."""

REFERENCE, RUNTIME = "fp32", "onnxruntime"


def new_row(mode: str, *, device: str, threads: int, batch: int = 1, **values: Any) -> Row:
    """A row with all keys of `KEY` and `VALUES`; those not among `values` are `None`.

    Raises:
        KeyError: a value has a name that no row has.
    """
    if unknown := values.keys() - set(VALUES):
        raise KeyError(f"No such key of a row: {sorted(unknown)}")
    key = dict(zip(KEY, (mode, {}, RUNTIME, device, batch, threads), strict=True))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return key | dict.fromkeys(VALUES) | {"status": "ok", "measured_at": now} | values


def read_rows(run: Run) -> list[Row]:
    """The rows of `run`, none where it was never deployed."""
    return read_json(run.deploy) if run.deploy.exists() else []


def upsert_rows(run: Run, rows: Sequence[Row]) -> None:
    """Write `rows`; each takes the place of the row with the same `KEY`, if there is one."""
    merged = {_key(row): row for row in [*read_rows(run), *rows]}
    write_json(run.deploy, derive(list(merged.values())))


def drop_rows(run: Run, mode: str) -> None:
    """Remove the rows of `mode`, whose file is about to change."""
    rows = read_rows(run)
    kept = [row for row in rows if row["mode"] != mode]
    if len(kept) < len(rows):
        write_json(run.deploy, derive(kept))


def with_reference(modes: Sequence[str]) -> list[str]:
    """`modes` with fp32 in front, each once: nothing is compared without it."""
    return list(dict.fromkeys([REFERENCE, *modes]))


def derive(rows: Sequence[Row]) -> list[Row]:
    """Set what compares a row with fp32 in the same runtime on the same device.

    `size_ratio` is size by size, `delta_mean_iou` is quantized minus fp32 (negative: a loss).
    `speedup` is not derived: it is a ratio of passes that were measured side by side.
    """
    references = {_place(row): row for row in rows if row["mode"] == REFERENCE}
    return [row | _compare(row, references.get(_place(row), {})) for row in rows]


def _compare(row: Row, reference: Row) -> Row:
    size, reference_size = row["size_bytes"], reference.get("size_bytes")
    iou, reference_iou = row["mean_iou"], reference.get("mean_iou")
    known = iou is not None and reference_iou is not None
    return {
        "size_ratio": size / reference_size if size and reference_size else None,
        "delta_mean_iou": iou - reference_iou if known else None,
        # The reference runtime is the only one so far.
        "speedup_vs_reference": row["speedup"] if row["runtime"] == RUNTIME else None,
    }


def _key(row: Row) -> str:
    return json.dumps([row[name] for name in KEY], sort_keys=True)


def _place(row: Row) -> tuple[Any, ...]:
    return row["runtime"], row["device"], row["batch"], row["threads"]
