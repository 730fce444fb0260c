"""Random changes of a training slice that leave it a plausible slice."""

import os

import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # no update check over the network

import albumentations as A


def make_augmentation(strength: float = 1.0) -> A.Compose:
    """Flips, small affine maps, and changes of brightness, contrast and noise.

    The mask follows the geometry, by nearest neighbour; pixels from outside the image are black.

    Args:
        strength: scales how large all changes but flips are; 0 for no changes at all.
    """
    if not strength:
        return A.Compose([])
    scale, shift, turn = 0.1 * strength, 0.06 * strength, 15 * strength
    return A.Compose(
        [
            A.HorizontalFlip(p=0.5),
            A.VerticalFlip(p=0.5),
            A.Affine(
                scale=(1 - scale, 1 + scale),
                translate_percent=(-shift, shift),
                rotate=(-turn, turn),
                fill=0,
                p=0.7,
            ),
            A.RandomBrightnessContrast(
                brightness_limit=0.15 * strength, contrast_limit=0.2 * strength, p=0.5
            ),
            A.GaussNoise(std_range=(0.005 * strength, 0.03 * strength), p=0.2),
        ]
    )


def augment(
    augmentation: A.Compose, image: np.ndarray, mask: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Apply `augmentation` to an H×W uint8 image and mask; deterministic for a seed."""
    augmentation.set_random_seed(seed)
    changed = augmentation(image=image, mask=mask)
    return changed["image"], changed["mask"]
