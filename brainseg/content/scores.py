"""The shapes of scores, of predictions, and of what is noted of them."""

from collections.abc import Mapping
from typing import Annotated, Any, NotRequired, Required

import numpy as np
from pydantic import AfterValidator
from typing_extensions import TypedDict

from brainseg.content.kinds import CASE, Count, Counts, Key, Numeral, Pair, check_maps, check_named
from brainseg.row import Name
from brainseg.vocabulary import MEASURES, METRICS


class _Scored(TypedDict):
    network: str | None
    place: Name
    files: NotRequired[dict[str, str]]


Scored = dict[Key, _Scored | str]
"""`scored.json`, by mode, or by place and mode; of older versions only the network's hash."""


class _Validated(TypedDict):
    threshold: float
    mean_iou: float | None
    tumor_iou: float | None


class _Way(TypedDict):
    usual: _Validated
    best: _Validated
    ms: float


class Validation(TypedDict):
    """`validation.<mode>.json`; see `scoring.validation`."""

    network: str
    n: int
    tta: dict[str, _Way]


class _Exact(TypedDict):
    patients: list[str]
    counts: list[Counts]
    mean_iou: float | None


class _Lossy(TypedDict):
    counts: list[Counts]
    mean_iou: float | None
    change: float | None
    interval: Pair | None
    flipped: float


class _Rounded(TypedDict):
    mapping: str
    bits: int
    val: _Lossy
    test: _Lossy


class _ExactParts(TypedDict):
    val: _Exact
    test: _Exact


class _Robustness(TypedDict):
    export: str
    exact: _ExactParts
    rounded: list[_Rounded]


def _counted(found: Any) -> Any:
    """Refuse counts that are not of each patient."""
    for part in _ExactParts.__annotations__:
        counts = [each[part]["counts"] for each in (found["exact"], *found["rounded"])]
        if {len(each) for each in counts} != {len(found["exact"][part]["patients"])}:
            raise ValueError(f"{part}: expected the counts of each patient")
    return found


Robustness = Annotated[_Robustness, AfterValidator(_counted)]
"""`robustness.json`; see `deploy.robustness`."""


class _Bin(TypedDict):
    low: float
    high: float
    n: int
    confidence: float | None
    share: float | None


class _Calibration(TypedDict, total=False):
    bins: Required[list[_Bin]]
    ece: float | None
    ece_uncertain: float | None


class _Unmasked(TypedDict):
    n: int
    predicted_share: float


_VALUES: Any = dict.fromkeys((*METRICS, "patient_dice"), NotRequired[float | None])
_SCORES: Any = {
    **_VALUES,
    **{f"{name}_interval": NotRequired[Pair | None] for name in _VALUES},
    **dict.fromkeys(("n", "n_tumor", "n_patients"), int),
}
_Scores = TypedDict("_Scores", _SCORES)  # type: ignore[misc]
_Swept = TypedDict("_Swept", {**_VALUES, "threshold": float})  # type: ignore[misc]
_METRICS: Any = {
    **_SCORES,
    **dict.fromkeys(("mean_iou", "tumor_iou", "dice"), float | None),
    "classes": dict[str, _Scores],
    "calibration": NotRequired[_Calibration | None],
    "thresholds": NotRequired[list[_Swept] | None],
    "unmasked": NotRequired[dict[str, _Unmasked]],
}
Metrics = TypedDict("Metrics", _METRICS)  # type: ignore[misc]
"""`metrics.json` and `metrics.<mode>.json`."""


class _Tested(TypedDict):
    name: str
    folder: str
    synthetic: bool
    n: int
    clusters: int
    unmasked: int
    of_own_test: int | None


class Evaluated(TypedDict):
    """`evaluation.json`."""

    status: str
    modes: list[Name]
    networks: NotRequired[dict[str, str | None]]
    devices: NotRequired[dict[str, str]]
    data: _Tested
    left_out: dict[str, int]
    unchecked: str | None
    files: NotRequired[dict[str, str]]


class _Drawn(TypedDict):
    inputs: str
    alt: str


Drawn = dict[str, _Drawn]
"""`drawn.json`, beside figures."""


_COUNTS: Any = dict.fromkeys(("tp", "fp", "fn", "tn"), Count)
_Case = TypedDict("_Case", {**CASE, **_COUNTS, "dice": Numeral, "hd95_px": Numeral})  # type: ignore[misc]
Cases = list[_Case]
"""`cases.<mode>.csv`."""

_LOOK: Any = {"detected": bool, "components": Count, "area_px": Count}
_Look = TypedDict("_Look", {**CASE, **_LOOK, **dict.fromkeys(MEASURES, Numeral)})  # type: ignore[misc]
Appropriateness = list[_Look]
"""`appropriateness.<mode>.csv`."""


def _predicted(arrays: Mapping[str, Any]) -> Mapping[str, Any]:
    check_maps(arrays, "probabilities")
    return check_named(arrays)


def _attended(arrays: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in arrays.keys() - {"ids"}:
        if arrays[name].dtype != np.uint8:
            raise ValueError(f"{name}: expected integers of 8 bits")
    return check_named(arrays)


Predictions = Annotated[Any, AfterValidator(_predicted)]
"""`predictions.<mode>.npz`."""

Attention = Annotated[Any, AfterValidator(_attended)]
"""`attention.npz`."""
