"""Images that stand twice, also re-encoded, resized, flipped, turned or transposed.

Every image is shrunk to a thumbnail. Two images are near-duplicates where the thumbnails'
correlation is at least `SIMILAR` in one of the eight orientations. Comparing all pairs would take
days for 100,000 images: a k-d tree over the thumbnails' low frequencies proposes the pairs. An
orthonormal transform keeps distances and leaving out coefficients only shrinks them, so the tree
misses no pair (the lower-bounding lemma of Faloutsos et al., SIGMOD 1994).
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise, product

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from brainseg.data.image import resize_image
from brainseg.progress import bar

SIDE = 32
"""Height and width of a thumbnail."""

SIMILAR = 0.99
"""Correlation of thumbnails from which two images are near-duplicates."""

SIMILAR_IN_PATIENT = 0.9995
"""The same within one patient, whose neighbouring slices are alike: 1 mm apart they reach 0.999."""

FREQUENCIES = 10
"""Diagonals of the cosine transform that the tree searches: more propose fewer wrong pairs."""

CHUNK = 2000
"""Images that are compared with all others at once."""

LARGEST = 50
"""Copies of one image above which not all of their pairs are listed, only enough to link them."""

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
    """Images `a` and `b` (numbers in a list) show the same.

    Attributes:
        a: the earlier one.
        b: the later one.
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
    *,
    progress: bool = False,
) -> list[Pair]:
    """Find the images that stand twice.

    Images without any contrast are near-duplicates of nothing.

    Args:
        thumbnails: N×32×32, from `make_thumbnail`.
        content: hash of each image's pixels.
        patients: of each image, `None` where unknown.
        progress: show a bar.
    """
    copies: dict[str, list[int]] = defaultdict(list)
    for number, digest in enumerate(content):
        copies[digest].append(number)
    groups = list(copies.values())
    found = [Pair(a, b, "exact", "none", 0.0) for group in groups for a, b in _link(group)]
    first = np.array([group[0] for group in groups], int)
    for i, j, transform, distance in _near(thumbnails[first], progress):
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


def _near(thumbnails: NDArray[np.uint8], progress: bool) -> Iterator[tuple[int, int, str, float]]:
    """Numbers i < j of similar thumbnails, what turns i into j, and 1 - correlation."""
    numbers = np.flatnonzero(np.ptp(thumbnails, axis=(1, 2)) > 0)
    units = _normalize(thumbnails[numbers])
    tree = KDTree(_low_frequencies(units))
    starts = range(0, len(units), CHUNK)
    best: dict[tuple[int, int], tuple[str, float]] = {}
    steps = list(product(TRANSFORMS.items(), starts))
    for (name, turn), start in bar(steps, "Looking for duplicates", progress):
        turned = np.ascontiguousarray(turn(units[start : start + CHUNK]))
        for i, j, correlation in _similar(turned, start, units, tree):
            if correlation > best.get((i, j), ("", 0.0))[1]:
                best[i, j] = name, correlation
    for (i, j), (name, correlation) in best.items():
        yield int(numbers[i]), int(numbers[j]), name, max(0.0, 1 - correlation)


def _similar(
    turned: NDArray[np.float32], start: int, units: NDArray[np.float32], tree: KDTree
) -> Iterator[tuple[int, int, float]]:
    """The pairs of a chunk of turned thumbnails with later ones, confirmed pixel by pixel."""
    # For vectors of length 1, |a - b|² = 2 (1 - correlation).
    reach = np.sqrt(2 * (1 - SIMILAR)) + 1e-6
    proposed = KDTree(_low_frequencies(turned)).sparse_distance_matrix(
        tree, reach, output_type="coo_matrix"
    )
    later = proposed.row + start < proposed.col
    rows, columns = proposed.row[later], proposed.col[later]
    for at in range(0, len(rows), 50_000):  # pixels of so many pairs fit in memory
        i, j = rows[at : at + 50_000], columns[at : at + 50_000]
        correlations = np.einsum("nhw,nhw->n", turned[i], units[j])
        sure = correlations >= SIMILAR
        yield from zip(
            (i[sure] + start).tolist(), j[sure].tolist(), correlations[sure].tolist(), strict=True
        )


def _normalize(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean 0 and length 1, so that the correlation is the scalar product."""
    centred = thumbnails.astype(np.float32)
    centred -= centred.mean(axis=(1, 2), keepdims=True)
    return centred / np.linalg.norm(centred, axis=(1, 2), keepdims=True)


def _low_frequencies(units: NDArray[np.float32]) -> NDArray[np.float64]:
    """Coefficients of the cosine transform on the first diagonals, without the constant one."""
    spectra = dctn(units, axes=(1, 2), norm="ortho")
    row, column = np.indices((SIDE, SIDE))
    return spectra[:, (row + column < FREQUENCIES) & (row + column > 0)].astype(np.float64)
