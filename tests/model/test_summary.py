"""The summary against multiply-adds counted layer by layer."""

import json

import pytest
import torch
from torch import nn

from brainseg.model.summary import summarize
from brainseg.model.unet import build_model

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
    network = build_model(attention=attention, encoder_args=TINY).eval()
    summary = summarize(network, 64)
    counted = count(network, 64)
    assert summary["multiply_adds"] == sum(counted.values())
    for name, part in summary["parts"].items():
        expected = sum(n for layer, n in counted.items() if f"{layer}.".startswith(f"{name}."))
        assert part["multiply_adds"] == expected, name
        module = network.get_submodule(name)
        assert part["parameters"] == sum(p.numel() for p in module.parameters()), name


def test_top_level_parts_add_up_to_the_whole():
    summary = summarize(build_model(attention="cbam", encoder_args=TINY), 64)
    names = ["encoder", "image_skip", *(f"decoder.{step}" for step in range(1, 6)), "head"]
    for key in ("parameters", "multiply_adds"):
        assert sum(summary["parts"][name][key] for name in names) == summary[key]


def test_names_and_shapes_of_the_parts():
    summary = summarize(build_model(attention="se", encoder_args=TINY), 64)
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


def test_is_plain_json_and_leaves_the_network_as_it_was():
    network = build_model(encoder_args=TINY).train()
    statistics = network.encoder.network.norm.running_mean.clone()
    summary = summarize(network, 64)
    assert json.loads(json.dumps(summary)) == summary
    assert network.training
    assert torch.equal(network.encoder.network.norm.running_mean, statistics)
    assert not any(module._forward_hooks for module in network.modules())
    assert not any("attention" in name for name in summary["parts"])
