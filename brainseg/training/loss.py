"""Losses on logits and binary masks, N×1×H×W."""

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def bce(logits: Tensor, masks: Tensor) -> Tensor:
    """Binary cross-entropy, mean over all pixels (paper, section II-F)."""
    return binary_cross_entropy_with_logits(logits, masks)


def dice_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """One minus the soft Dice of the batch taken as one image (V-Net, arXiv:1606.04797).

    Over the batch rather than per image, since the Dice of an image without tumour is undefined.
    One pixel is added to numerator and denominator, for batches without any tumour.
    """
    probabilities = logits.sigmoid()
    overlap = (probabilities * masks).sum()
    return 1 - (2 * overlap + 1) / (probabilities.sum() + masks.sum() + 1)


def bce_dice(logits: Tensor, masks: Tensor) -> Tensor:
    """Sum of `bce` and `dice_loss`: learns small tumours in few steps."""
    return bce(logits, masks) + dice_loss(logits, masks)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"bce": bce, "bce_dice": bce_dice}
