"""Losses on logits and binary masks, N×1×H×W."""

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from brainseg.errors import InputError


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


Loss = Callable[[Tensor, Tensor], Tensor]
LOSSES: dict[str, Loss] = {"bce": bce, "bce_dice": bce_dice}


def get_loss(name: str) -> Loss:
    """The loss of that name.

    Raises:
        InputError: there is none; it lists those that there are.
    """
    if name not in LOSSES:
        raise InputError(f"loss={name} is unknown. Expected one of {', '.join(LOSSES)}.")
    return LOSSES[name]
