"""The images on which static quantization measures the ranges of activations."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader

FEWEST = 100
"""The paper's section II-F calibrates on 100 to 500 images."""

logger = logging.getLogger(__name__)


def choose_calibration(
    part: Mapping[str, NDArray], number: int, seed: int
) -> tuple[list[str], NDArray[np.uint8]]:
    """Draw images for calibration, equally many of each class as far as there are enough.

    Where there are fewer than `number`, all are taken; fewer than 100 are a warning.

    Args:
        part: `ids`, `classes` (N) and `images` (N×H×W) of the validation split. Never the test
            split: ranges fitted to it would flatter the quantized network.
        number: of images.
        seed: of the draw.

    Returns:
        Their ids and images, in the order of the split.
    """
    classes = pd.Series(part["classes"]).sample(frac=1, random_state=seed)
    turn = classes.groupby(classes).cumcount().sort_values(kind="stable")
    rows = np.sort(turn.index.to_numpy()[:number])
    if len(rows) < FEWEST:
        logger.warning(
            "Calibration on %d images; expected %d to 500. The validation split has %d.",
            len(rows),
            FEWEST,
            len(classes),
        )
    return part["ids"][rows].tolist(), part["images"][rows]


class Batches(CalibrationDataReader):
    """Feeds images to onnxruntime's calibrators, one at a time.

    Args:
        images: N×1×H×W in [0, 1].
    """

    def __init__(self, images: Sequence[NDArray[np.float32]] | NDArray[np.float32]) -> None:
        self._images = images
        self.rewind()

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next image as the network's input, or `None` at the end."""
        image = next(self._rest, None)
        return None if image is None else {"image": image[None]}

    def rewind(self) -> None:
        """Start again."""
        self._rest = iter(self._images)
