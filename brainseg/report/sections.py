"""The tables of a report beside its main one: differences, classes, other data, parts."""

from collections.abc import Callable, Sequence

from brainseg.files import read_json
from brainseg.report.appropriateness import by_data_set, tabulate_appropriateness
from brainseg.report.comparisons import Comparison
from brainseg.report.conclusions import tabulate
from brainseg.report.external import note_synthetic, tell_external
from brainseg.report.parts import architecture_table
from brainseg.report.provenance import read_config
from brainseg.report.render import Table
from brainseg.report.scores import NOTE, external_rows, score_columns, score_rows
from brainseg.report.table import Runs
from brainseg.run import Run

PARTS_NOTE = (
    "A decoder step includes its attention modules. Multiply-adds: of the convolutions, for one "
    "slice of the size that the network was trained with."
)


def make_tables(runs: Runs, comparisons: Sequence[Comparison]) -> list[Table]:
    """The other tables, those that have rows."""
    others = [
        tabulate_appropriateness(f"Appropriateness on {name}{note_synthetic(variants)}", variants)
        for name, variants in by_data_set(runs).items()
    ]
    tables = [
        tabulate(comparisons),
        _scores(runs),
        _external(runs),
        tabulate_appropriateness("Appropriateness on the test split", runs),
        *others,
        _parts(runs),
    ]
    return [table for table in tables if table.rows]


def _scores(runs: Runs) -> Table:
    rows = _of_each(
        runs, lambda run: score_rows(read_json(run.metrics)) if run.metrics.exists() else []
    )
    columns, note = ["Variant", *score_columns()], f"Of the checkpoint, in torch. {NOTE}"
    return Table("Scores by class", columns, rows, [note], columns[2:])


def _external(runs: Runs) -> Table:
    rows = _of_each(runs, external_rows)
    notes = [NOTE, *tell_external(runs)] if rows else []
    columns = ["Variant", "Data", "Mode", *score_columns()]
    return Table("On other data", columns, rows, notes, columns[4:])


def _parts(runs: Runs) -> Table:
    columns, rows = architecture_table(runs)
    return Table("Parts of the network", columns, rows, [PARTS_NOTE], columns[2:])


def _of_each(runs: Runs, rows_of: Callable[[Run], list[list[str]]]) -> list[list[str]]:
    """The rows of every run below its name."""
    return [
        [variant if len(members) == 1 else f"{variant}, seed {read_config(run).get('seed')}", *row]
        for variant, members in runs.items()
        for run in members
        for row in rows_of(run)
    ]
