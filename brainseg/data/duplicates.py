"""Duplicate images, also re-encoded, resized, flipped, turned or transposed.

Every image is shrunk to a thumbnail. Two images are near-duplicates where the thumbnails'
correlation is at least `SIMILAR` in one of the eight orientations. All pairs are compared, but most
by a few numbers only: the low frequencies of the cosine transform, which keeps scalar products, and
the length of all that they leave out. Their product is never below the correlation (the inequality
of Cauchy and Schwarz), so no pair is missed. It is a product of matrices: over ten times faster
than a k-d tree, which in so many dimensions visits nearly all pairs too.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise, product

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import DisjointSet
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from brainseg.data.image import resize_image
from brainseg.terminal import bar

SIDE = 32
"""Height and width of a thumbnail."""

SIMILAR = 0.99
"""Correlation of thumbnails above which two images are near-duplicates."""

SIMILAR_IN_PATIENT = 0.9995
"""The same within a patient, whose neighbouring slices are alike: 1 mm apart they reach 0.999."""

FREQUENCIES = 8
"""Diagonals of the cosine transform that are compared; more of them propose fewer pairs."""

BLOCK = 1000
"""Images compared with as many others at a time: so many products stay in a core's cache."""

ROUNDING = 1e-5
"""By how much a product of 32-bit numbers may come out too small."""

LARGEST = 100
"""For an image with more copies than this, only enough pairs to link them all are listed."""

Turn = Callable[[NDArray], NDArray]

TRANSFORMS: dict[str, Turn] = {
    "none": lambda images: images,
    "rotate90": lambda images: np.rot90(images, 1, (-2, -1)),
    "rotate180": lambda images: np.rot90(images, 2, (-2, -1)),
    "rotate270": lambda images: np.rot90(images, 3, (-2, -1)),
    "flip_left_right": lambda images: images[..., ::-1],
    "flip_up_down": lambda images: images[..., ::-1, :],
    "transpose": lambda images: np.swapaxes(images, -2, -1),
    "transverse": lambda images: np.rot90(np.swapaxes(images, -2, -1), 2, (-2, -1)),
}
"""The eight orientations of images …×H×W; rotations are anticlockwise."""


@dataclass(frozen=True)
class Pair:
    """Two images, by their numbers in a list, that show the same slice.

    Attributes:
        a: the first.
        b: the second.
        kind: `exact` (equal pixels) or `near`.
        transform: what turns `a` into `b`, of `TRANSFORMS`.
        distance: 1 - correlation of the thumbnails.
    """

    a: int
    b: int
    kind: str
    transform: str
    distance: float


