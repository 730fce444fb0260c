"""All that is said about an experiment: tables, figures, one page, and a card of each run."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from brainseg.evaluation.appropriateness import LIMITS as UNSEEN
from brainseg.experiment import find_experiment
from brainseg.files import write_csv, write_json
from brainseg.report.card import write_card
from brainseg.report.comparisons import COLUMNS as COMPARED
from brainseg.report.comparisons import compare_all
from brainseg.report.conclusions import conclude
from brainseg.report.page import Page, write_page
from brainseg.report.points import collect_points, scored_points
from brainseg.report.provenance import (
    LIMITS,
    SYNTHETIC,
    data_statements,
    machine_statements,
    training_statements,
)
from brainseg.report.recommend import recommend
from brainseg.report.render import to_rich
from brainseg.report.rows import ORDERS, REFERENCE
from brainseg.report.sections import main_table, make_tables, to_section
from brainseg.report.summary import Table, summarize
from brainseg.report.table import collect_rows, flatten, group_runs, write_table
from brainseg.report.terms import TERMS
from brainseg.report.viewer import collect_viewer
from brainseg.terminal import bar, widen

MAIN_FIGURE = "figures/accuracy_latency.png"
"""Accuracy against latency, which takes two points."""


def write_report(experiment: Path) -> Table:
    """Write `report/` of an experiment, and the card of each of its runs.

    `table.{json,csv,md}`, `comparisons.{json,csv}`, `figures/`, and `index.html` that holds all of
    it. What the runs do not have yet is left out.

    Raises:
        InputError: the folder is missing, holds no run, or is a run itself.
    """
    runs = find_experiment(experiment)
    folder = experiment / "report"
    rows = collect_rows(experiment, runs)
    variants = group_runs(runs, rows, experiment)
    points = collect_points(rows)
    comparisons = compare_all(variants, [mode for mode in ORDERS["mode"] if mode != REFERENCE])
    table = summarize(experiment.resolve().name, rows, comparisons)
    tables = make_tables(variants, comparisons)
    answer = [*recommend(rows), *conclude(comparisons, len(variants))]
    statements = [
        ("Data", _unique(data_statements(runs))),
        ("Training", _unique(training_statements(runs))),
        ("Environment", _unique(machine_statements(runs))),
    ]
    table = replace(
        table,
        captions=[*answer, *(line for _, lines in statements for line in lines)],
        figure=MAIN_FIGURE if len(scored_points(points)) > 1 else None,
    )
    write_table(folder, table, rows, [to_section(each) for each in tables])
    write_json(folder / "comparisons.json", comparisons)
    write_csv(folder / "comparisons.csv", [flatten(row) for row in comparisons], COMPARED)
    # matplotlib takes longer than all of the above
    from brainseg.report.figures.gallery import draw_all

    figures = draw_all(variants, points, comparisons, folder / "figures")
    page = Page(
        table.title,
        _notice({row["data"] for row in rows}),
        answer,
        [main_table(table), *tables],
        figures,
        collect_viewer(variants),
        [
            *statements,
            ("Terms", TERMS),
            ("Limits", LIMITS),
            ("Limits of appropriateness", UNSEEN),
        ],
    )
    write_page(folder / "index.html", page)
    for run in bar(runs, "Writing cards"):
        write_card(run)
    return table


def print_table(table: Table, console: Console) -> None:
    """Print the table and what stands under it; into a file or pipe at least 100 columns wide."""
    widen(console).print(to_rich(table))


def show_report(experiment: Path) -> None:
    """Write the report of an experiment, print its table, and say where it is."""
    console = Console()
    print_table(write_report(experiment), console)
    page = experiment / "report" / "index.html"
    console.print(f"Report: {page}", soft_wrap=True, markup=False)


def _notice(data: Collection[str | None]) -> str | None:
    """What the page says before anything else, of runs on these data sets."""
    if "phantom" not in data:
        return None
    return f"{SYNTHETIC.capitalize()}." if len(data) == 1 else f"Some runs: {SYNTHETIC}."


def _unique(lines: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(lines))
