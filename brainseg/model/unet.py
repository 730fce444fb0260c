"""The Res-UNet: encoder, five decoder steps, one logit per pixel."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from torch import Tensor, nn

from brainseg.errors import check_known
from brainseg.model.attention import ATTENTIONS, Attention, NoAttention
from brainseg.model.decoder import DecoderStep
from brainseg.model.encoder import REDUCTIONS, Encoder, build_encoder

WIDTHS = (256, 128, 64, 32, 16)
"""Channels of the five decoder steps."""


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
        attention: name of the attention on every skip.
        block_attention: that at the end of every `ResBlock` of the decoder.
        dropout: probability of dropping an element at the end of each step.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        attention: str,
        block_attention: str,
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


def build_resunet(
    *,
    attention: str = "none",
    attention_at: str = "paper",
    encoder: str = "resnetv2_50",
    encoder_args: Mapping[str, Any] | None = None,
    weights: str = "none",
    dropout: float = 0.2,
) -> ResUNet:
    """A Res-UNet of the paper's widths.

    Args:
        attention: a key of `ATTENTIONS`.
        attention_at: `paper` also puts those that are `in_blocks` at the end of every decoder
            `ResBlock`, `skips` puts all of them on the skips only.
        encoder: name of a timm network.
        encoder_args: further arguments of that network.
        weights: of the encoder: `none`, `imagenet` or a local file.
        dropout: probability of dropping an element at the end of each decoder step.

    Raises:
        InputError: a value is unknown, or the encoder or its weights cannot be had.
    """
    check_known("model.attention", [attention], ATTENTIONS)
    check_known("model.attention_at", [attention_at], AttentionAt)
    in_blocks = attention_at == AttentionAt.paper and ATTENTIONS[attention].in_blocks
    return ResUNet(
        build_encoder(encoder, encoder_args or {}, weights),
        attention=attention,
        block_attention=attention if in_blocks else NoAttention.name,
        dropout=dropout,
    )


def resunet_parts(network: nn.Module) -> Iterator[str]:
    """Names of what `model.json` counts: encoder, steps, head, and the attention modules inside."""
    for name, module in network.named_modules():
        own = name in ("encoder", "image_skip", "head") or name.rpartition(".")[0] == "decoder"
        if own or (isinstance(module, Attention) and not isinstance(module, NoAttention)):
            yield name
