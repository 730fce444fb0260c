"""The attention modules against the paper's equations, written out in NumPy."""

import numpy as np
import pytest
import torch
from torch import nn

from brainseg.model.attention import ATTENTIONS, Attention, make_attention
from brainseg.vocabulary import STUDY

CHANNELS, GATE_CHANNELS, HEIGHT, WIDTH = 40, 8, 5, 6


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def conv1x1(x, layer):
    """A 1×1 convolution of x (N×C×H×W) as a sum over channels."""
    kernel = layer.weight.detach().numpy()[:, :, 0, 0]
    result = np.einsum("oc,nchw->nohw", kernel, x)
    if layer.bias is not None:
        result = result + layer.bias.detach().numpy()[None, :, None, None]
    return result


def mlp(z, module):
    """Two layers around a ReLU, for z (N×C×1×1)."""
    first, _, second = module.mlp
    return conv1x1(np.maximum(conv1x1(z, first), 0), second)


def gate_reference(module, x, g):
    f = conv1x1(x, module.theta) + conv1x1(g, module.phi)  # Eq. 1-2
    f = np.where(f < 0, 0.1 * f, f)
    return x * sigmoid(conv1x1(f, module.psi))  # Eq. 3-4


def squeeze_reference(module, x, g):
    z = x.sum((2, 3), keepdims=True) / (x.shape[2] * x.shape[3])  # Eq. 5
    return sigmoid(mlp(z, module)) * x  # Eq. 6-8


def cbam_reference(module, x, g):
    average, maximum = x.mean((2, 3), keepdims=True), x.max((2, 3), keepdims=True)  # Eq. 9
    x = sigmoid(mlp(average, module) + mlp(maximum, module)) * x  # Eq. 10-11
    maps = np.stack([x.mean(1), x.max(1)], 1)
    padded = np.pad(maps, ((0, 0), (0, 0), (3, 3), (3, 3)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (7, 7), axis=(2, 3))
    kernel = module.spatial.weight.detach().numpy()[0]
    spatial = np.einsum("nchwij,cij->nhw", windows, kernel)[:, None]  # Eq. 12
    return sigmoid(spatial) * x  # Eq. 13


REFERENCES = {
    "none": lambda module, x, g: x,
    "ag": gate_reference,
    "se": squeeze_reference,
    "cbam": cbam_reference,
}


def make(kind):
    torch.manual_seed(0)
    module = make_attention(kind, CHANNELS, GATE_CHANNELS).double()
    skip = torch.randn(2, CHANNELS, HEIGHT, WIDTH, dtype=torch.float64)
    gate = torch.randn(2, GATE_CHANNELS, HEIGHT, WIDTH, dtype=torch.float64)
    return module, skip, gate


def test_those_of_the_paper_are_registered():
    assert tuple(ATTENTIONS) == tuple(REFERENCES) == STUDY


def test_a_block_cannot_hold_what_needs_a_gate():
    with pytest.raises(TypeError, match="needs a gate"):

        class Wrong(Attention):
            name = "wrong"
            needs_gate = True
            in_blocks = True

    assert "wrong" not in ATTENTIONS


@pytest.mark.parametrize("kind", REFERENCES)
def test_equals_the_equations(kind):
    module, skip, gate = make(kind)
    with torch.no_grad():
        result = module(skip, gate).numpy()
    expected = REFERENCES[kind](module, skip.numpy(), gate.numpy())
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5)
    assert kind == "none" or np.abs(expected - skip.numpy()).max() > 1e-2


@pytest.mark.parametrize(("kind", "sigmoids"), [("none", 0), ("ag", 1), ("se", 1), ("cbam", 2)])
def test_coefficients_come_from_sigmoid_modules(kind, sigmoids):
    module, skip, gate = make(kind)
    found = []
    for part in module.modules():
        if isinstance(part, nn.Sigmoid):
            part.register_forward_hook(lambda _, __, output: found.append(output))
    module(skip, gate)
    assert len(found) == sigmoids
    assert all(((alpha > 0) & (alpha < 1)).all() for alpha in found)
    assert kind != "ag" or found[0].shape == (2, 1, HEIGHT, WIDTH)


@pytest.mark.parametrize("kind", ["none", "se", "cbam"])
def test_the_gate_is_optional_where_it_is_not_used(kind):
    module, skip, gate = make(kind)
    torch.testing.assert_close(module(skip), module(skip, gate))


def test_an_attention_gate_needs_its_gate():
    module, skip, _ = make("ag")
    with pytest.raises(ValueError, match="needs a gate"):
        module(skip)


@pytest.mark.parametrize(
    ("kind", "channels", "parameters"),
    [
        ("none", 1024, 0),
        # theta 1024×128 + 128, phi 256×128 + 128, psi 128 + 1: hidden is half the gate
        ("ag", 1024, 1024 * 128 + 128 + 256 * 128 + 128 + 129),
        ("se", 1024, 2 * 1024 * 64),
        ("se", 16, 2 * 16 * 4),
        ("cbam", 1024, 2 * 1024 * 128 + 2 * 49),
        ("cbam", 16, 2 * 16 * 4 + 2 * 49),
    ],
)
def test_hidden_widths(kind, channels, parameters):
    module = make_attention(kind, channels, 256)
    assert sum(p.numel() for p in module.parameters()) == parameters
