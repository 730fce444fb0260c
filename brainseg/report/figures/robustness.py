"""What each variant loses when its weights are rounded to fewer bits."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from brainseg.report.figures import style
from brainseg.report.losses import Loss, collect_losses
from brainseg.report.rows import signed
from brainseg.report.table import Runs
from brainseg.vocabulary import MAPPINGS

TITLE = "Loss by bits of the weights"
CAPTION = (
    "Change of mean IoU on the test split when the weights of all convolutions are rounded to "
    "fewer bits (activations in float), mean over the seeds; vertical lines: 95 % intervals over "
    "patients. The axis is linear between the dotted lines and logarithmic beyond. Lines that lie "
    "apart do not tell that variants differ: the table compares them on the same patients."
)
INPUTS = ("robustness", "made")

LINEAR = 1e-3
"""Changes up to which the axis is linear."""

APART = 0.08
"""Between the variants at one number of bits, so that their intervals can be seen."""


@style.styled
def draw(runs: Runs) -> style.Drawing | None:
    """Draw the change against the bits, a panel per mapping, or nothing where none was measured."""
    losses = collect_losses(runs)
    if not losses:
        return None
    mappings = list(dict.fromkeys(loss.mapping for loss in losses))
    bits = sorted({loss.bits for loss in losses}, reverse=True)
    looks = style.looks_of(runs)
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    grid = figure.subplots(1, len(mappings), sharey=True, squeeze=False)[0]
    for axes, mapping in zip(grid, mappings, strict=True):
        _draw_frame(axes, MAPPINGS[mapping], bits)
        variants = list(dict.fromkeys(loss.variant for loss in losses))
        for place, variant in enumerate(variants):
            shown = [each for each in losses if (each.variant, each.mapping) == (variant, mapping)]
            offset = APART * (place - (len(variants) - 1) / 2)
            at = [bits.index(each.bits) + offset for each in shown]
            _draw_variant(axes, at, shown, looks[variant])
    grid[0].set_ylabel("change of mean IoU")
    names = dict.fromkeys(loss.variant for loss in losses)
    handles = [
        Line2D([], [], label=name, marker=looks[name].marker, **looks[name].style) for name in names
    ]
    style.add_legend(figure, handles, 4, handlelength=4)
    return style.Drawing(figure, _describe(losses))


def _draw_frame(axes: Axes, title: str, bits: Sequence[int]) -> None:
    axes.set_title(title, fontsize="medium")
    axes.set_xlabel("bits")
    axes.set_xticks(range(len(bits)), map(str, bits))
    axes.set_yscale("symlog", linthresh=LINEAR)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.axhline(0, color="black", linewidth=0.9)
    for edge in (-LINEAR, LINEAR):
        axes.axhline(edge, color="#999999", linewidth=0.8, linestyle=":")
    style.add_grid(axes)


def _draw_variant(
    axes: Axes, at: Sequence[float], losses: Sequence[Loss], look: style.Look
) -> None:
    axes.plot(at, [loss.change for loss in losses], marker=look.marker, **look.style)
    for x, loss in zip(at, losses, strict=True):
        if loss.interval:
            axes.plot([x, x], loss.interval, color=look.colour, linewidth=1.2)


def _describe(losses: Sequence[Loss]) -> str:
    told = []
    for loss in losses:
        interval = f" ({' to '.join(map(signed, loss.interval))})" if loss.interval else ""
        told.append(
            f"{loss.variant}, {loss.bits} bits, {loss.mapping}: {signed(loss.change)}{interval}"
        )
    return f"Change of mean IoU by bits of the weights. {'; '.join(told)}."
