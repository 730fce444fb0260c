"""Scores of each image (`cases.<mode>.csv`), and their summary over a split."""

from collections.abc import Collection, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainseg.errors import InputError
from brainseg.evaluation.bootstrap import patient_bootstrap, pooled_bootstrap
from brainseg.evaluation.metrics import (
    confusion,
    dice,
    hd95_px,
    mean_iou,
    mean_ious,
    tumor_iou,
    tumor_ious,
)
from brainseg.evaluation.patients import sum_by_patient

COUNTS = ["tp", "fp", "fn", "tn"]
SCORES = ["dice", "hd95_px"]
COLUMNS = ["id", "class", "patient", *COUNTS, *SCORES]

THRESHOLD = 128
"""The uint8 value from which a pixel is tumour: probability 0.5."""


def to_uint8(probabilities: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Round probabilities in [0, 1] to 0..255, any shape; exactly those ≥ 0.5 are ≥ `THRESHOLD`.

    Values are clipped, because quantized networks can slightly exceed 1.

    Raises:
        InputError: a probability is not a number.
    """
    if np.isnan(probabilities).any():
        raise InputError(
            f"Expected probabilities in [0, 1], found {np.isnan(probabilities).sum()} NaN in "
            f"{probabilities.size} pixels: the network diverged, or overflows in this mode. Lower "
            "optim.lr and train again, or omit the mode."
        )
    # 0.5 · 255 = 127.5 rounds to the even 128; the float before 0.5 stays below 127.5.
    return np.rint(np.clip(probabilities, 0, 1) * 255).astype(np.uint8)


def score_cases(
    ids: Sequence[str],
    classes: Sequence[str],
    patients: Sequence[str],
    probabilities: NDArray[np.uint8],
    masks: NDArray[np.uint8],
) -> list[dict[str, Any]]:
    """Score every image; `dice` and `hd95_px` are `None` where the mask has no tumour.

    Args:
        ids: name of each image, N.
        classes: of `vocabulary.CLASSES`, or another tumour, N.
        patients: the patient of each image, N.
        probabilities: maps from `to_uint8`, N×H×W.
        masks: true masks, N×H×W, nonzero is tumour.

    Returns:
        One row per image with the keys of `COLUMNS`.

    Raises:
        TypeError: the probabilities are not uint8.
        ValueError: the lengths or shapes differ.
    """
    if probabilities.dtype != np.uint8:
        raise TypeError(f"Expected uint8 maps from to_uint8, found {probabilities.dtype}.")
    predictions, truths = probabilities >= THRESHOLD, masks > 0
    pixels = zip(confusion(predictions, truths), predictions, truths, strict=True)
    return [
        {
            "id": str(name),
            "class": str(class_),
            "patient": str(patient),
            **dict(zip(COUNTS, counts.tolist(), strict=True)),
            "dice": dice(counts) if truth.any() else None,
            "hd95_px": hd95_px(prediction, truth),
        }
        for name, class_, patient, (counts, prediction, truth) in zip(
            ids, classes, patients, pixels, strict=True
        )
    ]


def counts_of(cases: Sequence[Mapping[str, Any]]) -> NDArray[np.int64]:
    """The pixel counts `tp, fp, fn, tn` of each case, N×4, as `evaluation.metrics` takes them."""
    return np.array([[case[name] for name in COUNTS] for case in cases], np.int64).reshape(-1, 4)


def summarize(cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Summarize rows of `score_cases`, overall and per class (SPEC section 8).

    `mean_iou` and `tumor_iou` pool the pixels of all images; `patient_dice` pools those of each
    patient's images with tumour, then averages over patients; the others are means over images.
    `negatives` counts false positives separately for images of tumour patients and of others.

    Intervals are 95 % intervals over patients, and `None` where the patient of an image that the
    metric covers is unknown (empty). For IoU, each image without tumour may be unknown and then
    counts as a patient of its own. `patient_dice` and `n_patients` cover known patients only.
    Undefined values are `None`; `undefined` counts the images that a metric does not cover (for a
    pooled one: all or none). The result is plain JSON.
    """
    names = sorted({case["class"] for case in cases})
    members = {name: [case for case in cases if case["class"] == name] for name in names}
    tumor_patients = {case["patient"] for case in cases if case["tp"] + case["fn"] > 0} - {""}
    healthy = [case for case in cases if case["tp"] + case["fn"] == 0]
    return _summary(cases) | {
        "negatives": _negatives(healthy, tumor_patients),
        "classes": {name: _summary(rows) for name, rows in members.items()},
    }


def _summary(cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    tumor = [case for case in cases if case["tp"] + case["fn"] > 0]
    healthy = [case for case in cases if case["tp"] + case["fn"] == 0]
    counts = counts_of(cases)
    pooled = {"mean_iou": mean_iou(counts), "tumor_iou": tumor_iou(counts)}
    patients = _patients(cases)
    known = [case for case in tumor if case["patient"]]
    per_patient = [dice(own) for own in sum_by_patient(counts_of(known), _patients(known))[0]]
    names = list(dict.fromkeys(_patients(known)))
    return pooled | {
        "mean_iou_interval": _ends(pooled_bootstrap(counts, patients, mean_ious)),
        "tumor_iou_interval": _ends(pooled_bootstrap(counts, patients, tumor_ious)),
        **_mean("dice", [case["dice"] for case in tumor], _patients(tumor)),
        **_mean("patient_dice", per_patient, names),
        **_mean("hd95_px", [case["hd95_px"] for case in tumor], _patients(tumor)),
        **_mean("detection_rate", [case["tp"] > 0 for case in tumor], _patients(tumor)),
        **_mean("false_positive_rate", [case["fp"] > 0 for case in healthy], _patients(healthy)),
        "n": len(cases),
        "n_tumor": len(tumor),
        "n_patients": len({case["patient"] for case in cases} - {""}),
        "undefined": {
            **{name: len(cases) if value is None else 0 for name, value in pooled.items()},
            **dict.fromkeys(("dice", "hd95_px", "detection_rate"), len(healthy)),
            "false_positive_rate": len(tumor),
        },
    }


def _patients(cases: Sequence[Mapping[str, Any]]) -> list[str]:
    return [case["patient"] for case in cases]


def _mean(name: str, values: Sequence[Any], patients: Sequence[str]) -> dict[str, Any]:
    """A mean, and its interval where all patients are known."""
    interval = patient_bootstrap(values, patients) if all(patients) else None
    return {name: fmean(values) if values else None, f"{name}_interval": _ends(interval)}


def _ends(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _negatives(
    healthy: Sequence[Mapping[str, Any]], tumor_patients: Collection[str]
) -> dict[str, dict[str, Any]]:
    """False positives in images of patients who have a tumour in another image, and in all others.

    The former come from the same scanners as the tumours, so a network cannot recognise them by
    their source.
    """
    marked: dict[str, list[bool]] = {"of_tumor_patients": [], "others": []}
    for case in healthy:
        same = case["patient"] in tumor_patients
        marked["of_tumor_patients" if same else "others"].append(case["fp"] > 0)
    return {
        name: {"n": len(values), "false_positive_rate": fmean(values) if values else None}
        for name, values in marked.items()
    }
