"""Images per second of each stage, from files to the batches of training."""

import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.table import Table
from torch.utils.data import DataLoader

from brainseg.data.augment import augment, make_augmentation
from brainseg.data.cache import load_slices
from brainseg.data.cases import read_set
from brainseg.data.dataset import EpochSampler, SliceDataset, collate
from brainseg.data.image import decode_case, read_resized
from brainseg.errors import InputError
from brainseg.terminal import bar

ROUNDS = 5
"""Times that the stages are run in turn."""


def measure_throughput(
    root: Path,
    *,
    layout: str | None = None,
    options: Mapping[str, Any] | None = None,
    size: int = 224,
    images: int = 512,
    batch: int = 16,
    workers: int = 0,
) -> dict[str, list[float]]:
    """Time the stages on the same images, interleaved in `ROUNDS` rounds.

    Args:
        root: a data set's folder.
        layout: of `brainseg.data.cases.LAYOUTS`; `None` detects it.
        options: of the layout, see `brainseg.data.cases.read_set`.
        size: height and width in pixels.
        images: number of images to time.
        batch: images in a batch.
        workers: processes that load batches.

    Returns:
        Images per second of each stage in each round.

    Raises:
        InputError: the data cannot be used.
    """
    with tempfile.TemporaryDirectory() as folder:
        cases = read_set(layout, root, Path(folder), options)[:images]
        if not cases:
            raise InputError(f"{root} holds no images to time.")
        chosen = list(islice(cycle(cases), images))
        slices = load_slices(cases, size, Path(folder))
        numbers = range(images)
        rows = [number % len(cases) for number in numbers]
        augmentation = make_augmentation()
        plain, augmented = SliceDataset(slices, rows), SliceDataset(slices, rows, augmentation)
        pixels = [plain[number] for number in numbers]
        sampler = EpochSampler(images, 0)
        loader = DataLoader(
            augmented, batch, sampler=sampler, num_workers=workers, collate_fn=collate
        )
        stages: dict[str, Callable[[], object]] = {
            "decode files": lambda: [
                decode_case(case.image, case.mask, case.labels) for case in chosen
            ],
            "decode and resize files": lambda: [
                read_resized(case.image, case.mask, size, case.labels) for case in chosen
            ],
            "read the cache": lambda: [np.array(array) for n in numbers for array in plain[n]],
            "augment": lambda: [augment(augmentation, *pixels[n], n) for n in numbers],
            "read the cache and augment": lambda: [augmented[n] for n in numbers],
            f"batches of {batch}, {workers} workers": lambda: deque(loader, maxlen=0),
        }
        rates: dict[str, list[float]] = {name: [] for name in stages}
        for _ in bar(range(ROUNDS), "Timing stages"):
            for name, work in stages.items():
                start = time.perf_counter()
                work()
                rates[name].append(images / (time.perf_counter() - start))
    return rates


def to_table(rates: Mapping[str, list[float]]) -> Table:
    """The stages as a table for the terminal."""
    table = Table(title="Images per second", title_justify="left")
    table.add_column("stage")
    for name in ("median", "slowest round", "fastest round"):
        table.add_column(name, justify="right")
    for stage, found in rates.items():
        table.add_row(stage, *(f"{pick(found):,.0f}" for pick in (median, min, max)))
    return table
