"""Loaders of the training and validation slices."""

from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from brainseg.data.augment import make_augmentation
from brainseg.data.cache import Slices
from brainseg.data.dataset import EpochSampler, SliceDataset, collate
from brainseg.environment import physical_cores
from brainseg.training.ranks import ALONE, Rank, divide_batch


class SliceDataModule(pl.LightningDataModule):
    """Batches of images and masks, N×1×H×W float32 in [0, 1].

    Args:
        slices: of the whole data set.
        parts: `train`, `val` or `test` for each slice.
        batch_size: images in a batch.
        workers: processes that load; `None` chooses.
        seed: makes order and augmentation, together with the epoch.
        rank: takes its share of each training batch.
        augmentation: strength of the random changes of training slices.
    """

    def __init__(
        self,
        slices: Slices,
        parts: pd.Series,
        batch_size: int,
        workers: int | None,
        seed: int,
        rank: Rank = ALONE,
        augmentation: float = 1.0,
    ) -> None:
        super().__init__()
        self.slices = slices
        self.rows = {part: np.flatnonzero(parts == part).tolist() for part in ("train", "val")}
        self.batch_size = batch_size
        self.rank = rank
        self.augmentation = augmentation
        self.workers = default_workers() if workers is None else workers
        self.seed = seed

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled and augmented; an incomplete last batch is left out, for batch norm's sake."""
        changes = make_augmentation(self.augmentation)
        dataset = SliceDataset(self.slices, self.rows["train"], changes, self.seed)
        sampler = EpochSampler(len(dataset), self.seed, self.rank.number, self.rank.count)
        share = divide_batch(self.batch_size, self.rank.count)
        drop_last = len(dataset) > self.batch_size
        return self._loader(dataset, share, sampler=sampler, drop_last=drop_last)

    def val_dataloader(self) -> DataLoader[Any]:
        """In order, as they are; each process has all of them, for losses are of whole batches."""
        return self._loader(SliceDataset(self.slices, self.rows["val"]), self.batch_size)

    def _loader(self, dataset: SliceDataset, batch_size: int, **options: Any) -> DataLoader[Any]:
        return DataLoader(
            dataset,
            batch_size=batch_size,
            num_workers=self.workers,
            collate_fn=collate,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # else it draws from the one that dropout draws from
            **options,
        )


def default_workers() -> int:
    """One process per core but one beside a GPU, at most 8; none where the CPU trains."""
    return min(8, max(1, physical_cores() - 1)) if torch.cuda.is_available() else 0
