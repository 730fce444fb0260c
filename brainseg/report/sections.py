"""The tables of a report beside its main one: differences, classes, other data, parts."""

from collections.abc import Sequence

from brainseg.files import read_json
from brainseg.report.appropriateness import (
    NOTE,
    by_data_set,
    collect_sources,
    tabulate_appropriateness,
    tell_drawn,
)
from brainseg.report.comparisons import Comparison
from brainseg.report.conclusions import COLUMNS as COMPARED
from brainseg.report.conclusions import tabulate
from brainseg.report.external import note_synthetic, tell_external
from brainseg.report.page import PageTable
from brainseg.report.parts import architecture_table
from brainseg.report.provenance import read_config
from brainseg.report.render import describe_columns, markdown_table, select_columns
from brainseg.report.rows import RUNTIME
from brainseg.report.scores import COLUMNS as SCORES
from brainseg.report.scores import external_rows, score_rows
from brainseg.report.summary import COLUMNS, TEXTUAL, Table
from brainseg.report.table import Runs
from brainseg.run import Run

ELSEWHERE = ("95 % of Δ", "Dice", "End to end, ms")
"""Columns of the main table that stand in other tables, or in `table.md`: the page is narrow."""

COMPARISON_NOTE = (
    "Mean IoU on the same test images of what is compared minus that of what it is compared with, "
    "mean over the seeds that both have. Interval: bootstrap over patients, not corrected. p: "
    "permutation test over patients; p, trainings: t-test over the seeds; both corrected for the "
    "number of comparisons of their kind by Holm's method. Beyond chance: both below 0.05; for a "
    "mode, which is compared with the very network it was made of, the first below 0.05 and the "
    f"same sign in every seed. Modes are compared with {RUNTIME} on the cpu."
)

SCORES_NOTE = (
    "In brackets: 95 % intervals from a bootstrap over patients. HD95: where nothing is predicted, "
    "the image's diagonal. Detected: share of images with tumour where the prediction meets it. "
    "False positives: share of images without tumour with any predicted pixel. No interval: fewer "
    "than 8 patients, unknown ones, or the same value in every image; with few patients intervals "
    "are a little too narrow."
)

PARTS_NOTE = (
    "A decoder step includes the attention modules that stand under it. Multiply-adds: of the "
    "convolutions, for one slice of the size that the network was trained with."
)


def main_table(table: Table) -> PageTable:
    """The main table for the page, but for the columns `ELSEWHERE`."""
    columns, groups = select_columns(table, [name for name in COLUMNS if name not in ELSEWHERE])
    notes = [f"[{number}] {text}" for number, text in enumerate(table.footnotes, 1)]
    rows = [cells for group in groups for cells in group]
    return PageTable(
        "Accuracy, size and speed",
        columns,
        rows,
        [*notes, describe_columns(table, columns)],
        [name for name in columns if name not in TEXTUAL],
    )


def make_tables(runs: Runs, comparisons: Sequence[Comparison]) -> list[PageTable]:
    """The other tables, those that have rows."""
    tables = [
        _differences(comparisons),
        _scores(runs),
        _external(runs),
        _appropriateness("Appropriateness on the test split", runs),
        *(
            _appropriateness(f"Appropriateness on {name}{note_synthetic(variants)}", variants)
            for name, variants in by_data_set(runs).items()
        ),
        _parts(runs),
    ]
    return [table for table in tables if table.rows]


def to_section(table: PageTable) -> str:
    """A table as a section of a Markdown document."""
    textual = [name for name in table.columns if name not in table.numeric]
    drawn = markdown_table(table.columns, table.rows, textual)
    parts = [f"## {table.title}", drawn, *table.notes]
    return "\n\n".join(parts) + "\n"


def _differences(comparisons: Sequence[Comparison]) -> PageTable:
    numbers = [name for name in COMPARED if name not in ("Compared", "With", "Beyond chance")]
    rows = tabulate(comparisons)
    return PageTable("Differences", COMPARED, rows, [COMPARISON_NOTE], numbers)


def _scores(runs: Runs) -> PageTable:
    rows = [
        [_name(variant, run, members), *cells]
        for variant, members in runs.items()
        for run in members
        if run.metrics.exists()
        for cells in score_rows(read_json(run.metrics))
    ]
    columns = ("Variant", *SCORES)
    of = "Of the checkpoint, in torch. "
    return PageTable("Scores by class", columns, rows, [of + SCORES_NOTE], SCORES[1:])


def _external(runs: Runs) -> PageTable:
    rows = [
        [_name(variant, run, members), *cells]
        for variant, members in runs.items()
        for run in members
        for cells in external_rows(run)
    ]
    notes = [SCORES_NOTE, *tell_external(runs)] if rows else []
    columns = ("Variant", "Data", "Mode", *SCORES)
    return PageTable("On other data", columns, rows, notes, SCORES[1:])


def _appropriateness(title: str, runs: Runs) -> PageTable:
    sources = collect_sources(runs)
    if not sources:
        return PageTable(title, [], [])
    columns, rows = tabulate_appropriateness(sources)
    return PageTable(title, columns, rows, [NOTE, *tell_drawn(sources)], columns[4:])


def _parts(runs: Runs) -> PageTable:
    columns, rows = architecture_table(runs)
    return PageTable("Parts of the network", columns, rows, [PARTS_NOTE], columns[2:])


def _name(variant: str, run: Run, members: Sequence[Run]) -> str:
    return variant if len(members) == 1 else f"{variant}, seed {read_config(run).get('seed')}"
