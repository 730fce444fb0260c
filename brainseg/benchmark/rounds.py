"""How long things are timed: until the ratio to what they are compared with is sure, or a limit."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainseg.benchmark.timing import ratio, time_rounds

SURE = 0.01
"""What the 95 % interval of a ratio may differ from it by, either way."""

STEP = 50
"""Rounds after which the intervals are looked at again, and the fewest of a row that is sure."""

SLOW, SLOW_PASSES = 10, 20
"""How many times slower than what it is compared with a row gets no more than so many passes."""


@dataclass(frozen=True)
class Timed:
    """Times of things in rounds.

    Attributes:
        milliseconds: things × rounds; NaN where one took no part any more.
        complete: whether each was timed to its end.
        interrupted: whether the user stopped it.
    """

    milliseconds: NDArray[np.float64]
    complete: NDArray[np.bool_]
    interrupted: bool

    def of(self, index: int) -> NDArray[np.float64]:
        """The times of one thing, without the rounds in which it took no part."""
        times = self.milliseconds[index]
        return times[np.isfinite(times)]

    def ratio(
        self, reference: int, index: int, rng: np.random.Generator
    ) -> tuple[float, list[float]]:
        """How many times faster one is than a reference; see `timing.ratio`."""
        pair = self.milliseconds[[reference, index]]
        own, other = pair[:, np.isfinite(pair).all(axis=0)]
        return ratio(own, other, rng)


def limits(milliseconds: Sequence[float], references: Sequence[int], passes: int) -> list[int]:
    """The most passes of each thing.

    Args:
        milliseconds: of a pass of each, roughly.
        references: index of what each is compared with.
        passes: of what is not hopelessly slow.
    """
    return [
        min(passes, SLOW_PASSES) if own > SLOW * milliseconds[reference] else passes
        for own, reference in zip(milliseconds, references, strict=True)
    ]


def time_until_sure(
    variants: Sequence[Callable[[int], Any]],
    references: Sequence[int],
    most: Sequence[int],
    rounds: Iterator[int],
    images: int,
    rng: np.random.Generator,
) -> Timed:
    """Run variants in rounds, see `time_rounds`; each until its ratio is sure, or to its limit.

    What others are compared with goes on until they are done. Ctrl-C ends it early.

    Args:
        variants: functions of the index of an image.
        references: index of what each is compared with.
        most: passes of each.
        rounds: at least as many items as the largest of `most`; a progress bar may be behind it.
        images: how many images there are to draw from.
        rng: draws images, orders and intervals.
    """
    timed = Timed(np.empty((len(variants), 0)), np.zeros(len(variants), bool), False)
    while not timed.complete.all():
        going = np.flatnonzero(~timed.complete).tolist()
        active = sorted({*going, *(references[index] for index in going)})
        done = timed.milliseconds.shape[1]
        until = min(done + STEP - done % STEP, *(most[index] for index in going))
        try:
            chunk = islice(rounds, until - done)
            found = time_rounds([variants[index] for index in active], chunk, images, rng)
            column = np.full((len(variants), until - done), np.nan)
            column[active] = found
            longer = Timed(np.hstack([timed.milliseconds, column]), timed.complete.copy(), False)
            for index in going:
                longer.complete[index] = until >= most[index] or (
                    until >= STEP and _is_sure(*longer.ratio(references[index], index, rng))
                )
            timed = longer
        except KeyboardInterrupt:
            return Timed(timed.milliseconds, timed.complete, True)
    return timed


def _is_sure(value: float, interval: Sequence[float]) -> bool:
    return max(value - interval[0], interval[1] - value) <= SURE * value