def make_thumbnail(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Shrink an H×W image to 32×32, whatever its proportions."""
    return resize_image(image, SIDE)


def find_pairs(
    thumbnails: NDArray[np.uint8],
    content: Sequence[str],
    patients: Sequence[str | None],
) -> list[Pair]:
    """Find duplicate images, with a progress bar. Images without any contrast are never duplicates.

    Args:
        thumbnails: N×32×32, from `make_thumbnail`.
        content: hash of each image's pixels.
        patients: of each image, `None` or empty where unknown.
    """
    copies: dict[str, list[int]] = defaultdict(list)
    for number in np.flatnonzero(np.ptp(thumbnails, axis=(1, 2)) > 0).tolist():
        copies[content[number]].append(number)
    groups = list(copies.values())
    found = [Pair(a, b, "exact", "none", 0.0) for group in groups for a, b in _link(group)]
    units = _normalize(thumbnails[[group[0] for group in groups]])
    for i, j, transform, distance in _thin_out(*_near(units), len(groups)):
        for a, b in product(groups[i][:LARGEST], groups[j][:LARGEST]):
            least = SIMILAR_IN_PATIENT if patients[a] and patients[a] == patients[b] else SIMILAR
            if 1 - distance >= least:
                turn = transform if a < b else invert(transform)
                found.append(Pair(min(a, b), max(a, b), "near", turn, round(distance, 6)))
    return sorted(found, key=lambda pair: (pair.a, pair.b))


def invert(transform: str) -> str:
    """The transform that undoes another; flips and transpositions undo themselves."""
    return {"rotate90": "rotate270", "rotate270": "rotate90"}.get(transform, transform)


def find_clusters(count: int, pairs: Sequence[Pair]) -> NDArray[np.int64]:
    """Number the groups of images that pairs link, directly or through others: `count` numbers."""
    ends = np.array([(pair.a, pair.b) for pair in pairs], int).reshape(-1, 2).T
    links = coo_array((np.ones(ends.shape[1]), (ends[0], ends[1])), shape=(count, count))
    return connected_components(links, directed=False)[1].astype(np.int64)


def _link(group: Sequence[int]) -> Iterator[tuple[int, int]]:
    return combinations(group, 2) if len(group) <= LARGEST else pairwise(group)


def _near(units: NDArray[np.float32]) -> tuple[NDArray, NDArray, NDArray]:
    """Pairs i < j of similar images (P×2), the number of what turns i into j, and correlation."""
    starts = range(0, max(1, len(units)), BLOCK)
    low = np.concatenate([_low_frequencies(units[start : start + BLOCK]) for start in starts])
    steps = list(product(enumerate(TRANSFORMS.values()), starts))
    found = []
    for (number, turn), start in bar(steps, "Looking for duplicates"):
        turned = np.ascontiguousarray(turn(units[start : start + BLOCK]))
        ends, correlations = _similar(turned, start, units, low)
        found.append((ends, np.full(len(ends), number), correlations))
    ends, turns, correlations = map(np.concatenate, zip(*found, strict=True))
    return ends, turns, correlations


def _thin_out(
    ends: NDArray, turns: NDArray, correlations: NDArray, count: int
) -> Iterator[tuple[int, int, str, float]]:
    """Each pair once, in its best orientation, the most similar first; and only those needed."""
    names = list(TRANSFORMS)
    best = np.lexsort((turns, -correlations, ends[:, 1], ends[:, 0]))
    _, first = np.unique(ends[best], axis=0, return_index=True)
    chosen = best[first]
    linked, listed = DisjointSet(range(count)), np.zeros(count, int)
    for k in chosen[np.argsort(-correlations[chosen], kind="stable")].tolist():
        i, j = ends[k].tolist()
        if max(listed[i], listed[j]) < LARGEST or not linked.connected(i, j):
            linked.merge(i, j)
            listed[[i, j]] += 1
            yield i, j, names[turns[k]], max(0.0, 1 - float(correlations[k]))


def _similar(
    turned: NDArray[np.float32], start: int, units: NDArray[np.float32], low: NDArray[np.float32]
) -> tuple[NDArray, NDArray]:
    """The pairs of a block of turned images with later ones, confirmed pixel by pixel."""
    rows, columns = _propose(_low_frequencies(turned), low[start:])
    later = rows < columns
    rows, columns = rows[later], columns[later] + start
    correlations = np.empty(len(rows), np.float32)
    for at in range(0, len(rows), 50_000):  # pixels of so many pairs fit in memory
        some = slice(at, at + 50_000)
        correlations[some] = np.einsum("nhw,nhw->n", turned[rows[some]], units[columns[some]])
    sure = correlations >= SIMILAR
    return np.stack([rows[sure] + start, columns[sure]], axis=1), correlations[sure]


def _propose(low: NDArray[np.float32], others: NDArray[np.float32]) -> tuple[NDArray, NDArray]:
    """The numbers, in both lists, of all pairs that may be similar."""
    rows, columns = [], []
    for start in range(0, max(1, len(others)), BLOCK):
        bounds = low @ others[start : start + BLOCK].T
        near = np.flatnonzero(bounds >= SIMILAR - ROUNDING)  # `nonzero` would take 30 times longer
        row, column = np.unravel_index(near, bounds.shape)
        rows.append(row)
        columns.append(column + start)
    return np.concatenate(rows), np.concatenate(columns)


def _normalize(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean 0 and length 1, so that the correlation is the scalar product."""
    centred = thumbnails.astype(np.float32)
    centred -= centred.mean(axis=(1, 2), keepdims=True)
    centred /= np.linalg.norm(centred, axis=(1, 2), keepdims=True)
    return centred


def _low_frequencies(units: NDArray[np.float32]) -> NDArray[np.float32]:
    """Coefficients on the first diagonals, without the constant one, and the length of the rest."""
    spectra = dctn(units, axes=(1, 2), norm="ortho")
    row, column = np.indices((SIDE, SIDE))
    low = spectra[:, (row + column < FREQUENCIES) & (row + column > 0)]
    rest = np.sqrt(np.maximum(0, 1 - np.sum(low**2, axis=1, keepdims=True)))
    return np.hstack([low, rest])
