"""Images that stand twice are found in every orientation, neighbouring slices are not copies."""

import io
from itertools import combinations

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from brainseg.data.duplicates import (
    SIMILAR,
    TRANSFORMS,
    Pair,
    find_clusters,
    find_pairs,
    invert,
    make_thumbnail,
)


def scene(seed: int, size: int = 96) -> np.ndarray:
    """A picture with structure at many scales, unlike those of other seeds."""
    rng = np.random.default_rng(seed)
    layers = [ndimage.gaussian_filter(rng.normal(size=(size, size)), s) * s for s in (2, 4, 9)]
    mixed = sum(layers)
    return np.uint8(255 * (mixed - mixed.min()) / np.ptp(mixed))


def find(images: list[np.ndarray], patients: list[str | None] | None = None) -> list[Pair]:
    thumbnails = np.stack([make_thumbnail(image) for image in images])
    content = [str(hash(image.tobytes())) for image in images]
    return find_pairs(thumbnails, content, patients or [None] * len(images))


def reencoded(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).resize(size).save(file, "JPEG", quality=60)
    return np.asarray(Image.open(file))


def test_transforms_are_the_eight_symmetries_of_the_square():
    square = np.arange(9).reshape(3, 3)
    turned = {name: turn(square) for name, turn in TRANSFORMS.items()}
    assert len({values.tobytes() for values in turned.values()}) == 8
    np.testing.assert_array_equal(turned["transpose"], square.T)
    np.testing.assert_array_equal(turned["flip_left_right"], np.fliplr(square))
    np.testing.assert_array_equal(turned["flip_up_down"], np.flipud(square))
    np.testing.assert_array_equal(turned["rotate90"], np.rot90(square))
    np.testing.assert_array_equal(turned["transverse"], np.rot90(square, 2).T)
    for name, turn in TRANSFORMS.items():
        np.testing.assert_array_equal(TRANSFORMS[invert(name)](turn(square)), square)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("turned_first", [False, True])
def test_a_turned_reencoded_resized_copy_is_found(transform: str, turned_first: bool):
    image = scene(0)
    copy = reencoded(np.ascontiguousarray(TRANSFORMS[transform](image)), (70, 70))
    images = [copy, scene(1), image] if turned_first else [image, scene(1), copy]
    (pair,) = find(images)
    assert (pair.a, pair.b, pair.kind) == (0, 2, "near")
    assert pair.transform == (invert(transform) if turned_first else transform)
    turned = TRANSFORMS[pair.transform](make_thumbnail(images[0]))
    expected = np.corrcoef(turned.ravel(), make_thumbnail(images[2]).ravel())[0, 1]
    assert pair.distance == pytest.approx(1 - expected, abs=1e-5)


def test_equal_pixels_are_exact():
    assert find([scene(0), scene(1), scene(0)]) == [Pair(0, 2, "exact", "none", 0.0)]


@pytest.mark.parametrize("block", [7, 1000])
def test_no_pair_is_missed(block: int, monkeypatch):
    """Against all pairs in all orientations, on images of every degree of likeness."""
    monkeypatch.setattr("brainseg.data.duplicates.BLOCK", block)
    rng = np.random.default_rng(0)
    images = [scene(seed) for seed in range(6)]
    for number in range(24):
        base = images[number % 6].astype(float)
        mixed = base + rng.uniform(0, 1.2) * (scene(100 + number).astype(float) - 128)
        turn = list(TRANSFORMS.values())[number % 8]
        images.append(np.ascontiguousarray(turn(np.uint8(np.clip(mixed, 0, 255)))))
    thumbnails = [make_thumbnail(image) for image in images]
    expected = {
        (a, b)
        for a, b in combinations(range(len(images)), 2)
        if max(
            np.corrcoef(turn(thumbnails[a]).ravel(), thumbnails[b].ravel())[0, 1]
            for turn in TRANSFORMS.values()
        )
        >= SIMILAR
    }
    assert 3 < len(expected) < 30
    assert {(pair.a, pair.b) for pair in find(images)} == expected


def test_neighbouring_slices_of_a_patient_are_not_duplicates():
    slices = [np.uint8(np.clip(scene(0) * 0.93 + scene(1) * 0.07, 0, 255)), scene(0)]
    assert len(find(slices)) == 1
    assert len(find(slices, ["p", "q"])) == 1
    assert find(slices, ["p", "p"]) == []
    copy = reencoded(scene(0), (96, 96))
    assert len(find([scene(0), copy], ["p", "p"])) == 1


def test_images_without_contrast_are_like_nothing():
    flat = [np.full((9, 9), value, np.uint8) for value in (0, 0, 7)]
    assert find(flat) == []
    assert find([*flat, scene(0), scene(0)]) == [Pair(3, 4, "exact", "none", 0.0)]


@pytest.mark.parametrize("exact", [True, False])
def test_many_copies_are_linked_without_listing_all_pairs(exact: bool, monkeypatch):
    monkeypatch.setattr("brainseg.data.duplicates.LARGEST", 5)
    rng = np.random.default_rng(0)
    images = [
        np.uint8(np.clip(scene(0) + (0 if exact else 1) * rng.normal(0, 3, (96, 96)), 0, 255))
        for _ in range(40)
    ]
    pairs = find([*images, scene(1)])
    assert {pair.kind for pair in pairs} == {"exact" if exact else "near"}
    assert len(pairs) <= 40 * 6 < 40 * 39 // 2
    clusters = find_clusters(41, pairs)
    assert len(set(clusters[:40])) == 1
    assert clusters[40] != clusters[0]


def test_clusters_follow_chains_of_pairs():
    pairs = [Pair(0, 3, "near", "none", 0.0), Pair(3, 5, "exact", "none", 0.0)]
    clusters = find_clusters(6, pairs)
    assert clusters[0] == clusters[3] == clusters[5]
    assert len(set(clusters)) == 4
    assert len(set(find_clusters(3, []))) == 3
