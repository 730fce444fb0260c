"""The summary against multiply-adds counted layer by layer."""

import pytest
import torch
from torch import nn

from brainseg.model.summary import summarize
from brainseg.model.unet import build_resunet, resunet_parts

TINY = {"layers": [1, 1, 1, 1], "channels": [16, 32, 64, 128], "stem_chs": 16}


def count(network, size):
    """Multiply-adds of every convolution, from the shapes that pass through it."""
    counted = {}

    def note(name, layer, inputs, output):
        # A transposed convolution uses its kernel once per input pixel, any other per output pixel.
        pixels = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        per_layer = layer.weight.numel() * pixels.shape[-2] * pixels.shape[-1]
        counted[name] = counted.get(name, 0) + per_layer  # CBAM runs its MLP twice

    hooks = [
        module.register_forward_hook(lambda m, i, o, name=name: note(name, m, i, o))
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    ]
    with torch.no_grad():
        network(torch.rand(1, 1, size, size))
    for hook in hooks:
        hook.remove()
    return counted


@pytest.mark.parametrize("attention", ["none", "ag", "se", "cbam"])
def test_equals_a_count_by_hand(attention):
    network = build_resunet(attention=attention, encoder_args=TINY).eval()
    summary = summarize(network, 64, resunet_parts(network))
    counted = count(network, 64)
    assert summary["multiply_adds"] == sum(counted.values())
    for name, part in summary["parts"].items():
        expected = sum(n for layer, n in counted.items() if f"{layer}.".startswith(f"{name}."))
        assert part["multiply_adds"] == expected, name
        module = network.get_submodule(name)
        assert part["parameters"] == sum(p.numel() for p in module.parameters()), name


def test_names_and_shapes_of_the_parts():
    network = build_resunet(attention="se", encoder_args=TINY)
    summary = summarize(network, 64, resunet_parts(network))
    shapes = {name: part["output_shape"] for name, part in summary["parts"].items()}
    assert shapes["encoder"] == [128, 2, 2]
    assert [shapes[f"decoder.{step}"] for step in range(1, 6)] == [
        [256, 4, 4],
        [128, 8, 8],
        [64, 16, 16],
        [32, 32, 32],
        [16, 64, 64],
    ]
    assert shapes["head"] == [1, 64, 64]
    assert shapes["decoder.1.attention"] == [64, 4, 4]
    assert shapes["decoder.1.block.attention"] == [256, 4, 4]
    assert sum("attention" in name for name in shapes) == 10
    assert summary["image_size"] == 64


def test_parts_of_any_network():
    class Any(nn.Module):
        def __init__(self):
            super().__init__()
            self.stages = nn.ModuleList([nn.Conv2d(1, 4, 3, 2, 1), nn.Conv2d(4, 8, 3, 2, 1)])
            self.both = Both()
            self.unused = nn.Linear(2, 3)
            self.head = nn.Sequential(nn.Upsample(scale_factor=4), nn.Conv2d(8, 1, 1))

        def forward(self, x):
            for stage in self.stages:
                x = stage(x)
            return self.head(self.both(x)[1])

    class Both(nn.Module):
        def forward(self, x):
            return [x[..., ::2, ::2], x]

    wrapped = nn.Sequential(Any())
    parts = summarize(wrapped, 16)["parts"]
    assert {name.removeprefix("0."): part["output_shape"] for name, part in parts.items()} == {
        "stages.0": [4, 8, 8],
        "stages.1": [8, 4, 4],
        "both": [8, 2, 2],  # the smaller of two
        "unused": None,
        "head": [1, 16, 16],
    }
    assert parts["0.stages.0"]["multiply_adds"] == 4 * 9 * 8 * 8
    assert parts["0.unused"] == {"parameters": 9, "multiply_adds": 0, "output_shape": None}
