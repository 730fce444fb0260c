"""The rows of `deploy.json`: what a mode costs and what it gives, per runtime and device."""

import json
from collections.abc import Collection, Mapping, Sequence
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
    "delta_mean_iou_interval",
    "val_mean_iou",
    "delta_val_mean_iou",
    "parity",
    "latency_ms",
    "end_to_end_ms",
    "speedup",
    "speedup_interval",
    "speedup_vs_reference",
    "passes",
    "placement",
    "kernels",
    "memcpy_nodes",
    "load_ms",
    "peak_memory_mb",
    "session",
    "measured_at",
    "noisy",
)
"""What was found out; `None` where it was not measured."""

REFERENCE, RUNTIME = "fp32", "onnxruntime"


def new_row(
    mode: str,
    *,
    device: str,
    threads: int,
    batch: int = 1,
    runtime: str = RUNTIME,
    options: Mapping[str, Any] | None = None,
    **values: Any,
) -> Row:
    """A row with all keys of `KEY` and `VALUES`; those not among `values` are `None`.

    Raises:
        KeyError: a value has a name that no row has.
    """
    if unknown := values.keys() - set(VALUES):
        raise KeyError(f"No such key of a row: {sorted(unknown)}")
    key = (mode, dict(options or {}), runtime, device, batch, threads)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return (
        dict(zip(KEY, key, strict=True))
        | dict.fromkeys(VALUES)
        | {"status": "ok", "measured_at": now}
        | values
    )


def quantization_options(run: Run, mode: str) -> dict[str, Any]:
    """The options with which the file of `mode` was made; empty where none are recorded."""
    facts = run.quantization(mode)
    return read_json(facts)["options"] if facts.exists() else {}


def read_rows(run: Run) -> list[Row]:
    """The rows of `run`, none where it was never deployed; older ones lack no key of `VALUES`."""
    rows = read_json(run.deploy) if run.deploy.exists() else []
    return [row | {name: None for name in VALUES if name not in row} for row in rows]


def upsert_rows(run: Run, rows: Sequence[Row]) -> None:
    """Write `rows`; each takes the place of the row with the same `KEY`, if there is one.

    What was measured stays where it cannot be had any more.
    """
    merged = {_key(row): row for row in read_rows(run)}
    for row in rows:
        before = merged.get(_key(row), row)
        if (before["status"], row["status"]) != ("ok", "unavailable"):
            merged[_key(row)] = row
    write_json(run.deploy, derive(list(merged.values())))


def drop_rows(run: Run, modes: Collection[str]) -> None:
    """Remove the rows of `modes`, whose files are about to change."""
    rows = read_rows(run)
    kept = [row for row in rows if row["mode"] not in modes]
    if len(kept) < len(rows):
        write_json(run.deploy, derive(kept))


def with_reference(modes: Sequence[str]) -> list[str]:
    """`modes` with fp32 in front, each once: nothing is compared without it."""
    return list(dict.fromkeys([REFERENCE, *modes]))


def is_reference(row: Row) -> bool:
    """Whether the row is fp32 without options, which others in its runtime are compared with."""
    return row["mode"] == REFERENCE and not row["options"]


def derive(rows: Sequence[Row]) -> list[Row]:
    """Set what compares a row with plain fp32 in the same runtime on the same device.

    `size_ratio` is size by size, `delta_…` is the row minus fp32 (negative: a loss). Speedups are
    not derived: they are ratios of passes that were measured side by side.
    """
    references = {_place(row): row for row in rows if is_reference(row)}
    return [row | _compare(row, references.get(_place(row), {})) for row in rows]


def _compare(row: Row, reference: Row) -> Row:
    size, reference_size = row["size_bytes"], reference.get("size_bytes")
    return {
        "size_ratio": size / reference_size if size and reference_size else None,
        "delta_mean_iou": _change(row, reference, "mean_iou"),
        "delta_val_mean_iou": _change(row, reference, "val_mean_iou"),
    }


def _change(row: Row, reference: Row, name: str) -> float | None:
    value, before = row[name], reference.get(name)
    return None if value is None or before is None else value - before


def _key(row: Row) -> str:
    return json.dumps([row[name] for name in KEY], sort_keys=True)


def _place(row: Row) -> tuple[Any, ...]:
    return row["runtime"], row["device"], row["batch"], row["threads"]
