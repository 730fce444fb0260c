"""The runs of an experiment to rows, and to `table.json`, `table.csv` and `table.md`."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from brainseg.files import read_json, write_csv, write_json, write_text
from brainseg.report.provenance import commit_of, read_config, read_test
from brainseg.report.render import to_markdown
from brainseg.report.rows import Row, order
from brainseg.report.summary import Table
from brainseg.run import Run

COLUMNS = (
    *("run", "variant", "attention", "data", "split", "part", "n", "seed", "commit"),
    *("mode", "options", "runtime", "device", "batch", "threads", "status", "reason"),
    *("size_bytes", "size_ratio", "mean_iou", "tumor_iou", "dice", "delta_mean_iou"),
    *("delta_mean_iou_interval", "val_mean_iou", "delta_val_mean_iou"),
    *("latency_ms", "end_to_end_ms", "speedup", "speedup_interval", "speedup_vs_reference"),
    *("passes", "placement", "kernels", "memcpy_nodes", "load_ms", "peak_memory_mb"),
    *("session", "measured_at", "noisy"),
)
"""What every row has; a row of `deploy.json` may bring more."""

Runs = Mapping[str, Sequence[Run]]
"""Variants in the order of the table, each with its runs, one per seed."""

LATENCIES = ("p50", "p90", "p99", "mean")


def write_table(folder: Path, table: Table, rows: Sequence[Row], sections: Sequence[str]) -> None:
    """Write `table.json`, `table.csv` and `table.md`.

    Args:
        folder: the report's.
        table: for people.
        rows: from `collect_rows`.
        sections: Markdown that follows the table.
    """
    write_json(folder / "table.json", {"rows": rows})
    flat = [flatten(row) for row in rows]
    write_csv(folder / "table.csv", flat, list(dict.fromkeys(key for row in flat for key in row)))
    write_text(folder / "table.md", "\n".join([to_markdown(table), *sections]))


def group_runs(runs: Sequence[Run], rows: Sequence[Row], experiment: Path) -> dict[str, list[Run]]:
    """The runs of each variant, one per seed, in the order of the table; scored ones come first.

    Args:
        runs: of an experiment.
        rows: from `collect_rows`.
        experiment: its folder.
    """
    by_name = {run.path.relative_to(experiment).as_posix(): run for run in runs}
    groups: dict[str, dict[str, Run]] = defaultdict(dict)
    for row in sorted(rows, key=order):
        groups[row["variant"]][row["run"]] = by_name[row["run"]]
    return {
        variant: sorted(members.values(), key=_scored_first) for variant, members in groups.items()
    }


def _scored_first(run: Run) -> tuple[bool, int]:
    return run.float_mode() is None, read_config(run).get("seed", 0)


def collect_rows(experiment: Path, runs: Sequence[Run]) -> list[Row]:
    """One row per run and row of its `deploy.json`.

    A run without scores of `fp32` gives those of its checkpoint instead. A run that did not
    finish, or has nothing to show, gives a row without a mode that says why.

    `variant` is the same for runs that differ in nothing but the seed.
    """
    variants = _variants(experiment, runs)
    return [
        dict.fromkeys(COLUMNS) | _identity(experiment, run) | {"variant": variant} | row
        for run, variant in zip(runs, variants, strict=True)
        for row in _rows_of(run)
    ]


def flatten(row: Row) -> Row:
    """One level: `latency_ms` becomes `latency_p50_ms`, …; other objects become JSON text."""
    flat: Row = {}
    for key, value in row.items():
        if key in ("latency_ms", "end_to_end_ms"):
            what = key.removesuffix("_ms")
            flat |= {f"{what}_{name}_ms": (value or {}).get(name) for name in LATENCIES}
        else:
            flat[key] = json.dumps(value) if isinstance(value, (dict, list)) else value
    return flat


def _rows_of(run: Run) -> list[Row]:
    rows: list[Row] = read_json(run.deploy) if run.deploy.exists() else []
    scored = any(row["mode"] == "fp32" and row["mean_iou"] is not None for row in rows)
    if not scored and run.metrics.exists():
        metrics = read_json(run.metrics)
        scores = {key: metrics[key] for key in ("mean_iou", "tumor_iou", "dice")}
        reason = "not deployed: scores of the checkpoint itself"
        rows = [{"mode": "fp32", "status": "ok", "reason": reason, **scores}, *rows]
    state = run.read_state()
    if state.get("status") != "finished":
        reason = f"{state.get('reason') or 'not finished yet'} (stage: {state.get('stage')})"
        rows = [*rows, {"status": state.get("status"), "reason": reason}]
    return rows or [{"status": "unavailable", "reason": "neither scored nor deployed"}]


def _identity(experiment: Path, run: Run) -> Row:
    config = read_config(run)
    name, seed, _ = _name_parts(run)
    return {
        "run": run.path.relative_to(experiment).as_posix(),
        "attention": config.get("model", {}).get("attention") or name,
        "data": config.get("data", {}).get("name"),
        "split": config.get("split", {}).get("name"),
        "part": "test",
        "n": len(read_test(run)) or None,
        "seed": config.get("seed", seed),
        "commit": commit_of(run.read_environment()),
    }


def _variants(experiment: Path, runs: Sequence[Run]) -> list[str]:
    """Each run's name without its seed; another identity of that name is called as its folder.

    So is a second run of the same seed, such as a copy: it is no other training. A suffix that all
    runs share tells none from another and is left out.
    """
    suffixes = {_name_parts(run)[2] for run in runs}
    labels: dict[tuple[str, str], str] = {}
    taken: set[tuple[str, int | None]] = set()
    variants = []
    for run in runs:
        name, seed, suffix = _name_parts(run)
        variant = f"{name} {suffix}".strip() if len(suffixes) > 1 else name
        identity = run.read_state().get("identity") or {}
        kind = json.dumps({key: identity[key] for key in identity if key != "seed"}, sort_keys=True)
        if not (run.metrics.exists() or run.deploy.exists()):
            variants.append(variant)  # there is nothing to average, and its identity may be a part
            continue
        known = variant in labels.values()
        other = f"{variant} ({run.path.relative_to(experiment).as_posix()})"
        label = labels.setdefault((variant, kind), other if known else variant)
        variants.append(other if (label, seed) in taken else label)
        taken.add((label, seed))
    return variants


def _name_parts(run: Run) -> tuple[str, int | None, str]:
    """Name, seed and suffix of a folder such as `ag-seed0-lr0.0001`."""
    match = re.fullmatch(r"(.+?)-seed(\d+)(?:-(.+))?", run.name)
    return (match[1], int(match[2]), match[3] or "") if match else (run.name, None, "")
