"""The coefficients are what the skips were really multiplied with."""

import pytest
import torch

from brainseg.model.attention import NoAttention
from brainseg.model.coefficients import attention_coefficients
from brainseg.model.unet import build_resunet

TINY = {"layers": [1, 1, 1, 1], "channels": [16, 32, 64, 128], "stem_chs": 16}
STEPS = [f"decoder.{step}.attention" for step in range(1, 6)]
BLOCKS = [f"decoder.{step}.block.attention" for step in range(1, 6)]


def build(attention, attention_at="paper"):
    torch.manual_seed(0)
    return build_resunet(attention=attention, attention_at=attention_at, encoder_args=TINY).eval()


def watch(network, images):
    """What goes into each attention module and what comes out of it."""
    seen = {}

    def note(name, inputs, output):
        seen[name] = inputs[0], output

    for name, module in network.named_modules():
        if name.endswith("attention") and not isinstance(module, NoAttention):
            module.register_forward_hook(lambda _, i, o, name=name: note(name, i, o))
    with torch.inference_mode():
        network(images)
    return seen


@pytest.mark.parametrize("attention", ["ag", "se", "cbam"])
@pytest.mark.parametrize("attention_at", ["paper", "skips"])
def test_coefficients_turn_what_goes_in_into_what_comes_out(attention, attention_at):
    network, images = build(attention, attention_at), torch.rand(3, 1, 64, 64)
    found = attention_coefficients(network, images)
    seen = watch(network, images)
    assert {name.removesuffix(".channels") for name in found} == seen.keys()
    for name, (skip, attended) in seen.items():
        expected = skip
        for key in (f"{name}.channels", name):
            if key in found:
                values = found[key]
                maps = values.dim() == 3
                expected = expected * (values[:, None] if maps else values[:, :, None, None])
        torch.testing.assert_close(attended, expected)


@pytest.mark.parametrize(
    ("attention", "shapes"),
    [
        ("ag", dict(zip(STEPS, [(4, 4), (8, 8), (16, 16), (32, 32), (64, 64)], strict=True))),
        ("se", {STEPS[4]: (16,), BLOCKS[4]: (16,), BLOCKS[0]: (256,)}),
        ("cbam", {STEPS[3]: (32, 32), f"{STEPS[4]}.channels": (16,), BLOCKS[2]: (16, 16)}),
    ],
)
def test_maps_have_a_pixel_each_and_channels_a_number_each(attention, shapes):
    found = attention_coefficients(build(attention), torch.rand(2, 1, 64, 64))
    assert {name: tuple(found[name].shape[1:]) for name in shapes} == shapes
    assert all(len(values) == 2 for values in found.values())
    assert all(values.min() >= 0 and values.max() <= 1 for values in found.values())


def test_a_network_without_attention_has_none_and_hooks_do_not_stay():
    network = build("none")
    assert attention_coefficients(network, torch.rand(1, 1, 64, 64)) == {}
    gated = build("ag")
    attention_coefficients(gated, torch.rand(1, 1, 64, 64))
    assert not any(module._forward_hooks for module in gated.modules())
