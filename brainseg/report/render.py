"""A described table as Markdown and for the terminal."""

from collections.abc import Collection, Sequence

from rich import box
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from brainseg.report.rows import NOTHING
from brainseg.report.summary import COLUMNS, TEXTUAL, Table

WIDE = ("95 % of Δ", "Δ validation", "Dice", "End to end, ms")
"""Columns for which a terminal has no room."""

OPTIONAL = ("Δ mean IoU", "95 % of Δ", "Δ validation", "End to end, ms")
"""Columns that are left out where no row has a number."""

BREAKING = ("Attention", "Mode", "Device")
"""Columns in which what stands in brackets has its own line in a terminal."""


def to_markdown(table: Table) -> str:
    """The table as a Markdown document."""
    names, groups = select_columns(table)
    lines = [markdown_table(names, [row for group in groups for row in group], TEXTUAL)]
    notes = [f"- [{number}] {text}" for number, text in enumerate(table.footnotes, 1)]
    legend = describe_columns(table, names)
    figure = [f"![{table.title}: accuracy against latency]({table.figure})"] if table.figure else []
    captions = ([caption] for caption in (legend, *table.captions))
    parts = [[f"# {table.title}"], lines, notes, *captions, figure]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def markdown_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], textual: Collection[str]
) -> str:
    """A table as Markdown; columns that are not `textual` are aligned to the right."""
    rule = ["---" if name in textual else "---:" for name in columns]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |"
        for line in (columns, rule, *rows)
    )


def to_rich(table: Table) -> Group:
    """The table for a terminal, readable from 100 columns on."""
    names, groups = select_columns(table, [name for name in COLUMNS if name not in WIDE])
    drawn = RichTable(box=box.SIMPLE_HEAD, padding=0, show_edge=False, title=table.title)
    for name in names:
        drawn.add_column(
            name.replace(" IoU", "\nIoU").replace(", ", ",\n"),
            justify="left" if name in TEXTUAL else "right",
            no_wrap=name not in ("Attention", "Note"),
            overflow="fold",
        )
    tall = any(" ± " in cell for group in groups for cells in group for cell in cells)
    breaking = [names.index(name) for name in (*BREAKING, *(["Size, MiB"] if tall else []))]
    for group in groups:
        above = ""
        for cells in group:
            broken = [cell.replace(" ± ", "\n± ") for cell in cells]
            for column in breaking:
                broken[column] = broken[column].replace(" (", "\n(")
            broken[0] = "" if cells[0] == above else broken[0]
            above = cells[0]
            # Text, because brackets in a plain string would be read as markup.
            drawn.add_row(*map(Text, broken))
        drawn.add_section()
    notes = [Text(f"[{number}] {text}") for number, text in enumerate(table.footnotes, 1)]
    captions = map(Text, (describe_columns(table, names), *table.captions))
    return Group(drawn, Text(), *notes, *captions)


def describe_columns(table: Table, names: Collection[str]) -> str:
    """The legend of those columns that are shown and have a number, in one line."""
    return " ".join(sentence for column, sentence in table.legend if column in names)


def select_columns(
    table: Table, names: Sequence[str] = COLUMNS
) -> tuple[list[str], list[list[list[str]]]]:
    """Those of the columns in which something stands, and the cells of each group under them."""
    rows = [dict(zip(COLUMNS, cells, strict=True)) for group in table.groups for cells in group]
    shown = [
        name for name in names if name not in OPTIONAL or any(row[name] != NOTHING for row in rows)
    ]
    indices = [COLUMNS.index(name) for name in shown]
    return shown, [[[cells[i] for i in indices] for cells in group] for group in table.groups]
