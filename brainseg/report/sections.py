"""The tables of a report beside its main one: differences, classes, other data, parts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from brainseg.files import read_json
from brainseg.report.appropriateness import (
    NOTE,
    by_data_set,
    collect_sources,
    tabulate_appropriateness,
)
from brainseg.report.comparisons import Comparison
from brainseg.report.conclusions import COLUMNS as COMPARED
from brainseg.report.conclusions import tabulate
from brainseg.report.page import PageTable
from brainseg.report.parts import architecture_table
from brainseg.report.provenance import read_config
from brainseg.report.render import WIDE, markdown_table, select_columns
from brainseg.report.scores import COLUMNS as SCORES
from brainseg.report.scores import external_rows, score_rows
from brainseg.report.summary import COLUMNS, TEXTUAL, Table
from brainseg.report.table import Runs
from brainseg.run import Run

COMPARISON_NOTE = (
    "Mean IoU on the same test images, the first minus the one it is compared with, mean over "
    "common seeds. Interval: bootstrap over patients. p: permutation test over patients, corrected "
    "for the number of comparisons of its kind by Holm's method (intervals are not corrected); p, "
    "trainings: t-test over the seeds. Beyond chance: both below 0.05; for a mode, which is "
    "compared with the very network it was made of, the first alone."
)

SCORES_NOTE = (
    "In brackets: 95 % intervals from a bootstrap over patients. HD95: a missed tumour counts the "
    "image's diagonal. Detected: share of images with tumour where the prediction meets it. False "
    "positives: share of images without tumour with any predicted pixel. No interval: fewer than 8 "
    "patients, unknown ones, or the same value in every image; with few patients intervals are too "
    "narrow."
)


def main_table(table: Table) -> PageTable:
    """The main table for the page, but for columns that other tables have."""
    columns, groups = select_columns(table, [name for name in COLUMNS if name not in WIDE])
    notes = [f"[{number}] {text}" for number, text in enumerate(table.footnotes, 1)]
    rows = [cells for group in groups for cells in group]
    return PageTable(
        "Accuracy, size and speed",
        columns,
        rows,
        [*notes, *table.captions],
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
            _appropriateness(f"Appropriateness on {name}", variants)
            for name, variants in by_data_set(runs).items()
        ),
        _parts(runs),
    ]
    return [table for table in tables if table.rows]


def to_section(table: PageTable) -> str:
    """A table as a section of a Markdown document."""
    drawn = markdown_table(table.columns, table.rows, textual=table.columns[:1])
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
    return PageTable("Scores by class", columns, rows, [SCORES_NOTE], SCORES[1:])


def _external(runs: Runs) -> PageTable:
    rows = [
        [_name(variant, run, members), *cells]
        for variant, members in runs.items()
        for run in members
        for cells in external_rows(run)
    ]
    left_out = [f"{name}: {told}" for name, told in dict.fromkeys(_left_out(runs))]
    columns = ("Variant", "Data", "Mode", *SCORES)
    return PageTable("On other data", columns, rows, [SCORES_NOTE, *left_out], SCORES[1:])


def _left_out(runs: Runs) -> Iterable[tuple[str, str]]:
    """What training knew of each other data set, and what is predicted where nobody outlined."""
    for name, variants in by_data_set(runs).items():
        for variant, members in variants.items():
            for found in members:
                facts = read_json(found.evaluation)
                yield name, _tell_known(facts)
                mode = facts["modes"][0]
                for class_, bare in read_json(found.metrics_of(mode))["unmasked"].items():
                    share = f"{bare['predicted_share']:.1%} of {bare['n']}"
                    yield (
                        name,
                        f"{variant} ({mode}) predicts a tumour in {share} images of {class_}.",
                    )


def _tell_known(facts: Mapping[str, Any]) -> str:
    if facts["unchecked"]:
        return f"not known what training knows of it ({facts['unchecked']})."
    known, data = sum(facts["left_out"].values()), facts["data"]
    return (
        f"{data['n']} images, {data['unmasked']} of them with a tumour that nobody outlined; "
        f"{known} others that training knows are left out."
    )


def _appropriateness(title: str, runs: Runs) -> PageTable:
    sources = collect_sources(runs)
    if not any(sources.values()):
        return PageTable(title, [], [])
    columns, rows = tabulate_appropriateness(sources)
    return PageTable(title, columns, rows, [NOTE], columns[4:])


def _parts(runs: Runs) -> PageTable:
    columns, rows = architecture_table(runs)
    return PageTable("Parts of the network", columns, rows, [], columns[2:])


def _name(variant: str, run: Run, members: Sequence[Run]) -> str:
    return variant if len(members) == 1 else f"{variant}, seed {read_config(run).get('seed')}"
