"""What each setting of the configuration may be."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

from brainseg.errors import InputError

HUGE = 10**6
"""More epochs, images or minutes than anybody means."""


@dataclass(frozen=True)
class Range:
    """Numbers of at least `low` and less than `below`; `None` may stand instead if `nullable`.

    `low` itself is left out if `above`, and `below` itself is allowed if `closed`.
    """

    low: float
    below: float = math.inf
    whole: bool = True
    nullable: bool = False
    above: bool = False
    closed: bool = False

    def __contains__(self, value: Any) -> bool:
        if value is None:
            return self.nullable
        number = isinstance(value, int if self.whole else (int, float))
        if not number or isinstance(value, bool) or (self.above and value == self.low):
            return False
        return self.low <= value < self.below or (self.closed and value == self.below)

    def __str__(self) -> str:
        number = "a whole number" if self.whole else "a number"
        least = "above" if self.above else "of at least"
        bound = (
            f" and {'at most' if self.closed else 'below'} {self.below}"
            if self.below < math.inf
            else ""
        )
        return f"{number} {least} {self.low}{bound}{', or null' if self.nullable else ''}"


@dataclass(frozen=True)
class Choice:
    """One of some names."""

    names: tuple[str, ...]

    def __contains__(self, value: Any) -> bool:
        return isinstance(value, str) and value in self.names

    def __str__(self) -> str:
        return f"one of {', '.join(self.names)}"


@dataclass(frozen=True)
class Text:
    """A name or a path; `None` may stand instead if `nullable`."""

    nullable: bool = False

    def __contains__(self, value: Any) -> bool:
        if value is None:
            return self.nullable
        return isinstance(value, str) and value.strip() != "" and value.isprintable()

    def __str__(self) -> str:
        return f"a name or a path in printable characters{', or null' if self.nullable else ''}"


Kind = Range | Choice | Text

EXPECTED: dict[str, Kind] = {
    "seed": Range(0, 2**63),
    "experiment_name": Text(),
    "output_dir": Text(),
    "data.root": Text(),
    "data.negatives": Text(nullable=True),
    "data.test": Text(nullable=True),
    "data.cache_dir": Text(nullable=True),
    "data.duplicates": Choice(("keep", "one_per_cluster")),
    "data.image_size": Range(16, 8193),
    "data.augmentation": Range(0, 4, whole=False, closed=True),
    "data.batch_size": Range(2, 65537),  # batch norm cannot learn from one image
    "data.workers": Range(0, 1025, nullable=True),
    "data.patients": Range(1, HUGE),
    "data.slices": Range(1, HUGE),
    "data.healthy_slices": Range(0, HUGE),
    "data.difficulty": Choice(("easy", "hard")),
    "split.seed": Range(0, 2**63),
    "split.folds": Range(3, HUGE),
    "split.fold": Range(0, HUGE),
    "split.leaks": Choice(("refuse", "drop", "allow")),
    "model.dropout": Range(0, 1, whole=False),
    "optim.lr": Range(0, whole=False, above=True),
    "trainer.max_epochs": Range(1, HUGE),
    "trainer.early_stopping": Range(0, HUGE, nullable=True),
    "trainer.max_minutes": Range(0.01, HUGE, whole=False, nullable=True),
    "tracking.mode": Text(),
    "tracking.project": Text(),
    "tracking.entity": Text(nullable=True),
    "deploy.passes": Range(1),
}
"""Setting → what it may be. Those of the schedule are the constructor's, which `check_schedule`
asks."""


def check_values(config: Mapping[str, Any], prefix: str = "") -> None:
    """Check each setting of a configuration, or of the part of it under `prefix`.

    Raises:
        InputError: one is not what it may be.
    """
    for name, value in config.items():
        key = f"{prefix}{name}"
        if key in EXPECTED and value not in EXPECTED[key]:
            found = shorten(str(value), 100, placeholder=" …")
            raise InputError(f"{key}={found} cannot be used. Expected {EXPECTED[key]}.")
        if isinstance(value, Mapping):
            check_values(value, f"{key}.")
