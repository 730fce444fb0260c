"""Outlines of a prediction and of the truth, drawn over the grey image."""

import numpy as np
from scipy import ndimage

PREDICTION = (240, 228, 66)
"""Yellow of the colour-blind-safe palette of Okabe and Ito (2008)."""

TRUTH = (86, 180, 233)
"""Sky blue of the same palette, darker than its yellow in a grey print too."""


def overlay(image: np.ndarray, mask: np.ndarray, truth: np.ndarray | None = None) -> np.ndarray:
    """Draw the outline of `mask` in yellow and, where given, that of `truth` in sky blue.

    The prediction's line runs just inside its edge and the truth's just outside, so that both
    stay visible where they agree. Lines are one pixel wide on an image of 256 pixels, two on 512.

    Args:
        image: grey image, H×W, uint8.
        mask: predicted tumour, H×W, bool.
        truth: annotated tumour, H×W, bool.

    Returns:
        H×W×3, uint8, RGB.
    """
    width = max(1, round(max(image.shape) / 256))
    picture = np.repeat(image[..., None], 3, axis=2)
    if truth is not None:
        picture[ndimage.binary_dilation(truth, iterations=width) & ~truth] = TRUTH
    picture[mask & ~ndimage.binary_erosion(mask, iterations=width)] = PREDICTION
    return picture
