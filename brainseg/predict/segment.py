"""Grey slices of any size to tumour probabilities and masks of that size."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from brainseg.data.parts import to_input
from brainseg.predict.resize import resize_bytes, resize_map
from brainseg.predict.settings import Settings
from brainseg.runtime.session import Session
from brainseg.terminal import bar
from brainseg.vocabulary import KEEP_ASPECT

FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))
"""Axes along which `tta=flips` mirrors an image."""

ONE_OFF = Settings()


class Opened(Protocol):
    """What is used here of an opened network, as a `Session` is one."""

    @property
    def image_size(self) -> int:
        """Height and width that it takes, pixels."""

    @property
    def run(self) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
        """Images N×1×H×W in [0, 1] to probabilities N×1×H×W."""


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
        found[part] = segment_batch(session, images[part], settings.tta, keep)
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


def segment_batch(
    network: Opened, images: NDArray[np.uint8], tta: str, keep_aspect: bool
) -> NDArray[np.float32]:
    """Probabilities of some slices of one size, N×H×W both, in one pass."""
    height, width = images[0].shape
    top, left = ((max(height, width) - side) // 2 if keep_aspect else 0 for side in (height, width))
    padded = [_pad(image, top, left) if keep_aspect else image for image in images]
    small = np.stack([resize_bytes(image, network.image_size) for image in padded])
    probabilities = np.stack(
        [resize_map(each, *padded[0].shape) for each in _run(network, to_input(small), tta)]
    )
    return probabilities[:, top : top + height, left : left + width]


def _pad(image: NDArray[np.uint8], top: int, left: int) -> NDArray[np.uint8]:
    """The image in the middle of a black square."""
    side = max(image.shape)
    square = np.zeros((side, side), np.uint8)
    square[top : top + image.shape[0], left : left + image.shape[1]] = image
    return square


def _run(network: Opened, inputs: NDArray[np.float32], tta: str) -> NDArray[np.float32]:
    """Probabilities N×H×W of what the network takes, N×1×H×W."""
    if tta == "none":
        return network.run(inputs)[:, 0]
    flipped = (np.ascontiguousarray(np.flip(inputs, axes)) for axes in FLIPS)
    found = [np.flip(network.run(each), axes) for each, axes in zip(flipped, FLIPS, strict=True)]
    return np.asarray(np.mean(found, axis=0, dtype=np.float32))[:, 0]
