"""Overlap and distance of binary masks (SPEC section 8).

Overlap is computed from counts of pixels in the order `tp, fp, fn, tn`. Every function of counts
takes an array (…, 4) and pools its leading axes: one image gives the score of that image, all
images of a split give the score over all of their pixels.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import binary_erosion
from scipy.spatial import KDTree


def confusion(prediction: ArrayLike, truth: ArrayLike) -> NDArray[np.int64]:
    """Count pixels per image.

    Args:
        prediction: predicted masks, (…, H, W), nonzero is tumour.
        truth: true masks of the same shape.

    Returns:
        `tp, fp, fn, tn`, (…, 4).

    Raises:
        ValueError: the shapes differ.
    """
    p, t = np.asarray(prediction, dtype=bool), np.asarray(truth, dtype=bool)
    if p.shape != t.shape:
        raise ValueError(f"Prediction and truth differ in shape: {p.shape} and {t.shape}.")
    tp, predicted, true = (np.count_nonzero(m, axis=(-2, -1)) for m in (p & t, p, t))
    tn = np.prod(p.shape[-2:]) - predicted - true + tp
    return np.stack([tp, predicted - tp, true - tp, tn], axis=-1).astype(np.int64)


def tumor_iou(counts: ArrayLike) -> float | None:
    """IoU of tumour over all pixels, `tp / (tp + fp + fn)` (Eq. 16).

    `None` where neither the prediction nor the truth has a tumour pixel.
    """
    tp, fp, fn, _ = _pooled(counts)
    return tp / (tp + fp + fn) if tp + fp + fn else None


def mean_iou(counts: ArrayLike) -> float | None:
    """Mean of the IoU of background and of tumour: Keras `BinaryIoU`, the paper's Table I.

    As in Keras, a class in neither prediction nor truth is left out of the mean: for images without
    tumour and without a predicted pixel the result is the IoU of background. `None` without any
    pixels. Keras works in float32 with an epsilon of 1e-7 and rounds accordingly.
    """
    value = float(mean_ious(_pooled(counts)))
    return None if np.isnan(value) else value


def mean_ious(counts: ArrayLike) -> NDArray[np.float64]:
    """`mean_iou` of each set of counts on its own: (…, 4) to (…); NaN where it is undefined."""
    tp, fp, fn, tn = np.moveaxis(np.asarray(counts, dtype=float), -1, 0)
    with np.errstate(invalid="ignore"):
        each = np.stack([right / (right + fp + fn) for right in (tp, tn)])
        defined = ~np.isnan(each)
        return each.sum(axis=0, where=defined) / defined.sum(axis=0)


def tumor_ious(counts: ArrayLike) -> NDArray[np.float64]:
    """`tumor_iou` of each set of counts on its own: (…, 4) to (…); NaN where it is undefined."""
    tp, fp, fn, _ = np.moveaxis(np.asarray(counts, dtype=float), -1, 0)
    with np.errstate(invalid="ignore"):
        return tp / (tp + fp + fn)


def dice(counts: ArrayLike) -> float | None:
    """Dice coefficient of tumour, `2 tp / (2 tp + fp + fn)`.

    `None` where neither the prediction nor the truth has a tumour pixel.
    """
    tp, fp, fn, _ = _pooled(counts)
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else None


def hd95_px(prediction: ArrayLike, truth: ArrayLike) -> float | None:
    """95th percentile Hausdorff distance between the outlines of two masks, in pixels.

    The larger of the two directions' 95th percentiles (linear interpolation), each over the
    distances from every outline pixel of one mask to the nearest outline pixel of the other. An
    outline pixel belongs to the mask and has one of its four neighbours outside; beyond the image
    everything is outside. This is MONAI's `compute_hausdorff_distance(percentile=95)`.

    Args:
        prediction: predicted mask, H×W, nonzero is tumour.
        truth: true mask, H×W.

    Returns:
        `None` where the truth is empty; the image diagonal √(H² + W²) where only the prediction is.
    """
    p, t = np.asarray(prediction, dtype=bool), np.asarray(truth, dtype=bool)
    if not t.any():
        return None
    if not p.any():
        return float(np.hypot(*t.shape))
    outlines = _outline(p), _outline(t)
    distances = [KDTree(to).query(at)[0] for at, to in (outlines, outlines[::-1])]
    return max(float(np.percentile(values, 95)) for values in distances)


def _pooled(counts: ArrayLike) -> list[int]:
    return np.reshape(counts, (-1, 4)).sum(axis=0).tolist()


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    return np.argwhere(mask & ~binary_erosion(mask))
