"""Whether segmented tumours look as their class should (the paper's section III-C, as numbers).

Section I-B describes where each class lies and how it looks in T1-weighted slices with contrast
agent; section III-C says in prose that the predictions agree. Here each sentence that a slice can
show becomes a measure of `tumor.measure_tumor` with a direction (`EXPECTED`), for masks and
predictions alike; `LIMITS` lists what a slice cannot show.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainseg.evaluation.bootstrap import auc_bootstrap
from brainseg.evaluation.tumor import count_components, measure_tumor
from brainseg.terminal import bar
from brainseg.vocabulary import MEASURES, NEGATIVE

COLUMNS = ["id", "class", "patient", "detected", "components", "area_px", *MEASURES]


@dataclass(frozen=True)
class Expectation:
    """A class has a `high` or `low` value of a measure, compared with the other classes.

    `says` is the paper's claim in words, as far as the measure shows it.
    """

    measure: str
    direction: str
    says: str


EXPECTED = {
    "glioma": (
        Expectation("ring_contrast", "high", "A bright ring around a necrotic core."),
        Expectation("sharpness", "low", "Margins are poorly defined."),
        Expectation("roundness", "low", "The shape is irregular."),
        Expectation("solidity", "low", "The outline is irregular, with bays."),
    ),
    "meningioma": (
        Expectation("surface_distance", "low", "It grows from the meninges, near the surface."),
        Expectation("roundness", "high", "The shape is rounded or oval."),
        Expectation("solidity", "high", "The outline has no bays."),
        Expectation("sharpness", "high", "Margins are well defined."),
        Expectation("heterogeneity", "low", "It takes up contrast agent evenly."),
    ),
    "pituitary": (
        Expectation("centre_distance", "low", "It lies in the sella, mid in the head's base."),
        Expectation("surface_distance", "high", "The sella is far from the head's surface."),
        Expectation("roundness", "high", "The shape is symmetrical and keeps that of the gland."),
        Expectation("heterogeneity", "low", "It is uniformly bright."),
    ),
}
"""What sections I-B, II-A and III-C say about each class, where one slice can show it."""

LIMITS = (
    "A slice of unknown plane and orientation does not show what lies above or in front. The sella "
    "is identified by its place mid-head, which deep tumours of other classes share.",
    "The surface is that of the head, including scalp and skull. Meningiomas of the falx, the "
    "tentorium and the skull base touch meninges deep in the head, and many gliomas reach the "
    "brain's surface: distance to the surface does not separate extra-axial from intra-axial.",
    "Where the edge of the image cuts the head, that edge counts as its surface.",
    "The dural tail is thinner than these images resolve, and oedema shows in T2-weighted images "
    "and FLAIR: neither is measured here.",
    "Sharpness depends on the outline: a coarse outline makes a sharp tumour look blurred. It also "
    "grows with contrast: bone and air beside a pituitary tumour raise it.",
    "Each drawn region is measured, even in the wrong place; images without a drawn region are not "
    "in any median. So the medians of predictions and of masks cover different tumours.",
    "A mask can be right for an atypical tumour, and wrong although it looks typical. Agreement of "
    "a class is no evidence for a single image.",
)
"""What the measures cannot show, for people."""


def measure_appropriateness(
    ids: Sequence[str],
    classes: Sequence[str],
    patients: Sequence[str],
    images: NDArray[np.uint8],
    masks: NDArray[np.bool_],
    *,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Measure the tumour of every image that has one, or whose mask shows one.

    Args:
        ids: name of each image, N.
        classes: of `vocabulary.CLASSES`, or another tumour, N.
        patients: the patient of each image, N.
        images: grey T1-weighted slices with contrast agent, dark background, N×H×W.
        masks: predicted or true, N×H×W, nonzero is tumour.
        progress: whether to show a bar.

    Returns:
        One row with the keys of `COLUMNS` per image that is not `notumor` or has a mask pixel
        (`detected`). `components` counts regions, `area_px` all mask pixels; the others measure the
        largest region, see `tumor.measure_tumor`. Undefined is `None`.

    Raises:
        ValueError: the lengths or shapes differ.
    """
    if np.shape(images) != np.shape(masks):
        raise ValueError(f"Images and masks differ: {np.shape(images)} and {np.shape(masks)}.")
    rows = []
    each = zip(ids, classes, patients, images, masks, strict=True)
    for name, class_, patient, image, mask in bar(each, "Measuring tumours", progress, len(masks)):
        tumor = mask > 0
        if class_ == NEGATIVE and not tumor.any():
            continue
        rows.append(
            {
                "id": str(name),
                "class": str(class_),
                "patient": str(patient),
                "detected": bool(tumor.any()),
                "components": count_components(tumor),
                "area_px": int(tumor.sum()),
                **measure_tumor(image, tumor),
            }
        )
    return rows


def compare_classes(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Compare each class with the others in its expected measures.

    Args:
        rows: of `measure_appropriateness`.

    Returns:
        Plain JSON: for each class of `EXPECTED` its entries with the `median` of the class, and by
        other class of `EXPECTED` the `auc`: the probability that an image of the class lies on the
        expected side of one of the other, 0.5 where the measure does not separate them.
        `auc_interval` is its 95 % interval over patients. Undefined is `None`.
    """
    members = {name: [row for row in rows if row["class"] == name] for name in EXPECTED}
    return {
        name: [_compare(entry, name, members) for entry in entries]
        for name, entries in EXPECTED.items()
    }


def _compare(
    entry: Expectation, name: str, members: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, Any]:
    found = {each: _values(own, entry.measure) for each, own in members.items()}
    own, patients = found.pop(name)
    sign = 1 if entry.direction == "high" else -1
    return {
        **asdict(entry),
        "median": float(np.median(own)) if own.size else None,
        "auc": {other: _auc(sign * own, sign * theirs) for other, (theirs, _) in found.items()},
        "auc_interval": {
            other: auc_bootstrap(sign * own, sign * theirs, patients, others)
            for other, (theirs, others) in found.items()
        },
    }


def _auc(own: NDArray[np.floating], others: NDArray[np.floating]) -> float | None:
    """The share of pairs in which `own` is higher; ties count half."""
    if not own.size or not others.size:
        return None
    above = np.sign(np.subtract.outer(own, others))
    return float((above + 1).mean() / 2)


def _values(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[NDArray[np.floating], list[str]]:
    """A measure where it is defined, and the patients."""
    defined = [row for row in rows if row[name] is not None]
    values = np.array([row[name] for row in defined], dtype=float)
    return values, [row["patient"] for row in defined]
