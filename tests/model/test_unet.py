"""One tester that every variant of the network passes, and the reading of checkpoints."""

import numpy as np
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import nn

from brainseg.errors import InputError
from brainseg.model.attention import CBAM, AttentionGate, SqueezeExcitation
from brainseg.model.checkpoint import load_weights
from brainseg.model.unet import build_model

TINY = {"layers": [1, 1, 1, 1], "channels": [16, 32, 64, 128], "stem_chs": 16}
KINDS = ["none", "ag", "se", "cbam"]
each_variant = pytest.mark.parametrize(
    ("attention", "attention_at"),
    [("none", "paper"), ("ag", "paper"), *((a, p) for a in KINDS[2:] for p in ("paper", "skips"))],
)


def build(attention="none", attention_at="paper", **options):
    torch.manual_seed(0)
    options = {"encoder_args": TINY} | options
    return build_model(attention=attention, attention_at=attention_at, **options)


def scramble(network):
    """Give the running statistics values that a wrong use of them would show."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network


@each_variant
@pytest.mark.parametrize("size", [(64, 64), (65, 97)])
def test_logits_have_the_size_of_the_image(attention, attention_at, size):
    network = build(attention, attention_at).eval()
    with torch.no_grad():
        logits = network(torch.rand(2, 1, *size))
    assert logits.shape == (2, 1, *size)
    assert logits.isfinite().all()
    assert logits.std() > 0


@each_variant
def test_every_parameter_gets_a_gradient(attention, attention_at):
    network = build(attention, attention_at).train()
    network(torch.rand(4, 1, 64, 64)).square().mean().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


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


@pytest.mark.parametrize("attention", KINDS)
def test_the_exported_graph_computes_the_same(attention):
    network = scramble(build(attention)).eval()
    program = torch.onnx.export(
        network,
        (torch.rand(2, 1, 17, 23),),
        input_names=["image"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        opset_version=18,
        verbose=False,
    )
    image = torch.rand(1, 1, 17, 23)  # another batch than in the export
    (logits,) = ReferenceEvaluator(program.model_proto).run(None, {"image": image.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(logits, network(image).numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("attention", KINDS)
def test_channels_last_and_bfloat16_train(attention):
    plain = build(attention, dropout=0.0)
    network = build(attention, dropout=0.0).to(memory_format=torch.channels_last)
    image = torch.rand(4, 1, 64, 64)
    expected = plain(image)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(image.to(memory_format=torch.channels_last))
    assert logits.dtype == torch.bfloat16
    logits.float().square().mean().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())
    assert (logits.float() - expected).abs().mean() < 0.1 * expected.std()


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
    with pytest.raises(InputError, match=rf"model\.{option} in .*found sea"):
        build(**{option: "sea"})


@pytest.mark.parametrize("lightning", [False, True])
def test_checkpoints_load(lightning, tmp_path):
    source, target = scramble(build("se")), build("se")
    content = source.state_dict()
    if lightning:
        weights = {f"network.{key}": value for key, value in content.items()}
        content = {"state_dict": weights | {"loss.weight": torch.ones(1)}, "epoch": 3}
    torch.save(content, tmp_path / "best.ckpt")
    image = torch.rand(1, 1, 64, 64)
    assert not torch.equal(target.eval()(image), source.eval()(image))
    load_weights(target, tmp_path / "best.ckpt")
    assert torch.equal(target(image), source(image))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"", "cannot be read"),
        (b"not a checkpoint", "cannot be read"),
        (b"0", "cannot be read"),  # an opcode that takes from an empty stack
        ([1, 2], "another network"),
        ({"state_dict": {"network.head.weight": torch.ones(1)}}, "another network"),
    ],
)
def test_checkpoints_that_do_not_fit_are_refused(content, message, tmp_path):
    path = tmp_path / "best.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(InputError, match=rf"best\.ckpt .*{message}"):
        load_weights(build(), path)


def test_a_checkpoint_of_another_variant_is_refused(tmp_path):
    torch.save(build("ag").state_dict(), tmp_path / "best.ckpt")
    with pytest.raises(InputError, match="another network"):
        load_weights(build("none"), tmp_path / "best.ckpt")


def test_a_checkpoint_with_code_in_it_is_refused(tmp_path):
    torch.save(build(), tmp_path / "best.ckpt")  # a pickled module
    with pytest.raises(InputError, match="cannot be read"):
        load_weights(build(), tmp_path / "best.ckpt")
