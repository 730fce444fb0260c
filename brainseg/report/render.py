"""A table as Markdown and for the terminal."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from rich import box
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text


@dataclass(frozen=True)
class Table:
    """A table for people, before it is Markdown, HTML or anything else.

    Attributes:
        title: its heading, unique in a report.
        columns: their names.
        rows: the cells under `columns`; rows that share their first cell belong together.
        notes: lines under the table.
        numeric: names of the columns that hold numbers.
        legend: what the cells under a column mean: the column's name and a sentence.
        wide: names of the columns for which only Markdown has room.
        more: places of the rows for which a terminal has no room.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    numeric: Collection[str] = ()
    legend: Sequence[tuple[str, str]] = ()
    wide: Collection[str] = ()
    more: Collection[int] = ()

    @property
    def lines(self) -> list[str]:
        """All that stands under it: the notes, and the legend in one line."""
        return [*self.notes, *filter(None, [" ".join(text for _, text in self.legend)])]

    @property
    def narrow(self) -> "Table":
        """The table for a terminal and for the page."""
        return self.without(self.wide)

    @property
    def short(self) -> "Table":
        """The table without the rows in `more`, which a note counts."""
        if not self.more:
            return self
        rows = [row for place, row in enumerate(self.rows) if place not in self.more]
        left_out = f"Rows with other numbers of threads: {len(self.more)} more in table.md."
        return replace(self, rows=rows, notes=[*self.notes, left_out], more=())

    def without(self, names: Collection[str]) -> "Table":
        """The table without some of its columns."""
        kept = [place for place, name in enumerate(self.columns) if name not in names]
        return replace(
            self,
            columns=[self.columns[place] for place in kept],
            rows=[[row[place] for place in kept] for row in self.rows],
            legend=[(column, text) for column, text in self.legend if column not in names],
        )


def to_markdown(table: Table) -> str:
    """A table as Markdown, with the lines under it."""
    rule = ["---:" if name in table.numeric else "---" for name in table.columns]
    drawn = "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |"
        for line in (table.columns, rule, *table.rows)
    )
    notes = "\n".join(f"- {line}" for line in table.lines)
    return "\n\n".join(filter(None, [drawn if table.rows else "", notes]))


def to_rich(table: Table, breaking: Collection[str] = ()) -> Group:
    """The table for a terminal of at least 100 columns, with the lines under it.

    Args:
        table: what is drawn.
        breaking: columns in which text in brackets gets its own line.
    """
    drawn = RichTable(
        box=box.SIMPLE_HEAD,
        padding=0,
        show_edge=False,
        title=Text(table.title, "table.title"),
        title_justify="left",
    )
    for name in table.columns:
        drawn.add_column(
            Text(name.replace(" IoU", "\nIoU").replace(", ", ",\n")),
            justify="right" if name in table.numeric else "left",
            no_wrap=name in table.numeric or name in breaking,
            overflow="fold",
        )
    above = None
    for cells in table.rows:
        if above not in (None, cells[0]):
            drawn.add_section()
        broken = [
            cell.replace(" ± ", "\n± ").replace(" (", "\n(" if name in breaking else " (")
            for name, cell in zip(table.columns, cells, strict=True)
        ]
        broken[0] = "" if cells[0] == above else broken[0]
        above = cells[0]
        # Text, because brackets in a plain string would be read as markup.
        drawn.add_row(*map(Text, broken))
    return Group(drawn, Text(), *map(Text, table.lines))
