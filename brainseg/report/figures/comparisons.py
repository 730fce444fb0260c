"""Which differences between variants, and between modes, are beyond chance."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from brainseg.report.comparisons import MODES, VARIANTS, Comparison
from brainseg.report.figures.style import Drawing, Style, add_grid, add_legend, styled
from brainseg.report.rows import signed
from brainseg.vocabulary import REFERENCE

TITLE = "Differences between variants and modes"
CAPTION = (
    "Point: difference of mean IoU on the test split, mean over the seeds; line: its 95 % interval "
    "over patients, not corrected; p: over patients, corrected for the number of comparisons. A "
    "filled marker is beyond chance, between variants also over the trainings. An empty one is no "
    "proof that there is no difference. A thick line, the 90 % interval, within the grey band is "
    "one: there a change by a mode is shown to be no larger than the margin. Only the largest "
    "differences are drawn; the table has all."
)

MOST = 40
"""Rows of a panel at most."""

FAMILIES = {VARIANTS: ("#0072B2", "o"), MODES: ("#D55E00", "s")}
"""Colour and marker of what is compared."""


@styled
def draw(rows: Sequence[Comparison]) -> Drawing | None:
    """Draw the rows of `compare_all` around zero, a panel per family, or nothing without rows."""
    families = {
        family: _largest(members)
        for family in FAMILIES
        if (members := [row for row in rows if row["family"] == family])
    }
    if not families:
        return None
    told = [
        f"{name_comparison(row)}: {_values(row)}" + " (beyond chance)" * row["beyond_chance"]
        for members in families.values()
        for row in members
    ]
    alt = f"Differences with their intervals around a line at zero. {'; '.join(told)}."
    count = sum(map(len, families.values()))
    figure = Figure(figsize=(9, 1 + 0.6 * len(families) + 0.3 * count), layout="constrained")
    heights = [len(members) + 1 for members in families.values()]
    grid = figure.subplots(len(families), height_ratios=heights, squeeze=False)[:, 0]
    for axes, (family, members) in zip(grid, families.items(), strict=True):
        _draw_family(axes, members, *FAMILIES[family])
        axes.set_title(family)
    grid[-1].set_xlabel("difference of mean IoU")
    add_legend(figure, _legend(), 2)
    return Drawing(figure, alt)


def name_comparison(row: Comparison) -> str:
    """The two sides of a difference."""
    if row["family"] == MODES:
        return f"{row['second']}: {row['mode']} − {REFERENCE}"
    return f"{row['second']} − {row['first']}"


def _largest(rows: Sequence[Comparison]) -> list[Comparison]:
    """The `MOST` largest differences, in their order."""
    places = sorted(range(len(rows)), key=lambda place: -abs(rows[place]["difference"]))
    return [rows[place] for place in sorted(places[:MOST])]


def _legend() -> list[Line2D]:
    grey: Style = {"marker": "o", "color": "#666666", "linestyle": "none"}
    fills = {"beyond chance": "#666666", "not beyond chance": "white"}
    return [Line2D([], [], label=name, mfc=fill, **grey) for name, fill in fills.items()]


def _values(row: Comparison) -> str:
    interval = f" ({' to '.join(map(signed, row['interval']))})" if row["interval"] else ""
    p = row["p_corrected"]
    return f"{signed(row['difference'])}{interval}" + (
        "" if p is None else f", p corrected {p:.3f}"
    )


def _draw_family(axes: Axes, rows: Sequence[Comparison], colour: str, marker: str) -> None:
    axes.axvline(0, color="black", linewidth=0.9)
    for margin in {row["margin"] for row in rows if "margin" in row}:
        axes.axvspan(-margin, margin, color="#EBEBEB", zorder=0)
    for place, row in enumerate(rows):
        if row.get("verdict"):
            axes.plot(row["tost"], [place, place], color=colour, linewidth=3.2)
        if row["interval"]:
            axes.plot(row["interval"], [place, place], color=colour, linewidth=1.6)
        filled = colour if row["beyond_chance"] else "white"
        axes.plot(row["difference"], place, marker, color=colour, markerfacecolor=filled)
    axes.set_yticks(range(len(rows)), map(name_comparison, rows))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    add_grid(axes, "x")
    values = axes.secondary_yaxis("right")
    values.set_yticks(range(len(rows)), map(_values, rows))
    values.tick_params(length=0)
