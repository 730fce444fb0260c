"""The audit of data sets: what is there, what is broken, and what stands twice."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from brainseg.data.audit.measure import Measured, measure
from brainseg.data.case import Problem
from brainseg.data.cases import detect_layout, read_set
from brainseg.data.duplicates import Pair, find_clusters, find_pairs
from brainseg.data.shortcut import shortcut_auc
from brainseg.errors import InputError
from brainseg.terminal import bar

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Audit:
    """All that was found out.

    Attributes:
        roots: the data sets, as typed.
        layouts: how each of them lies on disk.
        images: all images that can be read, data set by data set.
        of: for each image the number of its data set.
        problems: what is broken.
        pairs: the images that stand twice, by their numbers.
        clusters: for each image the number of the group of copies that it belongs to.
        auc: how well trivial features tell images without tumour from the others, see
            `shortcut_auc`; `None` where it cannot be told.
    """

    roots: list[str]
    layouts: list[str]
    images: list[Measured]
    of: list[int]
    problems: list[Problem]
    pairs: list[Pair]
    clusters: list[int]
    auc: float | None


def audit(
    roots: Sequence[Path],
    cache: Path,
    layout: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Audit:
    """Read all images of data sets, measure them and look for duplicates, beside a progress bar.

    What is broken is noted and left out.

    Args:
        roots: folders of data sets.
        cache: folder for the slices of volumes, which the page shows too.
        layout: of all of them, see `brainseg.data.cases.LAYOUTS`; by default it is detected.
        options: of the layout, see `brainseg.data.cases.read_set`.

    Raises:
        InputError: a folder is missing, given twice or of no known layout, or there is no image at
            all.
    """
    if len({root.resolve() for root in roots}) < len(roots):
        raise InputError("The same folder is given twice. Give each data set once.")
    problems: list[Problem] = []
    images: list[Measured] = []
    of: list[int] = []
    layouts = [layout or detect_layout(root) for root in roots]
    with ThreadPoolExecutor() as pool:
        for number, (root, kind) in enumerate(zip(roots, layouts, strict=True)):
            cases = read_set(kind, root, cache, options, problems.append)
            text = f"Reading {root}"
            for measured, found in bar(pool.map(measure, cases), text, total=len(cases)):
                problems += found
                if measured is not None:
                    images.append(measured)
                    of.append(number)
            problems += _repeated_ids(root, (case.id for case in cases))
    if not images:
        raise InputError(
            f"No image could be read in {', '.join(map(str, roots))}."
            + "".join(f"\n  {problem.message}" for problem in problems[:10])
        )
    thumbnails = np.stack([image.thumbnail for image in images])
    patients = [image.case.patient for image in images]
    pairs = find_pairs(thumbnails, [image.content for image in images], patients, progress=True)
    clusters = find_clusters(len(images), pairs).tolist()
    groups = [patient or f"cluster-{c}" for patient, c in zip(patients, clusters, strict=True)]
    negative = np.array([class_of(image) == "notumor" for image in images])
    features = np.stack([image.trivial for image in images])
    auc = shortcut_auc(features, negative, groups)
    typed = [str(root) for root in roots]
    return Audit(typed, layouts, images, of, problems, pairs, clusters, auc)


def class_of(image: Measured) -> str:
    """An image's class; where its data set does not tell, what its mask tells."""
    if image.case.label or image.area is None:
        return image.case.label or UNKNOWN
    return "tumor" if image.area else "notumor"


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
    """What one of the data sets holds; plain JSON."""
    images = [image for image, of in zip(found.images, found.of, strict=True) if of == number]
    by_class: dict[str, list[Measured]] = defaultdict(list)
    for image in images:
        by_class[class_of(image)].append(image)
    return {
        "root": found.roots[number],
        "layout": found.layouts[number],
        "images": len(images),
        "patients": len({image.case.patient for image in images} - {None}),
        "without_patient": sum(image.case.patient is None for image in images),
        "sizes": _count(f"{image.shape[1]}×{image.shape[0]}" for image in images),
        "bits": _count(str(image.bits) for image in images),
        "notes": _count(image.note for image in images if image.note),
        "planes": _count(image.case.plane for image in images if image.case.plane),
        "with_spacing": sum(image.case.spacing is not None for image in images),
        "classes": {label: _describe_class(by_class[label]) for label in sorted(by_class)},
    }


def overlaps(found: Audit) -> list[dict[str, Any]]:
    """How many images of a class of a data set have a copy in another class or data set.

    Rows with `a` and `b` (data set and class), `pairs`, and the images `in_a` and `in_b` concerned;
    `a` and `b` are the same for copies within a class.
    """
    names = [
        f"{found.roots[of]} {class_of(image)}"
        for image, of in zip(found.images, found.of, strict=True)
    ]
    pairs: Counter[tuple[str, str]] = Counter()
    concerned: dict[tuple[str, str], dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for pair in found.pairs:
        a, b = sorted((pair.a, pair.b), key=lambda number: names[number])
        place = names[a], names[b]
        pairs[place] += 1
        concerned[place][names[a]].add(a)
        concerned[place][names[b]].add(b)
    return [
        {
            "a": a,
            "b": b,
            "pairs": count,
            "in_a": len(concerned[a, b][a]),
            "in_b": len(concerned[a, b][b]),
        }
        for (a, b), count in sorted(pairs.items())
    ]


def _describe_class(images: Sequence[Measured]) -> dict[str, Any]:
    areas = [image.area for image in images if image.area is not None]
    filled = [area for area in areas if area > 0]
    return {
        "images": len(images),
        "patients": len({image.case.patient for image in images} - {None}),
        "mean": _spread([image.mean for image in images]),
        "deviation": _spread([image.deviation for image in images]),
        "border": _spread([image.border for image in images]),
        "black": _spread([image.black for image in images]),
        "masks": len(areas),
        "empty_masks": len(areas) - len(filled),
        "mask_area": _spread(filled),
        "components": _count(str(image.components) for image in images if image.components),
    }


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    """The 5th, 50th and 95th percentile."""
    if not values:
        return None
    found = np.percentile(values, [5, 50, 95]).round(4)
    return dict(zip(("p5", "p50", "p95"), found.tolist(), strict=True))


def _count(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _repeated_ids(root: Path, ids: Iterable[str]) -> list[Problem]:
    return [
        Problem("id", str(root), f"The id {name} stands {count} times in {root}. Rename the files.")
        for name, count in Counter(ids).items()
        if count > 1
    ]


def group_copies(found: Audit) -> list[list[int]]:
    """Groups of two images or more that show the same, the largest first."""
    members: dict[int, list[int]] = defaultdict(list)
    for number, cluster in enumerate(found.clusters):
        members[cluster].append(number)
    return sorted((group for group in members.values() if len(group) > 1), key=len, reverse=True)
