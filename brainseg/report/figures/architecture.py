"""Fig. A1: the network as its parts were measured."""

from collections.abc import Sequence
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from brainseg.report.figures.style import Drawing, styled
from brainseg.report.parts import Models, read_models, shape_of, steps_of, with_part
from brainseg.report.table import Runs

TITLE = "Architecture"
CAPTION = (
    "The network (Fig. A1 of the study) with the shape of each part's output, channels × height × "
    "width, as measured on the trained networks. Each decoder step raises the feature from below "
    "to the size of its skip (transposed convolution), joins the two, and refines them (two 3×3 "
    "convolutions beside a 1×1 shortcut). An attention box names the variants that have a module "
    "there. The gate of ag also sees the feature from below. Two numbers of parameters are those "
    "of the smallest and the largest variant."
)
INPUTS = ("model",)

ENCODER, ATTENTION, DECODER, OTHER = "#CFE5F3", "#FBE3B8", "#CDEBE0", "#EEEEEE"
"""Light tints of the palette: black text stands on them."""

ENDS = ("encoder", "image_skip", "decoder.1", "head")
"""Parts that stand on every drawing."""

HEIGHT, APART, MARGIN = 0.8, 1.15, 0.15
"""Of a box, from one level to the next, and around the drawing, in inches."""

Pair = tuple[float, float]

ENCODERS, TAPPED, ATTENTIONS = (0, 1.7), (1.7, 3.9), (3.9, 5.5)
DECODERS, BLOCKS, HEADS = (6, 8.1), (8.1, 9.4), (9.9, 11.6)
"""Left and right sides of the boxes of a kind, in inches."""


@styled
def draw(runs: Runs) -> Drawing | None:
    """Draw encoder, skips with their attention, decoder and head; nothing for other networks.

    Shown are the variants that have the first one's image size and encoder.
    """
    shown = alike(read_models(runs))
    if not shown:
        return None
    parts = ["encoder", *(f"decoder.{step}" for step in steps_of(shown)), "head"]
    shapes = ", ".join(f"{name} {shape_of(shown, name)}" for name in parts)
    sizes = [f"{name} {_span([model['parameters']])}" for name, model in shown.items()]
    alt = f"A U-shaped network: {shapes}. In all: {', '.join(sizes)}."
    return Drawing(_make_figure(shown), alt)


def alike(models: Models) -> Models:
    """The models in parts such as ours, with the image size and encoder of the first of them."""
    ours = {name: model for name, model in models.items() if {*ENDS} <= model["parts"].keys()}
    kinds = {name: (each["image_size"], each["parts"]["encoder"]) for name, each in ours.items()}
    first = next(iter(kinds.values()), None)
    return {name: ours[name] for name, kind in kinds.items() if kind == first}


def _make_figure(models: Models) -> Figure:
    steps = steps_of(models)
    width, height = HEADS[1] + 2 * MARGIN, APART * len(steps) + HEIGHT + 2 * MARGIN
    figure = Figure(figsize=(width, height + 0.3))
    axes = figure.add_axes((0, 0, 1, height / (height + 0.3)))
    bottom = -HEIGHT / 2 - MARGIN
    axes.set(xlim=(-MARGIN, width - MARGIN), ylim=(bottom, bottom + height))
    axes.set_axis_off()
    # An encoder may lack a level: then the variants with attention have none there.
    attended = [step for step in steps[:-1] if with_part(models, f"decoder.{step}.attention")]
    _draw_ends(axes, models, APART * len(steps))
    for step in steps:
        _draw_step(axes, models, step, last=step == steps[-1])
    for step in attended or steps[:-1]:
        _name_feature(axes, APART * step, shape_of(models, f"decoder.{step}.attention"))
        _draw_skip(axes, models, step, ENCODERS[1])
    # The skip of the last step is the image through one convolution.
    level, place = APART * steps[-1], (TAPPED[0] + 0.3, TAPPED[1] - 0.3)
    _arrow(axes, (ENCODERS[1], level), (place[0], level))
    _box(axes, place, level, f"3×3 convolution\n{shape_of(models, 'image_skip')}", OTHER)
    _draw_skip(axes, models, steps[-1], place[1])
    return figure


