"""The source shortcut: can images without tumour be recognised by where they come from?

Where images without tumour come from other scanners, a network can learn the scanner instead of the
tumour. How well trivial features separate the two measures how easy that is.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

BINS = 16
"""Bins of the histogram."""

MOST = 2000
"""Images of each kind used."""

FOLDS = 5


def describe_trivially(
    image: NDArray[np.uint8], mask: NDArray | None = None
) -> NDArray[np.float64]:
    """Features of one H×W image that do not depend on a tumour, 16 + 5.

    The histogram's shares, without the pixels of the tumour where its mask (H×W) is given; then the
    mean, standard deviation, minimum, maximum and share of black of the border, a twentieth of the
    image on each side.
    """
    rest = image if mask is None else image[np.asarray(mask) == 0]
    shares = np.bincount(rest.ravel() // (256 // BINS), minlength=BINS) / max(1, rest.size)
    edge = max(1, image.shape[0] // 20)
    inner = np.zeros(image.shape, bool)
    inner[edge:-edge, edge:-edge] = True
    border = image[~inner]
    values = (border.mean(), border.std(), border.min(), border.max(), np.mean(border == 0))
    return np.array([*shares, *values], float)


def shortcut_auc(
    features: NDArray[np.float64], negative: NDArray[np.bool_], groups: Sequence[int | str]
) -> float | None:
    """How well trivial features separate images without tumour from the others.

    A logistic regression, scored by cross-validation that keeps groups together.

    Args:
        features: of each image, from `describe_trivially`, N×21.
        negative: which of them show no tumour, N.
        groups: patient of each image, or cluster of duplicates.

    Returns:
        Area under the ROC curve: 0.5 is chance, 1 is perfect separation. `None` where one kind has
        fewer than five groups.
    """
    rng = np.random.default_rng(0)
    kinds = [rng.permutation(np.flatnonzero(negative == kind))[:MOST] for kind in (False, True)]
    names = np.asarray(groups, dtype=str)
    if any(len(set(names[kind])) < FOLDS for kind in kinds):
        return None
    rows = np.sort(np.concatenate(kinds))
    truth = np.asarray(negative)[rows]
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds = StratifiedGroupKFold(FOLDS)
    scores = cross_val_predict(
        classifier, features[rows], truth, groups=names[rows], cv=folds, method="predict_proba"
    )
    return float(roc_auc_score(truth, scores[:, 1]))
