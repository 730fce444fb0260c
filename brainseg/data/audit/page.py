"""The audit as a file, a page and a summary: `audit.json`, pictures, tables in the terminal."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader
from numpy.typing import NDArray
from PIL import Image
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from brainseg.data.audit.collect import Audit, group_copies, to_json
from brainseg.data.duplicates import TRANSFORMS, Pair
from brainseg.data.image import read_image
from brainseg.files import write_json, write_text
from brainseg.policy import content_policy
from brainseg.terminal import bar

SIDE = 112
"""Longer side of a picture on the page, in pixels."""

DRAWN = 50
"""Pairs chosen at random for the page."""

CROSSING = 60
"""Pairs between data sets or classes on the page."""

CLUSTERS, MEMBERS = 20, 12
"""Largest clusters on the page, and images of each."""

PROBLEMS = 200
"""Problems listed on the page; `audit.json` has all."""


def write_audit(found: Audit, out: Path) -> dict[str, Any]:
    """Write `audit.json` and `index.html` to the folder `out`, which may exist.

    Returns the content of `audit.json`.
    """
    facts = to_json(found)
    write_json(out / "audit.json", facts)
    rng = np.random.default_rng(0)
    crossing = [pair for pair in found.pairs if _place(found, pair.a) != _place(found, pair.b)]
    groups = group_copies(found)
    environment = Environment(
        loader=PackageLoader("brainseg.data.audit", "."), autoescape=True, trim_blocks=True
    )
    environment.globals["spread"] = _format_spread
    environment.filters["policy"] = content_policy
    page = environment.get_template("audit.html").render(
        facts=facts,
        problems=found.problems[:PROBLEMS],
        pair_total=len(found.pairs),
        drawn=_show(found, _draw(found.pairs, DRAWN, rng), "Pictures of pairs"),
        crossing=_show(found, _draw(crossing, CROSSING, rng), "Pictures across data sets"),
        crossing_total=len(crossing),
        clusters=[_show_cluster(found, group) for group in groups[:CLUSTERS]],
        cluster_total=len(groups),
    )
    write_text(out / "index.html", page)
    return facts


def print_audit(facts: dict[str, Any], console: Console) -> None:
    """Print the most important content of `audit.json`."""
    for described in facts["data_sets"]:
        root = escape(described["root"])
        title = f"{root} ({described['layout']}): {described['images']} images"
        table = Table(title=title, title_justify="left", box=SIMPLE)
        table.add_column("class", no_wrap=True)
        for name in ("images", "patients", "masks", "empty", "mask area, %", "mean", "border"):
            table.add_column(name, justify="right")
        for label, row in described["classes"].items():
            counts = (row["images"], row["patients"] or "–", row["masks"], row["empty_masks"])
            area = _format_spread(row["mask_area"], 100, 1)
            spreads = (_format_spread(row[name]) for name in ("mean", "border"))
            table.add_row(escape(label), *map(str, counts), area, *spreads)
        console.print(table)
        for note, count in described["notes"].items():
            told = f"{count} of {described['images']} files: {note}."
            console.print(told, soft_wrap=True, markup=False, highlight=False)
    console.print("Ranges: median (5th–95th percentile). border: mean of the outermost pixels.")
    if facts["overlaps"]:
        console.print(_overlap_table(facts["overlaps"]))
    for sentence in _sentences(facts):
        console.print(sentence, soft_wrap=True, markup=False, highlight=False)


def _overlap_table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(title="Duplicate images", title_justify="left", box=SIMPLE)
    for name in ("in", "and in"):
        table.add_column(name)
    for name in ("pairs", "images", "images"):
        table.add_column(name, justify="right")
    for row in rows:
        same = row["a"] == row["b"]
        counts = (row["pairs"], row["in_a"], "" if same else row["in_b"])
        table.add_row(escape(row["a"]), "the same" if same else escape(row["b"]), *map(str, counts))
    return table


def _sentences(facts: dict[str, Any]) -> list[str]:
    kinds = {"exact": 0, "near": 0} | facts["pair_counts"]
    turned = [f"{name} {n}" for name, n in facts["transform_counts"].items() if name != "none"]
    sentences = ["No duplicate images."]
    if facts["pairs"]:
        sentences = [
            f"{kinds['exact']} exact and {kinds['near']} near-duplicate pairs; turned: "
            f"{', '.join(turned) or 'none'}. {sum(map(len, facts['clusters']))} images in "
            f"{len(facts['clusters'])} clusters."
        ]
    broken = facts["problem_counts"]
    listed = ", ".join(f"{count} {kind}" for kind, count in broken.items())
    sentences.append(f"Problems: {listed or 'none'}.")
    sentences += [f"  {problem['message']}" for problem in facts["problems"][:10]]
    if sum(broken.values()) > 10:
        sentences.append(f"  … and {sum(broken.values()) - 10} more in audit.json.")
    if facts["shortcut_auc"] is not None:
        sentences.append(
            "Source shortcut: border and histogram alone separate images without tumour from the "
            f"others with an area under the curve of {facts['shortcut_auc']:.3f} (0.5 is chance)."
        )
    return sentences


def _format_spread(spread: dict[str, float] | None, scale: float = 1, digits: int = 0) -> str:
    if spread is None:
        return "–"
    low, middle, high = (f"{scale * spread[key]:.{digits}f}" for key in ("p5", "p50", "p95"))
    return f"{middle} ({low}–{high})"


def _place(found: Audit, number: int) -> tuple[int, str | None]:
    return int(found.table["set"][number]), found.images[number].case.label


def _draw(pairs: Sequence[Pair], count: int, rng: np.random.Generator) -> list[Pair]:
    chosen = rng.permutation(len(pairs))[:count]
    return [pairs[number] for number in sorted(chosen.tolist())]


def _show(found: Audit, pairs: Sequence[Pair], text: str) -> list[dict[str, Any]]:
    shown = []
    for pair in bar(pairs, text):
        facts = {
            "a": found.images[pair.a].path,
            "b": found.images[pair.b].path,
            "kind": pair.kind,
            "transform": pair.transform.replace("_", " "),
            "correlation": f"{1 - pair.distance:.4f}",
        }
        turns = dict.fromkeys(("none", pair.transform))
        pictures = [_picture(found, pair.a, turn) for turn in turns]
        shown.append(facts | {"pictures": [*pictures, _picture(found, pair.b)]})
    return shown


def _show_cluster(found: Audit, group: Sequence[int]) -> dict[str, Any]:
    shown = [(found.images[n].path, _picture(found, n)) for n in group[:MEMBERS]]
    return {"count": len(group), "images": shown}


def _picture(found: Audit, number: int, transform: str = "none") -> str:
    """A small JPEG as a data URI."""
    pixels: NDArray[np.uint8] = TRANSFORMS[transform](read_image(found.images[number].case.image))
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
