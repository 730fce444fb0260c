"""Warnings where an image is unlike those that the network was trained on."""

import numpy as np
from numpy.typing import NDArray

from brainseg.data.layouts.nifti import shows_head
from brainseg.data.likeness import Likeness
from brainseg.runtime.session import Session
from brainseg.vocabulary import LIKENESS

ENLARGED = 2.0
"""An image is tiny where it is enlarged by more than this."""

SQUEEZED = 1.5
"""An image is distorted where one side is resized by this factor more than the other."""


def find_unlike(session: Session, images: NDArray[np.uint8], keep_aspect: bool) -> list[str]:
    """What sets the slices of one input apart from the images that the network knows.

    Args:
        session: the network; files of older versions do not say what it was trained on.
        images: N×H×W; of several slices those count that show a head.
        keep_aspect: whether they are padded rather than squeezed.

    Returns:
        A sentence for each difference, each with the measure and its threshold.
    """
    short, long = sorted(images.shape[1:])
    size, found = session.image_size, []
    if size / (long if keep_aspect else short) > ENLARGED:
        found.append(
            f"It is {images.shape[2]} × {images.shape[1]} pixels, enlarged by more than "
            f"{ENLARGED:g} to {size} × {size}."
        )
    if not keep_aspect and long / short > SQUEEZED:
        found.append(
            f"It is {long / short:.1f} times as long as wide and is squeezed to a square (more "
            f"than {SQUEEZED:g} is told); --keep-aspect pads it."
        )
    known = Likeness.parse(session.metadata.get(LIKENESS))
    heads = [image for image in images if len(images) == 1 or shows_head(image)]
    if known and heads:
        distance = float(np.median([known.distance(image) for image in heads]))
        if distance > known.farthest:
            found.append(
                f"Its grey levels are {distance:.1f} of 255 from those of the training data, where "
                f"99 of 100 images are within {known.farthest:.1f}."
            )
    return found
