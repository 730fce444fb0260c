"""Tensors, augmentation, and randomness that comes from seed, epoch and number alone."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from brainseg.data.augment import make_augmentation
from brainseg.data.cache import Slices
from brainseg.data.dataset import EpochSampler, SliceDataset, collate, derive_seed


@pytest.fixture
def slices() -> Slices:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 32, 32), dtype=np.uint8)
    masks = np.zeros((8, 32, 32), np.uint8)
    masks[:, 8:20, 10:22] = 1
    images[masks > 0] = 255
    images.flags.writeable = masks.flags.writeable = False  # as a memory map is
    return Slices(images, masks, ["x"] * 8, "")


def test_batches_are_scaled_and_in_the_order_of_rows(slices: Slices):
    dataset = SliceDataset(slices, [5, 2])
    assert len(dataset) == 2
    images, masks = collate([dataset[0], dataset[1]])
    assert images.dtype == masks.dtype == torch.float32
    assert images.shape == masks.shape == (2, 1, 32, 32)
    np.testing.assert_allclose(images[:, 0], slices.images[[5, 2]] / 255, rtol=1e-6)
    np.testing.assert_array_equal(masks[:, 0], slices.masks[[5, 2]])


def test_augmentation_follows_seed_epoch_and_number(slices: Slices):
    def item(seed: int, epoch: int, number: int) -> np.ndarray:
        return SliceDataset(slices, range(8), make_augmentation(), seed)[(epoch, number)][0]

    np.testing.assert_array_equal(item(0, 1, 2), item(0, 1, 2))
    for other in ((1, 1, 2), (0, 2, 2)):
        assert (item(0, 1, 2) != item(*other)).any()


def test_augmentation_moves_the_mask_with_the_image(slices: Slices):
    dataset = SliceDataset(slices, range(8), make_augmentation(), 0)
    for epoch in range(6):
        image, mask = dataset[(epoch, epoch)]
        assert image.dtype == mask.dtype == np.uint8
        assert set(np.unique(mask)) == {0, 1}
        assert image[mask == 1].mean() > image[mask == 0].mean() + 64


def test_sampler_visits_all_in_an_order_of_seed_and_epoch():
    sampler = EpochSampler(20, seed=3)
    orders = []
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        epochs, numbers = zip(*sampler, strict=True)
        assert set(epochs) == {epoch}
        assert sorted(numbers) == list(range(20)) != list(numbers)
        orders.append(numbers)
    assert orders[0] != orders[1]
    sampler.set_epoch(0)
    assert tuple(number for _, number in sampler) == orders[0]


def test_worker_processes_give_the_same_batches(slices: Slices):
    def batches(workers: int) -> list[torch.Tensor]:
        dataset = SliceDataset(slices, range(8), make_augmentation(), 0)
        sampler = EpochSampler(8, 0)
        sampler.set_epoch(4)
        options = {"sampler": sampler, "num_workers": workers, "collate_fn": collate}
        loader = DataLoader(dataset, batch_size=4, **options)
        return [image for image, _ in loader]

    for alone, shared in zip(batches(0), batches(2), strict=True):
        assert torch.equal(alone, shared)


def test_seeds_differ_between_neighbours():
    seeds = {derive_seed(a, b, c) for a in range(4) for b in range(4) for c in range(4)}
    assert len(seeds) == 64
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_augmentation_has_a_strength(slices: Slices):
    def changed(strength: float) -> np.ndarray:
        dataset = SliceDataset(slices, range(8), make_augmentation(strength), 0)
        return np.stack([dataset[(1, number)][0] for number in range(8)])

    original = np.stack([SliceDataset(slices, range(8))[number][0] for number in range(8)])
    np.testing.assert_array_equal(changed(0), original)
    np.testing.assert_array_equal(changed(1.0), changed(1.0))
    assert (changed(4) != changed(1.0)).any()
