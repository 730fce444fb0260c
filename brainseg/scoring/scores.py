"""The scores of a network in one place, as a run keeps them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from brainseg.evaluation.cases import counts_of, summarize
from brainseg.evaluation.metrics import mean_iou
from brainseg.run import SCORED, Run
from brainseg.scoring.kept import home_of, source_of

Cases = list[dict[str, Any]]
"""Rows of `cases.<mode>.csv`."""


@dataclass(frozen=True)
class Scores:
    """The cases of both splits, as one network scored in one place.

    Attributes:
        val: of the validation split.
        test: of the test split.
        maps: the file of the probabilities on the test split, where it is kept.
    """

    val: Cases
    test: Cases
    maps: Path | None = None

    @classmethod
    def read(cls, run: Run, mode: str, place: str) -> Self:
        """The scores that hold for `mode` in a place of `place_name`, and are kept."""
        source = source_of(run, mode, place)
        own = None if source == home_of(run, mode) else source
        val, test = (run.read(run.cases(mode, part, own)) for part in SCORED)
        maps = run.predictions(mode, own)
        return cls(val, test, maps if maps.exists() else None)

    def values(self) -> dict[str, Any]:
        """What a row of `deploy.json` says of them alone."""
        metrics = summarize(self.test)
        return {
            **{name: metrics[name] for name in ("mean_iou", "tumor_iou", "dice")},
            "val_mean_iou": mean_iou(counts_of(self.val)),
        }
