"""The runs of an experiment to rows, and to `table.json` and `table.csv`."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from brainseg import vocabulary
from brainseg.files import as_text, replacing, write_json
from brainseg.report.labels import kind_of, label_runs
from brainseg.report.provenance import commit_of, read_config, read_test
from brainseg.report.rows import COLUMNS, TableRow, order
from brainseg.run import Run
from brainseg.vocabulary import REFERENCE

Runs = Mapping[str, Sequence[Run]]
"""Variants in the order of the table, each with its runs, one per seed."""


def write_rows(folder: Path, rows: Sequence[TableRow]) -> None:
    """Write `table.json` and `table.csv`, where `latency_ms: {p50: …}` is `latency_ms.p50`."""
    found = [{name: values[name] for name in COLUMNS} for values in map(asdict, rows)]
    write_json(folder / "table.json", {"rows": found})
    table = pd.json_normalize(found).convert_dtypes().map(as_text)
    # Where one row has an object and another nothing, the latter gets a column of its own.
    parents = {str(name).rpartition(".")[0] for name in table}
    with replacing(folder / "table.csv") as temporary:
        table.drop(columns=[*parents.intersection(table)]).to_csv(temporary, index=False)


def read_whole(run: Run, damage: Mapping[Path, str]) -> Run | None:
    """The run without its damaged files; `None` where nobody knows any more what it is."""
    return None if damage.keys() & {run.state, run.config} else run.without(damage)


def tell_damage(run: Run, damage: Mapping[Path, str]) -> str:
    """What is wrong with a run, in one line."""
    return " ".join(text.removeprefix(f"{run.path}/") for text in damage.values())


def is_variant(run: Run) -> bool:
    """Whether a run is to be compared with others: one that failed before it was scored is not."""
    failed = run.read_state().get("status") == "failed"
    return not failed or run.metrics.exists() or run.deploy.exists()


def collect_rows(
    experiment: Path, runs: Sequence[Run], damage: Mapping[Path, str] | None = None
) -> list[TableRow]:
    """One row per run and row of its `deploy.json`.

    A run without scores of `fp32` gives those of its checkpoint instead. A run that did not
    finish, has nothing to show, or is damaged, gives a row without a mode that says why.

    Args:
        experiment: folder of the runs.
        runs: without their damaged files.
        damage: by folder of a run, what is wrong with it.
    """
    compared = [run for run in runs if is_variant(run)]
    variants = dict(zip(compared, _variants(experiment, compared), strict=True))
    return [
        TableRow.from_json(
            _describe(experiment, run) | {"variant": variants.get(run, _name_parts(run)[0])} | row
        )
        for run in runs
        for row in _rows_of(run, (damage or {}).get(run.path))
    ]


def unknown_row(experiment: Path, run: Run, reason: str) -> TableRow:
    """The row of a run of which nobody knows any more what it is."""
    (name, seed), folder = _name_parts(run), run.path.relative_to(experiment).as_posix()
    return TableRow(run=folder, variant=name, seed=seed, status="failed", reason=reason)


def group_runs(
    runs: Sequence[Run], rows: Sequence[TableRow], experiment: Path
) -> dict[str, list[Run]]:
    """The runs of each variant, one per seed, in the order of the table; scored ones come first.

    Runs that failed are none of a variant (`is_variant`).
    """
    by_name = {run.path.relative_to(experiment).as_posix(): run for run in runs if is_variant(run)}
    groups: dict[str, dict[str, Run]] = defaultdict(dict)
    for row in sorted((row for row in rows if row.run in by_name), key=order):
        groups[row.variant][row.run] = by_name[row.run]
    return {
        variant: sorted(members.values(), key=_scored_first) for variant, members in groups.items()
    }


def name_runs(runs: Runs) -> list[tuple[str, Run]]:
    """Every run with its variant, and with its seed where the variant has several."""
    return [
        (variant if len(members) == 1 else f"{variant}, seed {read_config(run).get('seed')}", run)
        for variant, members in runs.items()
        for run in members
    ]


def _scored_first(run: Run) -> tuple[bool, int]:
    return run.float_mode() is None, read_config(run).get("seed", 0)


def _rows_of(run: Run, damage: str | None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = run.read(run.deploy) if run.deploy.exists() else []
    scored = any(row["mode"] == REFERENCE and row.get("mean_iou") is not None for row in rows)
    if not scored and run.metrics.exists():
        metrics = run.read(run.metrics)
        scores = {key: metrics[key] for key in ("mean_iou", "tumor_iou", "dice")}
        reason = "not deployed: scores of the checkpoint itself"
        rows = [{"mode": REFERENCE, "reason": reason, **scores}, *rows]
    state, status, reasons = run.read_state(), "failed", [damage] if damage else []
    if state["status"] != "finished":
        status = state["status"]
        reasons.insert(0, f"{state.get('reason') or 'not finished yet'} (stage: {run.stage})")
    if reasons:
        rows = [*rows, {"status": status, "reason": " ".join(reasons)}]
    return rows or [{"status": "unavailable", "reason": "neither scored nor deployed"}]


def _describe(experiment: Path, run: Run) -> dict[str, Any]:
    config = read_config(run)
    name, seed = _name_parts(run)
    known = name if name in vocabulary.STUDY else None
    return {
        "run": run.path.relative_to(experiment).as_posix(),
        "attention": config["model"].get("attention") if "model" in config else known,
        "data": config.get("data", {}).get("name"),
        "split": config.get("split", {}).get("name"),
        "n": len(read_test(run)) or None,
        "seed": config.get("seed", seed),
        "commit": commit_of(run.read_environment()),
    }


def _variants(experiment: Path, runs: Sequence[Run]) -> list[str]:
    """Each run's name without its seed, with the settings in which the runs differ.

    Where that does not distinguish two networks, the second is named after its folder. So is a
    second run of the same seed, such as a copy: it is no other training.
    """
    identities = [run.read_state().get("identity") or {} for run in runs]
    names = [_name_parts(run) for run in runs]
    labelled = label_runs([name for name, _ in names], identities)
    labels: dict[tuple[str, str], str] = {}
    taken: set[tuple[str, int | None]] = set()
    variants = []
    for run, identity, (_, seed), variant in zip(runs, identities, names, labelled, strict=True):
        if not (run.metrics.exists() or run.deploy.exists()):
            variants.append(variant)  # there is nothing to average, and its identity may be a part
            continue
        kind = kind_of(identity)
        other = f"{variant} ({run.path.relative_to(experiment).as_posix()})"
        label = labels.setdefault((variant, kind), other if variant in labels.values() else variant)
        variants.append(other if (label, seed) in taken else label)
        taken.add((label, seed))
    return variants


def _name_parts(run: Run) -> tuple[str, int | None]:
    """Name and seed of a folder such as `ag-seed0-lr0.0001`."""
    match = re.fullmatch(r"(.+?)-seed(\d+)(?:-.+)?", run.name)
    return (match[1], int(match[2])) if match else (run.name, None)
