"""The rows in `deploy.json` of a run, and the timing sessions that they name."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from brainseg.files import write_json
from brainseg.row import Row, derive
from brainseg.run import Run


def read_rows(run: Run) -> list[Row]:
    """The rows of `run`, none where it was never deployed."""
    return [Row.from_json(row) for row in run.read(run.deploy)] if run.deploy.exists() else []


def read_sessions(run: Run) -> dict[str, Any]:
    """The timing sessions that rows name, none where it was never timed."""
    return run.read(run.benchmarks) if run.benchmarks.exists() else {}


def upsert_rows(run: Run, rows: Sequence[Row]) -> None:
    """Write `rows`; each takes the place of the row about the same, if there is one.

    What was measured stays where it cannot be had any more. A row that was only scored goes once
    the same is timed, with other threads too.
    """
    timed = {row.about for row in rows if row.median_ms is not None}
    merged = {
        row.key: row
        for row in read_rows(run)
        if row.status != "ok" or row.median_ms is not None or row.about not in timed
    }
    for row in rows:
        before = merged.get(row.key, row)
        if (before.status, row.status) != ("ok", "unavailable"):
            merged[row.key] = row
    write_rows(run, merged.values())


def drop_rows(run: Run, modes: Collection[str]) -> None:
    """Remove the rows of `modes`, whose files are about to change."""
    rows = read_rows(run)
    kept = [row for row in rows if row.mode not in modes]
    if len(kept) < len(rows):
        write_rows(run, kept)


def write_rows(run: Run, rows: Iterable[Row]) -> None:
    """Write `rows` in place of all that there are, with what compares them."""
    write_json(run.deploy, [asdict(row) for row in derive(rows)])


def set_aside(file: Path) -> Path:
    """Give damaged rows or sessions another name: what can be read in them is not lost."""
    return file.replace(file.with_name(f"{file.name}.damaged"))
