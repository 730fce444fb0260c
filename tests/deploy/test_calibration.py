import logging

import numpy as np

from brainseg.deploy.calibration import Batches, choose_calibration


def part(**counts):
    classes = np.repeat(list(counts), list(counts.values()))
    n = len(classes)
    return {
        "ids": np.array([f"case{i}" for i in range(n)]),
        "classes": classes,
        "images": np.arange(n, dtype=np.uint8)[:, None, None],
    }


def test_classes_are_balanced_as_far_as_there_are_enough():
    given = part(glioma=100, meningioma=60, notumor=5)
    ids, images = choose_calibration(given, 105, seed=0)
    classes = given["classes"][images[:, 0, 0]]
    assert dict(zip(*np.unique(classes, return_counts=True), strict=True)) == {
        "glioma": 50,
        "meningioma": 50,
        "notumor": 5,
    }
    assert ids == [f"case{i}" for i in images[:, 0, 0]]
    assert len(set(ids)) == 105


def test_the_seed_makes_the_draw():
    given = part(glioma=100, pituitary=100)
    first, again, other = (choose_calibration(given, 110, seed)[0] for seed in (0, 0, 1))
    assert first == again != other


def test_too_few_are_all_taken_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        ids, _ = choose_calibration(part(glioma=7), 200, seed=0)
    assert len(ids) == 7
    assert "Calibration on 7 images; expected 100 to 500" in caplog.text


def test_batches_give_each_image_once():
    images = np.zeros((3, 1, 2, 2), np.float32)
    batches = Batches(images)
    for _ in range(2):
        shapes = [batch["image"].shape for batch in iter(batches.get_next, None)]
        assert shapes == [(1, 1, 2, 2)] * 3
        batches.rewind()
