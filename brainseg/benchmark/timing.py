"""Latency of things that run side by side, and the statistics of it."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import psutil
from numpy.typing import ArrayLike, NDArray

from brainseg.environment import gpu_use

RESAMPLES = 2000

GPU_SETTLES = 1.2
"""Seconds after which a GPU's own count of its work has forgotten ours."""


def time_rounds(
    variants: Sequence[Callable[[int], Any]],
    rounds: Iterable[int],
    images: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Run all variants in every round, in random order, on the same image.

    Args:
        variants: functions of the index of an image.
        rounds: one item per round; a progress bar may wrap it.
        images: how many images there are to draw from.
        rng: draws images and orders.

    Returns:
        Milliseconds, variants × rounds.
    """
    columns = []
    for _ in rounds:
        image = int(rng.integers(images))
        column = np.empty(len(variants))
        for index in rng.permutation(len(variants)):
            start = time.perf_counter()
            variants[index](image)
            column[index] = 1e3 * (time.perf_counter() - start)
        columns.append(column)
    return np.reshape(columns, (-1, len(variants))).T


def summarize_latency(milliseconds: ArrayLike) -> dict[str, float]:
    """Percentiles and mean of one variant's passes, as in `latency_ms` of a row."""
    values = np.asarray(milliseconds, dtype=float)
    p50, p90, p99 = np.percentile(values, [50, 90, 99]).tolist()
    return {"p50": p50, "p90": p90, "p99": p99, "mean": float(values.mean())}


def ratio(
    reference: ArrayLike, variant: ArrayLike, rng: np.random.Generator
) -> tuple[float, list[float]]:
    """How many times faster a variant is than the reference: median of the rounds' ratios.

    Within a round both saw the same image under the same load, so that drifts of the machine
    cancel.

    Args:
        reference: milliseconds per round.
        variant: milliseconds in the same rounds.
        rng: draws the bootstrap.

    Returns:
        The median and its 95 % bootstrap interval over rounds.
    """
    ratios = np.asarray(reference, dtype=float) / np.asarray(variant, dtype=float)
    draws = rng.choice(ratios, (RESAMPLES, ratios.size))
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5]).tolist()
    return float(np.median(ratios)), [low, high]


class OtherLoad:
    """The share of all CPU capacity that other processes take, from here to `share()`.

    On a GPU also the share of a second that it works before and after, while this process does not.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._gpu = self._idle_use()
        self._start = _cpu_seconds()

    def share(self) -> float:
        """Between 0 and 1; what a hypervisor takes counts as other processes."""
        total, busy, own = np.subtract(_cpu_seconds(), self._start).tolist()
        cpu = min(1.0, max(0.0, busy - own) / total) if total > 0 else 0.0
        return max(cpu, self._gpu, self._idle_use())

    def _idle_use(self) -> float:
        if self._device == "cpu":
            return 0.0
        time.sleep(GPU_SETTLES)  # else our own work would count
        return gpu_use() or 0.0


def _cpu_seconds() -> tuple[float, float, float]:
    """Seconds of all processors, of their work, and of our part in it."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    # Linux counts guests within user time.
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total, total - idle, _own_seconds()


def _own_seconds() -> float:
    """What this process and its children have computed, those that have ended too."""
    process, seconds = psutil.Process(), 0.0
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds
