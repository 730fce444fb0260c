"""Random changes of a training slice that leave it a plausible slice."""

import os

import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # no update check over the network

import albumentations as A


def make_augmentation() -> A.Compose:
    """Flips, small affine maps, and changes of brightness, contrast and noise.

    The mask follows the geometry, by nearest neighbour; pixels from outside the image are black.
    """
    return A.Compose(
        [
            A.HorizontalFlip(p=0.5),
            A.VerticalFlip(p=0.5),
            A.Affine(
                scale=(0.9, 1.1), translate_percent=(-0.06, 0.06), rotate=(-15, 15), fill=0, p=0.7
            ),
            A.RandomBrightnessContrast(brightness_limit=0.15, contrast_limit=0.2, p=0.5),
            A.GaussNoise(std_range=(0.005, 0.03), p=0.2),
        ]
    )


def augment(
    augmentation: A.Compose, image: np.ndarray, mask: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Apply `augmentation` to an H×W uint8 image and mask; deterministic for a seed."""
    augmentation.set_random_seed(seed)
    changed = augmentation(image=image, mask=mask)
    return changed["image"], changed["mask"]
