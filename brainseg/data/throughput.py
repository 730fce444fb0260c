"""Images per second of each stage, from files to the batches of training."""

import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.table import Table
from torch.utils.data import DataLoader

from brainseg.data.augment import augment, make_augmentation
from brainseg.data.cache import load_slices
from brainseg.data.case import Case
from brainseg.data.cases import read_set
from brainseg.data.dataset import EpochSampler, SliceDataset, collate
from brainseg.data.image import decode_case, resize_image, resize_mask
from brainseg.errors import InputError
from brainseg.terminal import bar

ROUNDS = 5
"""Times that the stages are run in turn; the median counts."""


@dataclass(frozen=True)
class Stage:
    """A stage and its images per second: the median, lowest and highest of the rounds."""

    name: str
    images_per_second: float
    low: float
    high: float


def measure_throughput(
    root: Path,
    *,
    layout: str | None = None,
    options: Mapping[str, Any] | None = None,
    size: int = 224,
    images: int = 512,
    batch: int = 16,
    workers: int = 0,
) -> list[Stage]:
    """Time the stages on the same images, interleaved in `ROUNDS` rounds.

    Args:
        root: a data set's folder.
        layout: of `brainseg.data.cases.LAYOUTS`; `None` detects it.
        options: of the layout, see `brainseg.data.cases.read_set`.
        size: height and width in pixels.
        images: number of images to time.
        batch: images in a batch.
        workers: processes that load batches.

    Raises:
        InputError: the data cannot be used.
    """
    with tempfile.TemporaryDirectory() as folder:
        cases = read_set(layout, root, Path(folder), options)
        if not cases:
            raise InputError(f"{root} holds no images to time.")
        chosen = list(islice(cycle(cases), images)) if len(cases) < images else cases[:images]
        first = cases[: min(images, len(cases))]
        slices = load_slices(first, size, Path(folder))
        numbers = range(len(chosen))
        rows = [number % len(first) for number in numbers]
        augmentation = make_augmentation()
        plain, augmented = SliceDataset(slices, rows), SliceDataset(slices, rows, augmentation)
        pixels = [plain[number] for number in numbers]
        sampler = EpochSampler(len(rows), 0)
        loader = DataLoader(
            augmented, batch, sampler=sampler, num_workers=workers, collate_fn=collate
        )
        stages: dict[str, Callable[[], object]] = {
            "decode files": lambda: [decode_case(case.image, case.mask) for case in chosen],
            "decode and resize files": lambda: [_decode(case, size) for case in chosen],
            "read the cache": lambda: [np.array(array) for n in numbers for array in plain[n]],
            "augment": lambda: [augment(augmentation, *pixels[n], n) for n in numbers],
            "read the cache and augment": lambda: [augmented[n] for n in numbers],
            f"batches of {batch}, {workers} workers": lambda: deque(loader, maxlen=0),
        }
        seconds: dict[str, list[float]] = {name: [] for name in stages}
        for _ in bar(range(ROUNDS), "Timing stages"):
            for name, work in stages.items():
                start = time.perf_counter()
                work()
                seconds[name].append(time.perf_counter() - start)
    return [
        Stage(name, *(len(chosen) / pick(taken) for pick in (median, max, min)))
        for name, taken in seconds.items()
    ]


def to_table(stages: Iterable[Stage]) -> Table:
    """The stages as a table for the terminal."""
    table = Table(title="Images per second", title_justify="left")
    table.add_column("stage")
    for name in ("median", "slowest round", "fastest round"):
        table.add_column(name, justify="right")
    for stage in stages:
        rates = (stage.images_per_second, stage.low, stage.high)
        table.add_row(stage.name, *(f"{rate:,.0f}" for rate in rates))
    return table


def _decode(case: Case, size: int) -> tuple[np.ndarray, np.ndarray]:
    decoded, mask = decode_case(case.image, case.mask)
    return resize_image(decoded.pixels, size), resize_mask(mask, size)
