"""Attention modules with one signature, `forward(skip, gate=None) -> skip`."""

from enum import StrEnum

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(StrEnum):
    """The four variants of the network; each value equals its name."""

    none = "none"
    ag = "ag"
    se = "se"
    cbam = "cbam"


class NoAttention(nn.Module):
    """Hands the skip on unchanged."""

    def forward(self, skip: Tensor, gate: Tensor | None = None) -> Tensor:
        """Return `skip` (N×C×H×W)."""
        return skip


class AttentionGate(nn.Module):
    """Additive attention gate (Eq. 1-4; arXiv:1804.03999), with biases as in Keras.

    Args:
        channels: channels of the skip x.
        gate_channels: channels of the gating decoder feature g.
        hidden: channels of the sum f.
    """

    def __init__(self, channels: int, gate_channels: int, hidden: int) -> None:
        super().__init__()
        self.theta = nn.Conv2d(channels, hidden, 1)
        self.phi = nn.Conv2d(gate_channels, hidden, 1)
        self.activation = nn.LeakyReLU(0.1)
        self.psi = nn.Conv2d(hidden, 1, 1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, skip: Tensor, gate: Tensor | None = None) -> Tensor:
        """Scale every pixel of `skip` (N×C×H×W), seen beside `gate` (N×G×H×W).

        Raises:
            ValueError: there is no gate.
        """
        if gate is None:
            raise ValueError("an attention gate needs a gate, the decoder feature at its place")
        combined = self.theta(skip) + self.phi(gate)  # N×hidden×H×W, Eq. 1-2
        alpha = self.sigmoid(self.psi(self.activation(combined)))  # N×1×H×W, Eq. 3
        return skip * alpha  # Eq. 4


def _perceptron(channels: int, hidden: int) -> nn.Sequential:
    """Two layers without bias as in Eq. 6-7; 1×1 convolutions keep the N×C×1×1 shape."""
    return nn.Sequential(
        nn.Conv2d(channels, hidden, 1, bias=False),
        nn.ReLU(),
        nn.Conv2d(hidden, channels, 1, bias=False),
    )


class SqueezeExcitation(nn.Module):
    """Squeeze and excitation (Eq. 5-8; arXiv:1709.01507), reduction 16, hidden at least 4."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp = _perceptron(channels, max(channels // 16, 4))
        self.sigmoid = nn.Sigmoid()

    def forward(self, skip: Tensor, gate: Tensor | None = None) -> Tensor:
        """Scale every channel of `skip` (N×C×H×W); the gate is not used."""
        squeezed = F.adaptive_avg_pool2d(skip, 1)  # N×C×1×1, Eq. 5
        return skip * self.sigmoid(self.mlp(squeezed))  # Eq. 6-8


class CBAM(nn.Module):
    """Channel, then spatial attention (Eq. 9-13; arXiv:1807.06521), reduction 8, hidden ≥ 4."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp = _perceptron(channels, max(channels // 8, 4))
        self.channel_sigmoid = nn.Sigmoid()
        self.spatial = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.spatial_sigmoid = nn.Sigmoid()

    def forward(self, skip: Tensor, gate: Tensor | None = None) -> Tensor:
        """Scale every channel, then every pixel of `skip` (N×C×H×W); the gate is not used."""
        average = F.adaptive_avg_pool2d(skip, 1)  # N×C×1×1, Eq. 9
        maximum = skip.amax((2, 3), keepdim=True)  # N×C×1×1, Eq. 9
        skip = skip * self.channel_sigmoid(self.mlp(average) + self.mlp(maximum))  # Eq. 10-11
        pooled = torch.cat([skip.mean(1, keepdim=True), skip.amax(1, keepdim=True)], 1)
        return skip * self.spatial_sigmoid(self.spatial(pooled))  # Eq. 12-13


def make_attention(kind: Attention, channels: int, gate_channels: int = 0) -> nn.Module:
    """The module of `kind` for a skip of `channels`.

    Args:
        kind: one of the four variants.
        channels: channels of the skip.
        gate_channels: channels of the gate, the width of the decoder step; only `ag` uses it, and
            works with half as many inside.
    """
    match kind:
        case Attention.ag:
            return AttentionGate(channels, gate_channels, gate_channels // 2)
        case Attention.se:
            return SqueezeExcitation(channels)
        case Attention.cbam:
            return CBAM(channels)
    return NoAttention()
