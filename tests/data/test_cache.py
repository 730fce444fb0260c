"""Slices are decoded once, shared, and never half-written."""

import logging
from pathlib import Path

import numpy as np
import pytest

from brainseg.data import cache
from brainseg.data.cache import load_slices
from brainseg.data.case import Case
from brainseg.data.duplicates import Pair
from brainseg.data.image import read_image, read_mask, resize_image, resize_mask
from brainseg.data.layouts.folder import read_folder
from brainseg.errors import InputError


def test_arrays_hold_the_files_in_the_order_of_the_cases(folder: Path, tmp_path: Path):
    cases = read_folder(folder)[::-1]
    slices = load_slices(cases, 16, tmp_path / "cache")
    assert slices.images.shape == slices.masks.shape == (6, 16, 16)
    for image, mask, case in zip(slices.images, slices.masks, cases, strict=True):
        np.testing.assert_array_equal(image, resize_image(read_image(case.image), 16))
        np.testing.assert_array_equal(mask, resize_mask(read_mask(case.mask), 16))


def test_second_call_reads_no_image(folder: Path, tmp_path: Path, monkeypatch):
    first = load_slices(read_folder(folder), 16, tmp_path / "cache")
    monkeypatch.setattr(cache, "decode_case", lambda *paths: pytest.fail(f"decoded {paths} again"))
    again = load_slices(read_folder(folder), 16, tmp_path / "cache")
    np.testing.assert_array_equal(first.images, again.images)
    assert (first.content, first.fingerprint) == (again.content, again.fingerprint)
    assert first.pairs == again.pairs


def test_changed_file_and_other_size_are_decoded_anew(folder: Path, tmp_path: Path, save):
    before = load_slices(read_folder(folder), 16, tmp_path / "cache")
    path = read_folder(folder)[0].image
    save(path, 255 - read_image(path))
    after = load_slices(read_folder(folder), 16, tmp_path / "cache")
    assert (before.images[0] != after.images[0]).any()
    assert load_slices(read_folder(folder), 8, tmp_path / "cache").images.shape[1:] == (8, 8)


def test_equal_images_share_their_content_hash(folder: Path, tmp_path: Path):
    first, second, *_ = read_folder(folder)
    twin = Case("twin", "notumor", None, first.image, None)
    slices = load_slices([first, second, twin], 16, tmp_path / "cache")
    assert slices.content[0] == slices.content[2] != slices.content[1]
    assert slices.pairs == [Pair(0, 2, "exact", "none", 0.0)]
    assert not slices.masks[2].any()


def test_every_bad_file_is_named_and_nothing_is_left(folder: Path, tmp_path: Path, save):
    cases = read_folder(folder)
    cases[1].image.write_text("no image")
    save(cases[4].mask, np.zeros((8, 8), np.uint8))
    with pytest.raises(InputError) as caught:
        load_slices(cases, 16, tmp_path / "cache")
    message = str(caught.value)
    assert "2 of 6 cases cannot be used" in message
    assert f"{cases[1].image} cannot be read" in message
    assert f"is 32×40 pixels, its mask {cases[4].mask} is 8×8 pixels" in message
    assert not list((tmp_path / "cache").iterdir())


def test_a_job_that_was_slower_uses_the_cache_of_the_faster(folder: Path, tmp_path: Path):
    cases = read_folder(folder)
    slices = load_slices(cases, 16, tmp_path / "cache")
    (made,) = (tmp_path / "cache").iterdir()
    cache._build(cases, 16, made)
    assert list((tmp_path / "cache").iterdir()) == [made]
    np.testing.assert_array_equal(load_slices(cases, 16, tmp_path / "cache").masks, slices.masks)


def test_conversions_are_noted_in_the_log(folder: Path, tmp_path: Path, save, caplog):
    cases = read_folder(folder)
    save(cases[0].image, read_image(cases[0].image), "RGBA")
    with caplog.at_level(logging.INFO):
        load_slices(cases, 16, tmp_path / "cache")
    assert "1 of 6 files: RGBA image that is grey in content." in caplog.text
