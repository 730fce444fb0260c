"""The peer to compare with: the U-Net of segmentation_models.pytorch, an optional extra."""

from collections.abc import Mapping
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from brainseg.errors import InputError, brief
from brainseg.model.encoder import check_multiple

IMAGENET = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
"""Mean and standard deviation of ImageNet's pixels."""


class Normalized(nn.Module):
    """A network that takes images in [0, 1], and the normalisation that it was made for.

    Args:
        network: maps normalised images N×1×H×W to logits.
        mean: mean of the pixels.
        std: their standard deviation.
        multiple: the image's height and width must be multiples of this.
    """

    def __init__(self, network: nn.Module, mean: float, std: float, multiple: int) -> None:
        super().__init__()
        self.network = network
        self.mean: Tensor
        self.std: Tensor
        # In the checkpoint: which network is loaded again does not say what it was trained with.
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))
        self.multiple = multiple

    def forward(self, image: Tensor) -> Tensor:
        """Logits of `image` (N×1×H×W in [0, 1]).

        Raises:
            InputError: the height or the width does not suit the network.
        """
        check_multiple(image.shape[-2], image.shape[-1], self.multiple)
        return self.network((image - self.mean) / self.std)


def build_smp_unet(
    *,
    encoder: str = "tu-resnetv2_50",
    weights: str = "none",
    args: Mapping[str, Any] | None = None,
) -> Normalized:
    """`segmentation_models_pytorch.Unet` for one channel and one class.

    Args:
        encoder: as that package calls it; `tu-` stands before the name of a timm network.
        weights: of the encoder: `none` or `imagenet` (downloaded).
        args: further arguments of its `Unet`, such as `decoder_channels`.

    Raises:
        InputError: the package is not installed, or refuses the arguments.
    """
    try:
        import segmentation_models_pytorch as smp
    except ImportError as error:
        raise InputError(
            "model=smp_unet requires segmentation-models-pytorch, which is not installed. Install "
            "it with: pip install segmentation-models-pytorch"
        ) from error
    if weights not in ("none", "imagenet"):
        raise InputError(f"model.weights={weights}: model=smp_unet takes none or imagenet.")
    # tu- encoders know their weights by their own name, and warn of any other
    pretrained = True if encoder.startswith("tu-") else weights
    try:
        unet = smp.Unet(
            encoder,
            in_channels=1,
            classes=1,
            encoder_weights=None if weights == "none" else pretrained,
            **args or {},
        )
        mean, std = (fmean(values) for values in _normalisation(unet, encoder, weights))
    except Exception as error:  # it raises whatever timm and its hub do
        raise InputError(
            f"segmentation_models_pytorch {smp.__version__} refuses model.encoder={encoder} "
            f"model.weights={weights} model.args={dict(args or {})} ({brief(error)})."
        ) from error
    return Normalized(unet, mean, std, unet.encoder.output_stride)


def _normalisation(unet: Any, encoder: str, weights: str) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of the three channels that the encoder was made for."""
    if encoder.startswith("tu-"):
        known = unet.encoder.model.pretrained_cfg
    elif weights == "none":  # the package would ask its hub
        return IMAGENET
    else:
        from segmentation_models_pytorch.encoders import get_preprocessing_params

        known = get_preprocessing_params(encoder)
    return known["mean"], known["std"]
