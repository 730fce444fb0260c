"""Grey slices of any size to tumour probabilities and masks of that size."""

import numpy as np
from numpy.typing import NDArray

from brainseg.data.image import resize_image
from brainseg.data.parts import to_input
from brainseg.predict.resize import resize_map
from brainseg.predict.settings import Settings
from brainseg.runtime.session import Session
from brainseg.terminal import bar
from brainseg.vocabulary import KEEP_ASPECT

FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))
"""Axes along which `tta=flips` mirrors an image."""

ONE_OFF = Settings()


def segment(
    session: Session, images: NDArray[np.uint8], settings: Settings = ONE_OFF, text: str = ""
) -> NDArray[np.float32]:
    """Tumour probabilities of grey slices, at their own size.

    Args:
        session: the opened network.
        images: N×H×W.
        settings: of which `batch`, `tta` and `keep_aspect` matter here.
        text: what a progress bar says; empty for none.

    Returns:
        N×H×W in [0, 1].
    """
    keep = keeps_aspect(session) if settings.keep_aspect is None else settings.keep_aspect
    found = np.empty(images.shape, np.float32)
    starts = range(0, len(images), settings.batch)
    for start in bar(starts, text, shown=bool(text)):
        part = slice(start, start + settings.batch)
        found[part] = _segment_batch(session, images[part], settings.tta, keep)
    return found


def keeps_aspect(session: Session) -> bool:
    """Whether the network was trained on images padded to a square, rather than squeezed."""
    return session.metadata.get(KEEP_ASPECT) == "True"


def to_masks(
    probabilities: NDArray[np.float32], threshold: float, min_area: int = 0
) -> NDArray[np.bool_]:
    """Masks of slices.

    Args:
        probabilities: N×H×W.
        threshold: from which a pixel is tumour.
        min_area: parts of fewer pixels, which touch at sides or corners, are left out.
    """
    masks = probabilities >= np.float32(threshold)
    if min_area < 2:
        return masks
    from skimage.morphology import remove_small_objects  # takes time

    kept = [remove_small_objects(mask, max_size=min_area - 1, connectivity=2) for mask in masks]
    return np.stack(kept)


def _segment_batch(
    session: Session, images: NDArray[np.uint8], tta: str, keep_aspect: bool
) -> NDArray[np.float32]:
    """Probabilities of some slices of one size, N×H×W."""
    height, width = images[0].shape
    top, left = ((max(height, width) - side) // 2 if keep_aspect else 0 for side in (height, width))
    padded = [_pad(image, top, left) if keep_aspect else image for image in images]
    small = np.stack([resize_image(image, session.image_size) for image in padded])
    probabilities = np.stack(
        [resize_map(each, *padded[0].shape) for each in _run(session, to_input(small), tta)]
    )
    return probabilities[:, top : top + height, left : left + width]


def _pad(image: NDArray[np.uint8], top: int, left: int) -> NDArray[np.uint8]:
    """The image in the middle of a black square."""
    side = max(image.shape)
    square = np.zeros((side, side), np.uint8)
    square[top : top + image.shape[0], left : left + image.shape[1]] = image
    return square


def _run(session: Session, inputs: NDArray[np.float32], tta: str) -> NDArray[np.float32]:
    """Probabilities N×H×W of what the network takes, N×1×H×W."""
    if tta == "none":
        return session.run(inputs)[:, 0]
    flipped = (np.ascontiguousarray(np.flip(inputs, axes)) for axes in FLIPS)
    found = [np.flip(session.run(each), axes) for each, axes in zip(flipped, FLIPS, strict=True)]
    return np.asarray(np.mean(found, axis=0, dtype=np.float32))[:, 0]
