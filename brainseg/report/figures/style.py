"""How every figure looks: colours, outlines on slices, and files that are the same every time.

Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), which colour-blind readers
can distinguish. Colour is never the only sign: variants also differ in line and marker, modes in
the filled part of the marker, outlines in their dashes, so that a grey print can be read.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from math import inf
from pathlib import Path
from typing import Any, Literal
from warnings import catch_warnings, filterwarnings

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Lines
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import LogLocator, NullLocator
from matplotlib.typing import FillStyleType, LineStyleType
from numpy.typing import NDArray

from brainseg import outline, vocabulary
from brainseg.files import replacing
from brainseg.report.pictures import Picture, score_of

FORMATS = (".svg", ".png")


@contextmanager
def _style() -> Iterator[None]:
    # The salt makes the ids in an SVG the same again; ids and names of runs may hold a `$`.
    style = rc_context({"svg.hashsalt": "brainseg", "font.size": 9, "text.parse_math": False})
    with style, catch_warnings():
        # Names in any script are drawn as far as the font goes; the alt text holds them whole.
        filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


styled = _style()
"""Decorator of functions that draw or write."""

Style = dict[str, Any]
"""Properties of something that is drawn."""


@dataclass(frozen=True)
class Drawing:
    """A figure without its title, and a text for those who cannot see it."""

    figure: Figure
    alt: str


@dataclass(frozen=True)
class Look:
    """How one variant is drawn: each property differs from every other variant's."""

    colour: str
    line: LineStyleType
    marker: str = ""
    hatch: str = ""

    @property
    def style(self) -> Style:
        """Of a line."""
        return {"color": self.colour, "linestyle": self.line}


LOOKS = (
    Look("#000000", "-", "o", "//"),
    Look("#0072B2", (0, (5, 1.5)), "s", ".."),
    Look("#D55E00", (0, (1.2, 1.2)), "^", "xx"),
    Look("#56B4E9", (0, (6, 1.5, 1.2, 1.5)), "D", "\\\\"),
    Look("#009E73", (0, (3, 1, 1, 1, 1, 1)), "v", "++"),
    Look("#CC79A7", (0, (2.5, 2.5)), "P", "oo"),
    Look("#E69F00", (0, (8, 2)), "X", "--"),
)
"""Those of the study's variants first."""

COLOURS = ("#999999", "#56B4E9", "#E69F00", "#CC79A7", "#009E73", "#F0E442", "#0072B2", "#D55E00")
FILLS: tuple[FillStyleType, ...] = ("full", "top", "left", "right", "bottom", "none")
"""Colours of modes, and the part of their markers that is filled, in the order of the modes."""

STEPS = {
    4: (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8),
    20: (1, 1.5, 2, 3, 5, 7),
    150: (1, 2, 5),
    2000: (1, 3),
    inf: (1,),
}
"""Numbers within a decade on a logarithmic axis whose ends have a smaller ratio."""

MARKERS = "osD^v"
"""Shapes of the runtimes, in their order."""

TRUTH = Look(f"#{bytes(outline.TRUTH).hex()}", "-")
PREDICTION = Look(f"#{bytes(outline.PREDICTION).hex()}", (0, (2.2, 1.6)))

CASED: Style = {
    "linewidth": 1.1,
    "path_effects": [Stroke(linewidth=2.2, foreground="black"), Normal()],
}
"""Of an outline on a slice."""


def looks_of(variants: Iterable[str]) -> dict[str, Look]:
    """A look per variant; more variants than looks use those of the others again."""
    variants, study = list(variants), vocabulary.STUDY
    others = [variant for variant in variants if variant not in study]
    known = dict(zip(study, cycle(LOOKS), strict=False))
    free = [look for name, look in known.items() if name not in variants]
    spare = dict(zip(others, cycle([*LOOKS[len(study) :], *free] or LOOKS), strict=False))
    return {variant: (known | spare)[variant] for variant in variants}


def mode_marker(mode: str | None, marker: str = "o", size: float = 10) -> Style:
    """Properties of a `Line2D` without a line: a marker in a mode's colour, filled as its mode."""
    place, _ = vocabulary.rank(mode, vocabulary.MODES)
    return {
        "linestyle": "none",
        "marker": marker,
        "markersize": size,
        "color": COLOURS[place % len(COLOURS)],
        "fillstyle": FILLS[place % len(FILLS)],
        "markerfacecoloralt": "white",
        "markeredgecolor": "black",
        "markeredgewidth": 0.6,
    }


def runtime_marker(runtime: str | None) -> str:
    """The shape of the markers of a runtime."""
    place, _ = vocabulary.rank(runtime, vocabulary.RUNTIMES)
    return MARKERS[place % len(MARKERS)]


