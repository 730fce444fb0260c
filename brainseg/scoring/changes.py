"""What a mode changes against fp32 in the same place, as its row of `deploy.json` says it."""

from dataclasses import replace
from typing import Any

from brainseg.content.read import read_content
from brainseg.evaluation.changes import compare_maps, dice_change, mean_iou_change
from brainseg.evaluation.equivalence import TOST_LEVEL
from brainseg.row import Row
from brainseg.rows import read_rows, upsert_rows
from brainseg.run import SCORED, Run, place_name
from brainseg.scoring.kept import source_of
from brainseg.scoring.scores import Scores
from brainseg.vocabulary import REFERENCE

CHANGES = (
    *("delta_mean_iou_interval", "delta_val_mean_iou_interval", "delta_dice_interval"),
    *("probability_mae", "disagreement", "tost"),
)
"""The names of what `compare` finds, all of it missing in rows of older versions but the first."""


def compare(baseline: Scores, scores: Scores) -> dict[str, Any]:
    """The values under `CHANGES` of a row.

    Args:
        baseline: of fp32 in the same place.
        scores: of the mode.
    """
    pairs = {part: (getattr(baseline, part), getattr(scores, part)) for part in SCORED}
    maps = [read_content(each.maps)["probabilities"] for each in (baseline, scores) if each.maps]
    return {
        "delta_mean_iou_interval": mean_iou_change(*pairs["test"]),
        "delta_val_mean_iou_interval": mean_iou_change(*pairs["val"]),
        "delta_dice_interval": dice_change(*pairs["test"]),
        **(compare_maps(*maps) if len(maps) == 2 else {}),
        "tost": {part: mean_iou_change(*pair, TOST_LEVEL) for part, pair in pairs.items()},
    }


def complete(run: Run, mode: str) -> bool:
    """Add to rows of older versions what `compare` finds in the scores that are kept.

    No network is opened.

    Returns:
        Whether any row was changed.
    """
    known: dict[str, dict[str, Any]] = {}
    found = []
    for row in read_rows(run):
        if row.mode != mode or not row.lacks_tost:
            continue
        place = place_name(row.runtime, row.device, row.precision)
        if place not in known:
            known[place] = _compare_kept(run, row, place)
        found += [replace(row, **known[place])] if known[place] else []
    if found:
        upsert_rows(run, found)
    return bool(found)


def _compare_kept(run: Run, row: Row, place: str) -> dict[str, Any]:
    """What `compare` finds of a row; nothing where its scores or those of fp32 are not kept."""
    pairs = [(REFERENCE, place_name(row.runtime, row.device)), (row.mode, place)]
    known = row.network == run.hash_network(row.mode, row.runtime)
    if not known or not all(source_of(run, *pair) for pair in pairs):
        return {}
    return compare(*(Scores.read(run, *pair) for pair in pairs))
