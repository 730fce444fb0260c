"""Slices as tensors; all randomness of an epoch comes from the seed and the epoch's number."""

from collections.abc import Iterator, Sequence

import albumentations as A
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from brainseg.data.augment import augment
from brainseg.data.cache import Slices

Item = tuple[np.ndarray, np.ndarray]
"""An image and its mask, H×W uint8 both; 1 is tumour."""


def collate(items: Sequence[Item]) -> tuple[Tensor, Tensor]:
    """Make a batch: images N×1×H×W float32 in [0, 1], masks N×1×H×W float32 in {0, 1}.

    Bytes become floats here, a whole batch at a time: for single images torch spends more time on
    distributing the work than on the work itself.
    """
    stacks = (np.stack(arrays)[:, None] for arrays in zip(*items, strict=True))
    images, masks = map(torch.from_numpy, stacks)
    return images.float().div_(255), masks.float()


class SliceDataset(Dataset[Item]):
    """Image and mask of some cases, H×W uint8; `collate` makes batches of them.

    The key of an item is its number, or (epoch, number) from an `EpochSampler`.

    Args:
        slices: of the whole data set.
        rows: the slices that belong to this part.
        augmentation: random changes, none for validation.
        seed: seed of the changes, together with epoch and number.
    """

    def __init__(
        self,
        slices: Slices,
        rows: Sequence[int],
        augmentation: A.Compose | None = None,
        seed: int = 0,
    ) -> None:
        self.slices = slices
        self.rows = rows
        self.augmentation = augmentation
        self.seed = seed

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int | tuple[int, int]) -> Item:
        epoch, number = item if isinstance(item, tuple) else (0, item)
        row = self.rows[number]
        image, mask = np.asarray(self.slices.images[row]), np.asarray(self.slices.masks[row])
        if self.augmentation is not None:
            seed = derive_seed(self.seed, epoch, number)
            image, mask = augment(self.augmentation, image, mask, seed)
        return image, mask


class EpochSampler(Sampler[tuple[int, int]]):
    """Every number below `length` once, shuffled, as (epoch, number).

    Each of several processes takes every `count`-th of them, from number `rank` on: a part of every
    batch, in the order that one process has. All take equally many.

    Lightning calls `set_epoch` before each epoch; worker processes learn the epoch from the key.
    """

    def __init__(self, length: int, seed: int, rank: int = 0, count: int = 1) -> None:
        self.length = length
        self.seed = seed
        self.rank = rank
        self.count = count
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch to shuffle for."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length // self.count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)
        own = order[self.rank :: self.count][: len(self)]
        return ((self.epoch, int(number)) for number in own)


def derive_seed(*numbers: int) -> int:
    """One 31-bit seed from several numbers, such as seed, epoch and index."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0] >> 1)
