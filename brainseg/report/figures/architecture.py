"""Fig. A1: the network as its parts were measured."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from brainseg.report.figures.style import Drawing, styled
from brainseg.report.parts import Models, read_models, shape_of, steps_of, with_part
from brainseg.report.provenance import read_config
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
INPUTS = ("model", "config")

TAPS = ("post_bn", "conv4_block5_out", "conv3_block4_1_conv", "conv2_block3_1_conv", "conv1_conv")
"""Where the study taps its encoder, in Keras names (section II-B): the deepest feature, then the
skips of step 1, 2, …"""

ENCODER, ATTENTION, DECODER, OTHER = "#CFE5F3", "#FBE3B8", "#CDEBE0", "#EEEEEE"
"""Light tints of the palette: black text stands on them."""

ENDS = ("encoder", "image_skip", "decoder.1", "head")
"""Parts that stand on every drawing."""

HEIGHT, APART, MARGIN = 0.8, 1.15, 0.15
"""Of a box, from one level to the next, and around the drawing, in inches."""


@dataclass(frozen=True)
class Column:
    """Where boxes of one kind stand, in inches: their left side and their width."""

    left: float
    width: float

    @property
    def middle(self) -> float:
        """Half way."""
        return self.left + self.width / 2

    @property
    def right(self) -> float:
        """Their right side."""
        return self.left + self.width


ENCODERS, TAPPED, ATTENTIONS = Column(0, 1.7), Column(1.7, 2.2), Column(3.9, 1.6)
DECODERS, BLOCKS, HEADS = Column(6, 2.1), Column(8.1, 1.3), Column(9.9, 1.7)


@styled
def draw_architecture(runs: Runs) -> Drawing | None:
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
    return Drawing(_make_figure(shown, studied=_is_studied(runs, shown)), alt)


def alike(models: Models) -> Models:
    """The models in parts such as ours, with the image size and encoder of the first of them."""
    ours = {name: model for name, model in models.items() if {*ENDS} <= model["parts"].keys()}
    kinds = {name: (each["image_size"], each["parts"]["encoder"]) for name, each in ours.items()}
    first = next(iter(kinds.values()), None)
    return {name: ours[name] for name, kind in kinds.items() if kind == first}


def _make_figure(models: Models, studied: bool) -> Figure:
    """Draw models that are alike; taps are named where the encoder is the study's."""
    steps = steps_of(models)
    taps = TAPS if studied else [""] * len(steps)
    width, height = HEADS.right + 2 * MARGIN, APART * len(steps) + HEIGHT + 2 * MARGIN
    figure = Figure(figsize=(width, height + 0.3))
    axes = figure.add_axes((0, 0, 1, height / (height + 0.3)))
    bottom = -HEIGHT / 2 - MARGIN
    axes.set(xlim=(-MARGIN, width - MARGIN), ylim=(bottom, bottom + height))
    axes.set_axis_off()
    # An encoder may lack a level: then the variants with attention have none there.
    attended = [step for step in steps[:-1] if with_part(models, f"decoder.{step}.attention")]
    _draw_ends(axes, models, APART * len(steps), taps[0])
    for step in steps:
        _draw_step(axes, models, step)
    for step in attended or steps[:-1]:
        _draw_skip(axes, models, step, taps[step])
    _draw_image_skip(axes, models, steps[-1])
    return figure


def _is_studied(runs: Runs, models: Models) -> bool:
    """Whether the encoder is the study's, unshrunken."""
    configured = [read_config(run).get("model", {}) for name in models for run in runs[name][:1]]
    return all(
        model.get("encoder") == "resnetv2_50" and not model.get("encoder_args")
        for model in configured
    )


