"""How far an image's intensities are from those that a network was trained on."""

import json
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

LEVELS = np.linspace(0, 1, 33)
"""The quantiles by which distributions of grey levels are compared."""

COMMON = 0.99
"""Share of the known images that are as near as `Likeness.farthest`."""


@dataclass(frozen=True)
class Likeness:
    """The grey levels of images that a network knows.

    Attributes:
        quantiles: of an image's grey levels (0 to 255) at `LEVELS`, the mean over the images.
        farthest: distance (`distance`) that 99 of 100 of the images do not exceed, grey levels.
    """

    quantiles: tuple[float, ...]
    farthest: float

    @classmethod
    def of(cls, images: NDArray[np.uint8]) -> Self:
        """What there is to know of N×H×W images, as the network takes them."""
        each = np.stack([_quantiles(image) for image in images])
        mean = np.round(each.mean(axis=0), 2)
        distances = np.abs(each - mean).mean(axis=1)
        return cls(tuple(mean.tolist()), round(float(np.quantile(distances, COMMON)), 2))

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """What `to_text` gave; `None` where a file says nothing that can be read."""
        try:
            found = json.loads(text or "")
            quantiles = tuple(map(float, found["quantiles"]))
            known = cls(quantiles, float(found["farthest"]))
        except (ValueError, TypeError, KeyError):
            return None
        return known if len(quantiles) == len(LEVELS) else None

    def to_text(self) -> str:
        """As it stands in the metadata of an exported file."""
        return json.dumps(asdict(self))

    def distance(self, image: NDArray[np.uint8]) -> float:
        """By how many grey levels the pixels of an image have to be moved on average.

        The Wasserstein distance between its histogram and the mean of the known ones
        (arXiv:1701.07875, section 2), from `LEVELS` quantiles. Where things lie does not matter.

        Args:
            image: H×W, of any size.
        """
        return float(np.abs(_quantiles(image) - np.array(self.quantiles)).mean())


def _quantiles(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.quantile(image, LEVELS)
