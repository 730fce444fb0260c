"""A report for people: one HTML file that needs neither a network nor another file."""

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from brainseg.files import write_text
from brainseg.policy import content_policy
from brainseg.report.render import Table
from brainseg.report.rows import NOTHING
from brainseg.report.viewer import Viewer

LIGHTEST = 300_000
"""Bytes up to which the SVG of a figure is embedded, and not its PNG: plots, not pictures."""

COLOURS = ("#F0E442", "#009E73", "#D55E00", "#56B4E9", "#E69F00", "#CC79A7")
"""Of the variants' contours, after Okabe and Ito (https://jfly.uni-koeln.de/color/). The figures'
black and blue would vanish on a slice."""

DASHES = ("7 4", "2.5 2.5", "11 3 2 3", "7 2.5 2 2.5 2 2.5", "18 5")
"""Of the variants' contours, so that they can be told apart without colours."""

TYPES = {".svg": "image/svg+xml", ".png": "image/png"}


@dataclass(frozen=True)
class PageFigure:
    """A picture that becomes part of the page, from `<stem>.svg` and `<stem>.png`."""

    title: str
    caption: str
    alt: str
    stem: Path


@dataclass(frozen=True)
class Page:
    """What a report says, in the order in which it says it.

    Attributes:
        notice: what a reader must know before any number, such as "synthetic data".
        answer: what to deploy where.
        sentences: what else to know about the answer.
        tables: the main one first.
        statements: lists with their headings: data, environment, limits.
    """

    title: str
    notice: str | None
    answer: Table
    sentences: Sequence[str]
    tables: Sequence[Table]
    figures: Sequence[PageFigure]
    viewer: Viewer | None
    statements: Sequence[tuple[str, Sequence[str]]]


def write_page(target: Path, page: Page) -> None:
    """Write the page, with all that it shows inside."""
    environment = Environment(
        loader=PackageLoader("brainseg.report", "."), autoescape=True, undefined=StrictUndefined
    )
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters |= {"embed": _embed, "policy": content_policy}
    variants = len(page.viewer.variants) if page.viewer else 0
    html = environment.get_template("page.html").render(
        page=page,
        viewer=asdict(page.viewer) if page.viewer else None,
        styles=list(islice(zip(cycle(COLOURS), cycle(DASHES), strict=False), variants)),
        nothing=NOTHING,
    )
    write_text(target, html)


def _embed(figure: PageFigure) -> str:
    """A data URI: as an image of its own, a figure shares no ids with others and loads nothing."""
    # Names of variants may hold dots, so `with_suffix` would cut them.
    svg, png = (figure.stem.with_name(figure.stem.name + suffix) for suffix in TYPES)
    chosen = svg if svg.stat().st_size <= LIGHTEST else png
    content = base64.b64encode(chosen.read_bytes()).decode()
    return f"data:{TYPES[chosen.suffix]};base64,{content}"