def _draw_ends(axes: Axes, models: Models, top: float, tap: str) -> None:
    """Image and encoder on the left, the way of the deepest feature, and the head on the right."""
    size = next(iter(models.values()))["image_size"]
    _box(axes, ENCODERS, top, f"image\n1×{size}×{size}", OTHER)
    upper = top - APART + HEIGHT / 2
    _arrow(axes, (ENCODERS.middle, top - HEIGHT / 2), (ENCODERS.middle, upper))
    text = f"encoder\n\n{_size(models, 'encoder')}"
    _box(axes, ENCODERS, (top - APART) / 2, text, ENCODER, height=top - APART + HEIGHT)
    axes.plot([ENCODERS.right, DECODERS.middle], [0, 0], color="black", linewidth=1)
    _arrow(axes, (DECODERS.middle, 0), (DECODERS.middle, APART - HEIGHT / 2))
    _name_feature(axes, 0, tap, shape_of(models, "encoder"))
    _box(axes, HEADS, top, f"1×1 convolution\n{shape_of(models, 'head')}", OTHER)


def _name_feature(axes: Axes, level: float, tap: str, shape: str) -> None:
    """Where a feature is taken from, above its line, and its shape below."""
    axes.text(TAPPED.middle, level + 0.06, tap, ha="center", fontsize="small")
    axes.text(TAPPED.middle, level - 0.06, shape, ha="center", va="top")


def _draw_step(axes: Axes, models: Models, step: int) -> None:
    """A step of the decoder with the attention at its end, and the way to what comes next."""
    name, level = f"decoder.{step}", APART * step
    text = f"step {step}\n{shape_of(models, name)}\n{_size(models, name)}"
    _box(axes, DECODERS, level, text, DECODER)
    end = DECODERS.right
    if attended := with_part(models, f"{name}.block.attention"):
        _box(axes, BLOCKS, level, f"attention\n{', '.join(attended)}", ATTENTION)
        end = BLOCKS.right
    if step == steps_of(models)[-1]:
        _arrow(axes, (end, level), (HEADS.left, level))
        return
    lower, upper = level + HEIGHT / 2, level + APART - HEIGHT / 2
    if attended:  # what leaves the step is what its attention gives
        between = (lower + upper) / 2
        way = ((BLOCKS.middle, lower), (BLOCKS.middle, between), (DECODERS.middle, between))
        axes.plot(*zip(*way, strict=True), color="black", linewidth=1)
        lower = between
    _arrow(axes, (DECODERS.middle, lower), (DECODERS.middle, upper))


def _draw_skip(axes: Axes, models: Models, step: int, tap: str) -> None:
    """The skip from the encoder, and the attention on it."""
    name, level = f"decoder.{step}.attention", APART * step
    attended = with_part(models, name)
    _name_feature(axes, level, tap, shape_of(models, name))
    _draw_attended(axes, attended, ENCODERS.right, level)


def _draw_image_skip(axes: Axes, models: Models, step: int) -> None:
    """The skip of the last step: the image through one convolution."""
    level, place = APART * step, Column(TAPPED.left + 0.3, TAPPED.width - 0.6)
    _arrow(axes, (ENCODERS.right, level), (place.left, level))
    _box(axes, place, level, f"3×3 convolution\n{shape_of(models, 'image_skip')}", OTHER)
    _draw_attended(axes, with_part(models, f"decoder.{step}.attention"), place.right, level)


def _draw_attended(axes: Axes, attended: Models, start: float, level: float) -> None:
    """The way of a skip to its step, through attention where a variant has it."""
    if attended:
        _arrow(axes, (start, level), (ATTENTIONS.left, level))
        _box(axes, ATTENTIONS, level, f"attention\n{', '.join(attended)}", ATTENTION)
        start = ATTENTIONS.right
    _arrow(axes, (start, level), (DECODERS.left, level))


def _box(
    axes: Axes, column: Column, level: float, text: str, colour: str, height: float = HEIGHT
) -> None:
    corner = (column.left, level - height / 2)
    axes.add_patch(Rectangle(corner, column.width, height, facecolor=colour, edgecolor="black"))
    axes.text(column.middle, level, text, ha="center", va="center")


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
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
