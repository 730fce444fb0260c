"""One step of the decoder: double the size, take in the attended skip, refine."""

import torch
from torch import Tensor, nn

from brainseg.model.attention import NoAttention, make_attention


class ResBlock(nn.Module):
    """Two 3×3 convolutions beside a 1×1 shortcut, then attention.

    Convolution, BatchNorm and LeakyReLU(0.1) stand in an order that folds into one convolution;
    the second LeakyReLU comes after the sum.
    """

    def __init__(self, channels: int, width: int, attention: str) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(0.1),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.shortcut = nn.Sequential(
            nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
        )
        self.activation = nn.LeakyReLU(0.1)
        self.attention = make_attention(attention, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map N×channels×H×W to N×width×H×W."""
        return self.attention(self.activation(self.main(x) + self.shortcut(x)))


class DecoderStep(nn.Module):
    """Transposed convolution, concatenation with the attended skip, `ResBlock`, dropout.

    Args:
        channels: channels of the feature from below.
        skip_channels: channels of the skip; 0 where the encoder has none of this size.
        width: channels of the result.
        skip_attention: name of the attention on the skip.
        block_attention: that at the end of the `ResBlock`, where there is no gate.
        dropout: probability that an element is dropped.
    """

    def __init__(
        self,
        channels: int,
        skip_channels: int,
        width: int,
        *,
        skip_attention: str,
        block_attention: str,
        dropout: float,
    ) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(channels, width, 3, stride=2, padding=1)
        kind = skip_attention if skip_channels else NoAttention.name
        self.attention = make_attention(kind, skip_channels, width)
        self.block = ResBlock(width + skip_channels, width, block_attention)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """Raise `x` (N×channels×h×w) to the size of `skip` (N×C×H×W, H = 2h or 2h-1).

        Without a skip the size doubles.
        """
        if skip is None:
            x = self.up(x, output_size=[2 * side for side in x.shape[-2:]])
        else:
            x = self.up(x, output_size=list(skip.shape[-2:]))
            x = torch.cat([x, self.attention(skip, x)], 1)
        return self.dropout(self.block(x))