@styled
def save(figure: Figure, stem: Path) -> None:
    """Write the files of `paths_of`, the same bytes for the same figure."""
    if engine := figure.get_layout_engine():
        engine.execute(figure)
        figure.set_layout_engine("none")  # arranging takes as long as drawing: once for both files
    # The layout's solver adds up in the order of memory addresses, which its last bits show.
    for part in figure.subfigs:
        part.bbox_relative.p0 = np.round(part.bbox_relative.p0, 5)
        part.bbox_relative.p1 = np.round(part.bbox_relative.p1, 5)
    for axes in figure.axes:
        axes.set_position(np.round(axes.get_position(original=True).bounds, 5))
    options: dict[str, dict[str, Any]] = {
        ".svg": {"metadata": {"Date": None}},  # which would differ in two reports of the same runs
        ".png": {"pil_kwargs": {"compress_level": 3}},  # three times as fast, and hardly larger
    }
    for file in paths_of(stem):
        with replacing(file) as temporary:
            figure.savefig(temporary, dpi=150, **options[file.suffix])


def paths_of(stem: Path) -> list[Path]:
    """The files of a figure, `<stem>.svg` and `<stem>.png`."""
    # Names of variants may hold dots, so `with_suffix` would cut them.
    return [stem.with_name(stem.name + suffix) for suffix in FORMATS]


def add_grid(axes: Axes, direction: Literal["both", "x", "y"] = "both") -> None:
    """Draw light lines below everything else, for the ticks of one or both axes."""
    axes.grid(axis=direction, color="#E5E5E5", linewidth=0.6)
    axes.set_axisbelow(True)


def scale_log(axes: Axes, name: Literal["x", "y"]) -> None:
    """Make an axis, whose data are drawn, logarithmic with as many plain numbers as it has room."""
    axes.set(**{f"{name}scale": "log"})
    axis: Axis = getattr(axes, f"{name}axis")
    low, high = axis.get_view_interval()
    steps = next(steps for span, steps in STEPS.items() if high < span * low)
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:g}")


def add_legend(figure: Figure, handles: Any, columns: int, **style: Any) -> None:
    """Write a legend below all panels."""
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, frameon=False, **style
    )


def make_grid(lines: int, columns: int, cell: float) -> tuple[Figure, NDArray[Any]]:
    """An empty figure with lines×columns square panels without frames, each `cell` inches wide."""
    size = (cell * columns + 0.6, cell * lines + 0.9)
    figure = Figure(figsize=size, layout="compressed")
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.flat:
        hide_frame(axes)
    return figure, grid


def use(panels: NDArray[Any], count: int) -> NDArray[Any]:
    """The first `count` of the panels; the others are hidden."""
    for axes in panels.flat[count:]:
        axes.set_visible(False)
    return panels.flat[:count]


def hide_frame(axes: Axes) -> None:
    """Make a square panel without ticks and frame; its title and the label at its left stay."""
    axes.set(yticks=[], aspect="equal")
    axes.xaxis.set_visible(False)
    axes.spines[:].set_visible(False)


def show_slice(axes: Axes, image: NDArray[Any]) -> None:
    """Show an image (H×W, 0–255) in grey."""
    # The same grey for the same value in every panel; `none` keeps an SVG's pixels as they are.
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="none")


def show_outlines(axes: Axes, picture: Picture, score: bool = True) -> None:
    """Show a slice with the outlines of truth and prediction, and the score written on it."""
    show_slice(axes, picture.image)
    draw_outline(axes, picture.truth, TRUTH)
    draw_outline(axes, picture.prediction, PREDICTION)
    if score:
        write_on_slice(axes, score_of(picture.case))


def write_on_slice(axes: Axes, text: str) -> None:
    """Write into the lower left corner of a slice, readable on black and on white."""
    casing = [Stroke(linewidth=2, foreground="black"), Normal()]
    place: Style = {"transform": axes.transAxes, "in_layout": False}
    axes.text(0.03, 0.04, text, color="white", fontsize="small", path_effects=casing, **place)


def draw_outline(axes: Axes, mask: NDArray[np.bool_], look: Look) -> None:
    """Draw the outline of a mask (H×W) on a slice of the same size, as one path."""
    if rings := outline.trace(mask):
        # Axes count from the middle of the first pixel; a path returns to where it began.
        closed = (Lines(np.concatenate([ring, ring[:1]]) - 0.5, closed=True) for ring in rings)
        path = Lines.make_compound_path(*closed)
        # `add_patch` would measure the path point by point.
        axes.add_artist(PathPatch(path, fill=False, in_layout=False, **look.style, **CASED))


def outline_handles() -> list[Line2D]:
    """Legend handles of the outlines."""
    looks = {"truth": TRUTH, "prediction": PREDICTION}
    return [Line2D([], [], label=name, **look.style, **CASED) for name, look in looks.items()]
