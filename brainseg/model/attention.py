"""Attention modules with one signature, `forward(skip, gate=None) -> skip`, and their registry.

To add one, subclass `Attention` here: its `name` is then a value of `model.attention`, and all that
trains, exports, counts or shows networks knows it.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ATTENTIONS: dict[str, type["Attention"]] = {}
"""Name → class; a subclass of `Attention` that has a `name` registers itself."""


class Attention(nn.Module):
    """Base of all attention modules. They are built with the number of channels of their skip.

    Attributes:
        name: value of `model.attention`.
        needs_gate: whether it looks at the decoder feature beside the skip. It is then built with
            the number of that feature's channels too, and cannot stand where there is none.
        in_blocks: whether the paper's placement has it at the end of every decoder block, too.
        coefficients: submodules whose outputs in [0, 1] multiply the skip, by what is appended to
            the module's name to tell them apart.
    """

    name: ClassVar[str]
    needs_gate: ClassVar[bool] = False
    in_blocks: ClassVar[bool] = False
    coefficients: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls) -> None:
        if cls.needs_gate and cls.in_blocks:
            raise TypeError(f"{cls.__name__} needs a gate, and blocks have none to give")
        if "name" in vars(cls):
            ATTENTIONS[cls.name] = cls


class NoAttention(Attention):
    """Hands the skip on unchanged."""

    name = "none"

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, skip: Tensor, gate: Tensor | None = None) -> Tensor:
        """Return `skip` (N×C×H×W)."""
        return skip


class AttentionGate(Attention):
    """Additive attention gate (Eq. 1-4; arXiv:1804.03999), with biases as in Keras.

    Args:
        channels: channels of the skip x.
        gate_channels: channels of the gating decoder feature g; the sum f has half as many.
    """

    name = "ag"
    needs_gate = True
    coefficients: ClassVar = {"": "sigmoid"}

    def __init__(self, channels: int, gate_channels: int) -> None:
        super().__init__()
        hidden = gate_channels // 2
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


class SqueezeExcitation(Attention):
    """Squeeze and excitation (Eq. 5-8; arXiv:1709.01507), reduction 16, hidden at least 4."""

    name = "se"
    in_blocks = True
    coefficients: ClassVar = {"": "sigmoid"}

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp = _perceptron(channels, max(channels // 16, 4))
        self.sigmoid = nn.Sigmoid()

    def forward(self, skip: Tensor, gate: Tensor | None = None) -> Tensor:
        """Scale every channel of `skip` (N×C×H×W); the gate is not used."""
        squeezed = F.adaptive_avg_pool2d(skip, 1)  # N×C×1×1, Eq. 5
        return skip * self.sigmoid(self.mlp(squeezed))  # Eq. 6-8


class CBAM(Attention):
    """Channel, then spatial attention (Eq. 9-13; arXiv:1807.06521), reduction 8, hidden ≥ 4."""

    name = "cbam"
    in_blocks = True
    coefficients: ClassVar = {"": "spatial_sigmoid", ".channels": "channel_sigmoid"}

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


def make_attention(name: str, channels: int, gate_channels: int = 0) -> Attention:
    """The attention `name` for a skip of `channels`.

    Args:
        name: a key of `ATTENTIONS`.
        channels: channels of the skip.
        gate_channels: channels of the gate, for those that need one.
    """
    kind = ATTENTIONS[name]
    return kind(channels, gate_channels) if kind.needs_gate else kind(channels)
