"""A described table as Markdown and for the terminal."""

from rich import box
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from brainseg.report.summary import COLUMNS, Table

TEXTUAL = ("Attention", "Mode", "Device", "Note")
"""Columns that are aligned to the left."""


def to_markdown(table: Table) -> str:
    """The table as a Markdown document."""
    rule = ["---" if name in TEXTUAL else "---:" for name in COLUMNS]
    cells = [list(COLUMNS), rule, *(row for group in table.groups for row in group)]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]
    notes = [f"- [{number}] {text}" for number, text in enumerate(table.footnotes, 1)]
    parts = [[f"# {table.title}"], lines, notes, *([caption] for caption in table.captions)]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def to_rich(table: Table) -> Group:
    """The table for a terminal, readable from 100 columns on."""
    drawn = RichTable(box=box.SIMPLE_HEAD, padding=0, show_edge=False, title=table.title)
    for name in COLUMNS:
        drawn.add_column(
            name.replace(" IoU", "\nIoU").replace(", ", ",\n"),
            justify="left" if name in TEXTUAL else "right",
            no_wrap=name not in ("Attention", "Note"),
            overflow="fold",
        )
    tall = any(" ± " in cell for group in table.groups for cells in group for cell in cells)
    for group in table.groups:
        names = [cells[0] for cells in group]
        for name, above, cells in zip(names, ["", *names], group, strict=False):
            broken = [cell.replace(" ± ", "\n± ") for cell in cells]
            for column in (0, 2, 6) if tall else (0, 2):
                broken[column] = broken[column].replace(" (", "\n(")
            broken[0] = "" if name == above else broken[0]
            # Text, because brackets in a plain string would be read as markup.
            drawn.add_row(*map(Text, broken))
        drawn.add_section()
    notes = [Text(f"[{number}] {text}") for number, text in enumerate(table.footnotes, 1)]
    return Group(drawn, Text(), *notes, *map(Text, table.captions))
