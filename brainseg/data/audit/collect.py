"""What an audit finds: contents, broken files, and duplicates within and across data sets."""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainseg.data.audit.measure import Measured, measure
from brainseg.data.case import Problem
from brainseg.data.cases import detect_layout, read_set, repeated_ids
from brainseg.data.duplicates import Pair, find_clusters, find_pairs
from brainseg.data.shortcut import shortcut_auc
from brainseg.errors import InputError
from brainseg.terminal import bar
from brainseg.vocabulary import NEGATIVE


@dataclass(frozen=True)
class Audit:
    """What was found.

    Attributes:
        roots: the data sets, as typed.
        layouts: the layout of each.
        images: all readable images, one data set after the other.
        table: a row per image: the facts of `Measured`, `set` (number of its data set), and
            `cluster` (shared by duplicates).
        problems: what is broken.
        pairs: duplicate images, by their numbers.
        auc: how well trivial features separate images without tumour from the others, see
            `shortcut_auc`; `None` where undefined.
    """

    roots: list[str]
    layouts: list[str]
    images: list[Measured]
    table: pd.DataFrame
    problems: list[Problem]
    pairs: list[Pair]
    auc: float | None


def audit(
    roots: Sequence[Path],
    cache: Path,
    layout: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Audit:
    """Read and measure all images of data sets, and find duplicates, with a progress bar.

    Broken files are noted and left out. The page also requires the slices of volumes, in `cache`;
    `layout` and `options` are those of `brainseg.data.cases.read_set`.

    Raises:
        InputError: a folder is missing, given twice or of unknown layout, or no image is readable.
    """
    if len({root.resolve() for root in roots}) < len(roots):
        raise InputError("The same folder is given twice. Give each data set once.")
    problems: list[Problem] = []
    images: list[Measured] = []
    sets: list[int] = []
    layouts = [layout or detect_layout(root) for root in roots]
    with ThreadPoolExecutor() as pool:
        for number, (root, kind) in enumerate(zip(roots, layouts, strict=True)):
            cases = read_set(kind, root, cache, options, problems.append)
            text = f"Reading {root}"
            for measured, found in bar(pool.map(measure, cases), text, total=len(cases)):
                problems += found
                if measured is not None:
                    images.append(measured)
                    sets.append(number)
            own = [image for image, place in zip(images, sets, strict=True) if place == number]
            problems += _find_unused_labels(root, own)
            for name, count in repeated_ids(cases).items():
                message = f"{count} images in {root} have the id {name}. Rename the files."
                problems.append(Problem("id", str(root), message))
    if not images:
        raise InputError(
            f"No image could be read in {', '.join(map(str, roots))}."
            + "".join(f"\n  {problem.message}" for problem in problems[:10])
        )
    pairs = find_pairs(
        np.stack([image.thumbnail for image in images]),
        [image.content for image in images],
        [image.case.patient for image in images],
    )
    table = pd.DataFrame([image.facts for image in images])
    table = table.astype({"components": "Int64", "area": float})
    table = table.assign(set=sets, cluster=find_clusters(len(images), pairs))
    groups = table["patient"].fillna("cluster-" + table["cluster"].astype(str))
    features = np.stack([image.trivial for image in images])
    auc = shortcut_auc(features, (table["class"] == NEGATIVE).to_numpy(), groups.tolist())
    return Audit(list(map(str, roots)), layouts, images, table, problems, pairs, auc)


def to_json(found: Audit) -> dict[str, Any]:
    """The audit as plain JSON: `audit.json`."""
    paths = [image.path for image in found.images]
    clusters = group_copies(found)
    return {
        "roots": found.roots,
        "data_sets": [describe_set(found, number) for number in range(len(found.roots))],
        "problem_counts": dict(Counter(problem.kind for problem in found.problems)),
        "problems": [asdict(problem) for problem in found.problems],
        "pair_counts": dict(Counter(pair.kind for pair in found.pairs)),
        "transform_counts": dict(Counter(pair.transform for pair in found.pairs)),
        "overlaps": overlaps(found),
        "shortcut_auc": found.auc,
        "pairs": [asdict(pair) | {"a": paths[pair.a], "b": paths[pair.b]} for pair in found.pairs],
        "clusters": [[paths[number] for number in cluster] for cluster in clusters],
    }


def describe_set(found: Audit, number: int) -> dict[str, Any]:
    """The contents of one of the data sets; plain JSON."""
    images = found.table[found.table["set"] == number]
    return {
        "root": found.roots[number],
        "layout": found.layouts[number],
        "images": len(images),
        "patients": images["patient"].nunique(),
        "without_patient": int(images["patient"].isna().sum()),
        "sizes": _count(images["size"]),
        "bits": _count(images["bits"]),
        "notes": _count(images["note"]),
        "planes": _count(images["plane"]),
        "classes": {label: _describe_class(rows) for label, rows in images.groupby("class")},
    }


def overlaps(found: Audit) -> list[dict[str, Any]]:
    """Count the images of a class of a data set that have duplicates in another, or in the same.

    Rows with `a` and `b` (data set and class), `pairs`, and the images `in_a` and `in_b` concerned;
    `a` and `b` are the same for duplicates within a class.
    """
    roots = found.table["set"].map(dict(enumerate(found.roots)))
    names = (roots + " " + found.table["class"]).tolist()
    places: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for pair in found.pairs:
        first, second = sorted((pair.a, pair.b), key=names.__getitem__)
        places.setdefault((names[first], names[second]), []).append((first, second))
    rows = []
    for (a, b), pairs in sorted(places.items()):
        sides = [set(side) for side in zip(*pairs, strict=True)]
        in_a, in_b = sides if a != b else [sides[0] | sides[1]] * 2
        rows.append({"a": a, "b": b, "pairs": len(pairs), "in_a": len(in_a), "in_b": len(in_b)})
    return rows


def group_copies(found: Audit) -> list[list[int]]:
    """Groups of two or more images that show the same, the largest first."""
    members = found.table.index.to_series().groupby(found.table["cluster"]).agg(list)
    return sorted((group for group in members if len(group) > 1), key=len, reverse=True)


def _find_unused_labels(root: Path, images: Sequence[Measured]) -> list[Problem]:
    """A problem where no mask of a data set holds any of the labels that were chosen."""
    chosen = [image for image in images if image.case.labels is not None]
    if not chosen or any(image.facts["area"] for image in chosen):
        return []
    listed = ",".join(f"{label:g}" for label in chosen[0].case.labels or ())
    message = f"No mask in {root} holds any of the labels {listed}. Choose values that masks have."
    return [Problem("mask", str(root), message)]


def _describe_class(images: pd.DataFrame) -> dict[str, Any]:
    masks = images["area"].dropna()
    filled = masks[masks > 0]
    return {
        "images": len(images),
        "patients": images["patient"].nunique(),
        **{name: _spread(images[name]) for name in ("mean", "deviation", "border", "black")},
        "masks": len(masks),
        "empty_masks": len(masks) - len(filled),
        "mask_area": _spread(filled),
        "components": _count(images.loc[images["components"] > 0, "components"]),
    }


def _spread(values: pd.Series) -> dict[str, float] | None:
    """The 5th, 50th and 95th percentile."""
    if values.empty:
        return None
    found = np.percentile(values, [5, 50, 95]).round(4)
    return dict(zip(("p5", "p50", "p95"), found.tolist(), strict=True))


def _count(values: pd.Series) -> dict[str, int]:
    """How often each value occurs, the most frequent first."""
    return {str(value): int(count) for value, count in values.value_counts().items()}
