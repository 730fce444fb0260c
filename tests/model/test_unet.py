"""What is the Res-UNet's own: its attention, its size, its dropout."""

import pytest
import torch
from torch import nn

from brainseg.errors import InputError
from brainseg.model.attention import CBAM, AttentionGate, SqueezeExcitation
from brainseg.model.unet import build_resunet

TINY = {"layers": [1, 1, 1, 1], "channels": [16, 32, 64, 128], "stem_chs": 16}
KINDS = ["none", "ag", "se", "cbam"]
each_variant = pytest.mark.parametrize(
    ("attention", "attention_at"),
    [("none", "paper"), ("ag", "paper"), *((a, p) for a in KINDS[2:] for p in ("paper", "skips"))],
)


def build(attention="none", attention_at="paper", **options):
    torch.manual_seed(0)
    options = {"encoder_args": TINY} | options
    return build_resunet(attention=attention, attention_at=attention_at, **options)


@each_variant
def test_attention_stands_where_it_should(attention, attention_at):
    modules = {"none": (), "ag": AttentionGate, "se": SqueezeExcitation, "cbam": CBAM}
    network = build(attention, attention_at)
    found = {name for name, m in network.named_modules() if isinstance(m, modules[attention])}
    skips = {f"decoder.{step}.attention" for step in range(1, 6)}
    blocks = {f"decoder.{step}.block.attention" for step in range(1, 6)}
    both = attention_at == "paper" and attention in ("se", "cbam")
    assert found == (set() if attention == "none" else skips | blocks if both else skips)


@each_variant
def test_attention_changes_what_the_skips_say(attention, attention_at):
    network = build(attention, attention_at).eval()
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        before = network(image)
        for name, module in network.named_modules():
            if name.endswith("sigmoid"):
                module.register_forward_hook(lambda _, __, output: torch.zeros_like(output))
        after = network(image)
    assert torch.equal(before, after) == (attention == "none")


@pytest.mark.parametrize(
    ("attention", "mebibytes"), [("none", 126.49), ("ag", 127.21), ("se", 127.09), ("cbam", 128.82)]
)
def test_sizes_of_table_1(attention, mebibytes):
    network = build(attention, encoder_args=None)
    size = sum(4 * p.numel() for p in network.parameters()) / 2**20
    assert size == pytest.approx(mebibytes, rel=0.015)


def test_dropout_is_that_of_the_configuration_and_off_in_eval():
    network = build(dropout=0.5)
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout) and m.p] == [0.5] * 5
    image = torch.rand(2, 1, 64, 64)
    assert torch.equal(network.eval()(image), network(image))


@pytest.mark.parametrize("attention", ["ag", "cbam"])
def test_a_step_without_a_skip_just_doubles(attention):
    arguments = {"dims": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}  # nothing at half the size
    network = build(attention, encoder="convnext_atto", encoder_args=arguments)
    logits = network(torch.rand(2, 1, 64, 96))
    assert logits.shape == (2, 1, 64, 96)
    logits.square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("option", ["attention", "attention_at"])
def test_unknown_choices_are_refused(option):
    with pytest.raises(InputError, match=rf"Unknown model\.{option} sea\. Choose from: "):
        build(**{option: "sea"})
