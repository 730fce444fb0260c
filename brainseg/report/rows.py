"""Rows of `table.json`: their order, and how people read them."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

Row = dict[str, Any]

ORDERS: dict[str, tuple[str, ...]] = {
    "attention": ("none", "ag", "se", "cbam"),
    "variant": (),
    "mode": ("fp32", "fp16", "int8_dynamic", "int8_weights", "int8_static", "int8_qat"),
    "device": ("cpu", "cuda"),
    "runtime": ("onnxruntime", "openvino"),
}
"""What rows are sorted by, and the values that come first."""

SETTINGS = ("mode", "options", "runtime", "device", "batch", "threads")
"""What a row is about, next to its run."""

REFERENCE, RUNTIME = "fp32", "onnxruntime"

NOTHING = "–"
"""The cell of what was not measured, or is undefined."""

TELLING = ("precision", "per_channel", "max_drop")
"""Options that change what is deployed; the others are told only where they vary."""


def order(row: Row) -> tuple[Any, ...]:
    """Sort key of a row."""
    return (
        *(rank(row[key], names) for key, names in ORDERS.items()),
        row["batch"] or 0,
        row["threads"] or 0,
        (bool(row["options"]), canonical(row["options"])),
        row["run"],
    )


def canonical(value: Any) -> str:
    """The same text for equal values."""
    return json.dumps(value, sort_keys=True)


def is_reference(row: Row) -> bool:
    """Whether the row is plain fp32 with onnxruntime, which every device is compared with."""
    return (row["mode"], row["runtime"]) == (REFERENCE, RUNTIME) and not row["options"]


def varying_options(rows: Iterable[Row]) -> set[tuple[str, str]]:
    """Mode and name of each option that has several values among the rows of its mode."""
    values: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        for key, value in (row["options"] or {}).items():
            values[row["mode"], key].add(canonical(value))
    return {option for option, found in values.items() if len(found) > 1}


def name_mode(row: Row, varying: set[tuple[str, str]]) -> str:
    """The mode with the options that tell it from others, such as `fp32 (bf16)`."""
    options = name_options(row, varying)
    return f"{row['mode']} ({options})" if options else row["mode"]


def name_options(row: Row, varying: set[tuple[str, str]]) -> str:
    """The options that tell a row from others of its mode, empty where there is none."""
    shown = {
        key: value
        for key, value in (row["options"] or {}).items()
        if key in TELLING or (row["mode"], key) in varying
    }
    return ", ".join(filter(None, (_name_option(key, shown[key]) for key in shown)))


def name_device(row: Row, threads: bool) -> str:
    """The device with what tells the row from others there; threads only where they vary."""
    if row["device"] is None:
        return NOTHING
    extras = [
        row["runtime"] if row["runtime"] != RUNTIME else None,
        f"batch {row['batch']}" if (row["batch"] or 1) > 1 else None,
        f"threads {row['threads']}" if threads and row["threads"] else None,
    ]
    return " ".join([row["device"], *(f"({extra})" for extra in extras if extra)])


def threads_vary(rows: Iterable[Row]) -> bool:
    """Whether something was measured with several numbers of threads."""
    found: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        if row["threads"] is not None:
            place = [row[name] for name in ("mode", "runtime", "device", "batch")]
            found[canonical(place)].add(row["threads"])
    return any(len(values) > 1 for values in found.values())


def span(numbers: Sequence[str]) -> str:
    """The number where all are the same, otherwise the lowest and the highest."""
    ends = sorted(numbers, key=lambda number: float(number or 0))
    return "–".join(dict.fromkeys([ends[0], ends[-1]]))


def signed(value: float) -> str:
    """A change with its sign and four decimals."""
    text = f"{value:+.4f}"
    return text.replace("-", "−") if float(text) else "0.0000"


def _name_option(key: str, value: Any) -> str:
    words = "drop" if key == "max_drop" else key.replace("_", " ")
    if value is None or value is False:
        return ""
    if value is True:
        return words
    if isinstance(value, (int, float)):
        return f"{words} {value:g}"
    if isinstance(value, list):
        return f"{len(value)} {words}"
    return value if isinstance(value, str) else f"{words} {canonical(value)}"


def rank(name: str | None, names: Sequence[str]) -> tuple[int, str]:
    """Sort key: `names` in their order, then others by name."""
    return (names.index(name) if name in names else len(names), str(name))
