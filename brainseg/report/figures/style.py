"""How every figure looks: the palette, outlines on slices, and files that do not change by chance.

Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), told apart by readers who are
colour-blind. Nothing is told by colour alone: variants also differ in line and marker, modes in the
part of the marker that is filled, outlines in their dashes, so that a figure can be read from a
grey print.
"""

import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from warnings import catch_warnings, filterwarnings

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke
from matplotlib.typing import FillStyleType, LineStyleType
from numpy.typing import NDArray
from skimage.measure import find_contours

from brainseg.files import replacing

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

CLIP = re.compile(r'(?<=[#"])p[0-9a-f]{10}(?=[)"])')
"""Names of clip paths, as matplotlib makes them."""

GRID: dict[str, Any] = {"color": "#E5E5E5", "linewidth": 0.6}


@dataclass(frozen=True)
class Drawing:
    """A figure without its title, and what it shows in words for who cannot see it."""

    figure: Figure
    alt: str


@dataclass(frozen=True)
class Look:
    """How one variant is drawn: colour, line and marker differ from every other variant's."""

    colour: str
    line: LineStyleType
    marker: str


LOOKS = {
    "none": Look("#000000", "-", "o"),
    "ag": Look("#0072B2", (0, (5, 1.5)), "s"),
    "se": Look("#D55E00", (0, (1.2, 1.2)), "^"),
    "cbam": Look("#56B4E9", (0, (6, 1.5, 1.2, 1.5)), "D"),
}
"""The study's four variants."""

SPARE = (
    Look("#009E73", (0, (3, 1, 1, 1, 1, 1)), "v"),
    Look("#CC79A7", (0, (2.5, 2.5)), "P"),
    Look("#E69F00", (0, (8, 2)), "X"),
)
"""For variants of another name."""

COLOURS = {
    "fp32": "#999999",
    "fp16": "#56B4E9",
    "int8_dynamic": "#E69F00",
    "int8_weights": "#CC79A7",
    "int8_static": "#009E73",
    "int8_qat": "#F0E442",
}
"""Of the modes."""

FILLS: dict[str, FillStyleType] = {
    "fp32": "full",
    "fp16": "top",
    "int8_dynamic": "left",
    "int8_weights": "right",
    "int8_static": "bottom",
    "int8_qat": "none",
}
"""The part of a mode's marker that is filled."""

OTHER = "#D55E00"
"""Of modes of another name."""


@dataclass(frozen=True)
class Outline:
    """How the outline of a mask is drawn on a slice, above a black casing."""

    name: str
    colour: str
    line: LineStyleType


TRUTH = Outline("truth", "#56B4E9", "-")
PREDICTION = Outline("prediction", "#F0E442", (0, (2.2, 1.6)))
"""Yellow is the one colour of the palette that is lighter than sky blue in a grey print too."""

WIDTH = 1.1
"""Of an outline, in points."""


def looks_of(variants: Iterable[str]) -> dict[str, Look]:
    """A look per variant; more variants than looks use those of the others again."""
    variants = list(variants)
    others = [variant for variant in variants if variant not in LOOKS]
    spare = {variant: SPARE[index % len(SPARE)] for index, variant in enumerate(others)}
    return {variant: LOOKS.get(variant) or spare[variant] for variant in variants}


def mode_marker(mode: str, marker: str = "o", size: float = 10) -> dict[str, Any]:
    """Properties of a `Line2D` without a line: a marker in a mode's colour, filled as its mode."""
    return {
        "linestyle": "none",
        "marker": marker,
        "markersize": size,
        "color": COLOURS.get(mode, OTHER),
        "fillstyle": FILLS.get(mode, "full"),
        "markerfacecoloralt": "white",
        "markeredgecolor": "black",
        "markeredgewidth": 0.6,
    }


@styled
def save(figure: Figure, stem: Path) -> None:
    """Write the files of `paths_of`, the same bytes for the same figure."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # arranging takes as long as drawing: once for both files
    # The layout's solver adds up in the order of memory addresses, which its last bits show.
    for part in figure.subfigs:
        part.bbox_relative.p0 = np.round(part.bbox_relative.p0, 5)
        part.bbox_relative.p1 = np.round(part.bbox_relative.p1, 5)
    for axes in figure.axes:
        axes.set_position(np.round(axes.get_position(original=True).bounds, 5))
    for file in paths_of(stem):
        # The date of the drawing would make two reports of the same runs differ.
        date = {"Date": None} if file.suffix == ".svg" else {}
        with replacing(file) as temporary:
            figure.savefig(temporary, dpi=150, metadata=date)
            if file.suffix == ".svg":
                svg = temporary.read_text(encoding="utf-8")
                temporary.write_text(number_clips(svg), encoding="utf-8")


def copy(source: Path, stem: Path) -> None:
    """Copy a figure that was saved under the stem `source`."""
    for old, new in zip(paths_of(source), paths_of(stem), strict=True):
        with replacing(new) as temporary:
            shutil.copyfile(old, temporary)


def paths_of(stem: Path) -> list[Path]:
    """The files of a figure, `<stem>.svg` and `<stem>.png`."""
    # Names of variants may hold dots, so `with_suffix` would cut them.
    return [stem.with_name(stem.name + suffix) for suffix in FORMATS]


def number_clips(svg: str) -> str:
    """Number the clip paths of an SVG in the order of their use.

    Matplotlib names them after their exact place, whose last bits hang on memory addresses: the
    solver of its layout adds up in their order.
    """
    names: dict[str, str] = {}
    return CLIP.sub(lambda found: names.setdefault(found[0], f"clip{len(names)}"), svg)


def make_grid(lines: int, columns: int, cell: float) -> tuple[Figure, NDArray[Any]]:
    """An empty figure with lines×columns square panels without frames, each `cell` inches wide."""
    size = (cell * columns + 0.6, cell * lines + 0.9)
    figure = Figure(figsize=size, layout="compressed")
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.flat:
        hide_frame(axes)
    return figure, grid


def hide_frame(axes: Axes) -> None:
    """Make a square panel without ticks and frame; its labels stay."""
    axes.set(xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_visible(False)


def show_slice(axes: Axes, image: NDArray[np.uint8]) -> None:
    """Show an image (H×W, uint8) in grey."""
    # The same grey for the same value in every panel; `none` keeps an SVG's pixels as they are.
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="none")


def write_on_slice(axes: Axes, text: str) -> None:
    """Write into the lower left corner of a slice, readable on black and on white."""
    casing = [Stroke(linewidth=2, foreground="black"), Normal()]
    axes.text(
        0.03,
        0.04,
        text,
        transform=axes.transAxes,
        color="white",
        fontsize="small",
        path_effects=casing,
    )


def draw_outline(axes: Axes, mask: NDArray[np.bool_], outline: Outline) -> None:
    """Draw the outline of a mask (H×W) on a slice of the same size."""
    # Without the border the outline of a mask that touches it would stay open.
    for contour in find_contours(np.pad(mask, 1).astype(float), 0.5):
        y, x = contour.T - 1
        axes.plot(x, y, **_line_of(outline), scalex=False, scaley=False)


def outline_handles() -> list[Line2D]:
    """Legend handles of the outlines."""
    return [Line2D([], [], label=each.name, **_line_of(each)) for each in (TRUTH, PREDICTION)]


def _line_of(outline: Outline) -> dict[str, Any]:
    casing = [Stroke(linewidth=2 * WIDTH, foreground="black"), Normal()]
    line = {"color": outline.colour, "linestyle": outline.line, "linewidth": WIDTH}
    return line | {"path_effects": casing}