def _draw_ends(axes: Axes, models: Models, top: float) -> None:
    """Image and encoder on the left, the way of the deepest feature, and the head on the right."""
    size = next(iter(models.values()))["image_size"]
    _box(axes, ENCODERS, top, f"image\n1×{size}×{size}", OTHER)
    middle, decoders = (sum(column) / 2 for column in (ENCODERS, DECODERS))
    _arrow(axes, (middle, top - HEIGHT / 2), (middle, top - APART + HEIGHT / 2))
    text = f"encoder\n\n{_size(models, 'encoder')}"
    _box(axes, ENCODERS, (top - APART) / 2, text, ENCODER, height=top - APART + HEIGHT)
    axes.plot([ENCODERS[1], decoders], [0, 0], color="black", linewidth=1)
    _arrow(axes, (decoders, 0), (decoders, APART - HEIGHT / 2))
    _name_feature(axes, 0, shape_of(models, "encoder"))
    _box(axes, HEADS, top, f"1×1 convolution\n{shape_of(models, 'head')}", OTHER)


def _name_feature(axes: Axes, level: float, shape: str) -> None:
    axes.text(sum(TAPPED) / 2, level - 0.06, shape, ha="center", va="top")


def _draw_step(axes: Axes, models: Models, step: int, last: bool) -> None:
    """A step of the decoder with the attention at its end, and the way to what comes next."""
    name, level = f"decoder.{step}", APART * step
    text = f"step {step}\n{shape_of(models, name)}\n{_size(models, name)}"
    _box(axes, DECODERS, level, text, DECODER)
    attended = with_part(models, f"{name}.block.attention")
    if attended:
        _box(axes, BLOCKS, level, _name(attended), ATTENTION)
    if last:
        _arrow(axes, ((BLOCKS if attended else DECODERS)[1], level), (HEADS[0], level))
        return
    lower, upper = level + HEIGHT / 2, level + APART - HEIGHT / 2
    blocks, decoders = (sum(column) / 2 for column in (BLOCKS, DECODERS))
    if attended:  # what leaves the step is the output of its attention
        between = (lower + upper) / 2
        axes.plot([blocks, blocks, decoders], [lower, between, between], color="black", linewidth=1)
        lower = between
    _arrow(axes, (decoders, lower), (decoders, upper))


def _draw_skip(axes: Axes, models: Models, step: int, start: float) -> None:
    """The way of a skip to its step, through attention where a variant has it."""
    level = APART * step
    if attended := with_part(models, f"decoder.{step}.attention"):
        _arrow(axes, (start, level), (ATTENTIONS[0], level))
        _box(axes, ATTENTIONS, level, _name(attended), ATTENTION)
        start = ATTENTIONS[1]
    _arrow(axes, (start, level), (DECODERS[0], level))


def _name(attended: Models) -> str:
    return f"attention\n{fill(', '.join(attended), 18)}"


def _box(
    axes: Axes, sides: Pair, level: float, text: str, colour: str, height: float = HEIGHT
) -> None:
    left, right = sides
    corner = (left, level - height / 2)
    axes.add_patch(Rectangle(corner, right - left, height, facecolor=colour, edgecolor="black"))
    axes.text((left + right) / 2, level, text, ha="center", va="center")


def _arrow(axes: Axes, start: Pair, end: Pair) -> None:
    style = {"arrowstyle": "-|>", "color": "black", "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=style)


def _size(models: Models, name: str) -> str:
    """Parameters of a part, from the smallest to the largest variant."""
    return _span([model["parts"][name]["parameters"] for model in models.values()])


def _span(numbers: Sequence[int]) -> str:
    ends = dict.fromkeys(map(_short, (min(numbers), max(numbers))))
    return f"{'–'.join(ends)} parameters"


def _short(number: int) -> str:
    return f"{number / 1e6:.2f} M" if number >= 1e5 else f"{number / 1e3:.1f} k"
