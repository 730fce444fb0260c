"""The Res-UNet: encoder, five decoder steps, one logit per pixel."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

from torch import Tensor, nn

from brainseg.errors import InputError
from brainseg.model.attention import Attention
from brainseg.model.decoder import DecoderStep
from brainseg.model.encoder import REDUCTIONS, Encoder, build_encoder

WIDTHS = (256, 128, 64, 32, 16)
"""Channels of the five decoder steps."""


Choice = TypeVar("Choice", bound=StrEnum)


class AttentionAt(StrEnum):
    """Where attention stands: where the paper has it, or on the skips only."""

    paper = "paper"
    skips = "skips"


class ResUNet(nn.Module):
    """Res-UNet (paper section II-B; SPEC section 7).

    The skips of steps 1 to 4 come from the encoder, that of step 5 is the image through one 3×3
    convolution.

    Args:
        encoder: the encoder.
        attention: module on every skip.
        block_attention: module at the end of every `ResBlock` of the decoder.
        dropout: probability of dropping an element at the end of each step.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        attention: Attention,
        block_attention: Attention,
        dropout: float,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.image_skip = nn.Conv2d(1, WIDTHS[-1], 3, padding=1)
        deepest, *skips = (encoder.channels.get(reduction, 0) for reduction in REDUCTIONS)
        self.decoder = nn.ModuleDict()
        for number, (channels, skip_channels, width) in enumerate(
            zip((deepest, *WIDTHS), (*skips, WIDTHS[-1]), WIDTHS, strict=False), start=1
        ):
            self.decoder[str(number)] = DecoderStep(
                channels,
                skip_channels,
                width,
                skip_attention=attention,
                block_attention=block_attention,
                dropout=dropout,
            )
        self.head = nn.Conv2d(WIDTHS[-1], 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (N×1×H×W) of `image` (N×1×H×W in [0, 1]).

        Raises:
            InputError: the encoder cannot take this height or width.
        """
        x, *skips = self.encoder(image)
        for step, skip in zip(self.decoder.values(), (*skips, self.image_skip(image)), strict=True):
            x = step(x, skip)
        return self.head(x)


def build_model(
    *,
    attention: str = "none",
    attention_at: str = "paper",
    encoder: str = "resnetv2_50",
    encoder_args: Mapping[str, Any] | None = None,
    weights: str = "none",
    dropout: float = 0.2,
) -> ResUNet:
    """The network of one configuration.

    Args:
        attention: `none`, `ag`, `se` or `cbam`.
        attention_at: `paper` puts `se` and `cbam` at the end of every decoder `ResBlock` too,
            `skips` puts every module on the skips only.
        encoder: name of a timm network.
        encoder_args: further arguments of that network.
        weights: of the encoder: `none`, `imagenet` or a local file.
        dropout: probability of dropping an element at the end of each decoder step.

    Raises:
        InputError: a value is unknown, or the encoder or its weights cannot be had.
    """
    kind = _choose("model.attention", Attention, attention)
    place = _choose("model.attention_at", AttentionAt, attention_at)
    in_blocks = place is AttentionAt.paper and kind in (Attention.se, Attention.cbam)
    return ResUNet(
        build_encoder(encoder, encoder_args or {}, weights),
        attention=kind,
        block_attention=kind if in_blocks else Attention.none,
        dropout=dropout,
    )


def _choose(option: str, choices: type[Choice], value: str) -> Choice:
    try:
        return choices(value)
    except ValueError as error:
        raise InputError(f"Expected {option} in {', '.join(choices)}; found {value}.") from error
