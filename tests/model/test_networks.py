"""One tester that every network passes."""

import json

import numpy as np
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from brainseg.errors import InputError
from brainseg.model.coefficients import attention_coefficients
from brainseg.model.registry import ARCHITECTURES, check_network, part_names
from brainseg.model.summary import summarize


class TestEveryNetwork:
    def test_logits_have_the_size_of_the_image(self, network, config):
        odd = config["name"] == "smp_unet"
        for size in ((64, 96),) if odd else ((64, 64), (65, 97)):
            with torch.no_grad():
                logits = network.eval()(torch.rand(2, 1, *size))
            assert logits.shape == (2, 1, *size)
            assert logits.isfinite().all()
            assert logits.std() > 0

    def test_every_parameter_gets_a_gradient(self, network):
        network.train()(torch.rand(4, 1, 64, 64)).square().mean().backward()
        parameters = network.named_parameters()
        assert [name for name, p in parameters if p.grad is None or not p.grad.any()] == []

    def test_the_exported_graph_computes_the_same(self, network, config):
        size = (32, 32) if config["name"] == "smp_unet" else (17, 23)
        program = torch.onnx.export(
            network.eval(),
            (torch.rand(2, 1, *size),),
            input_names=["image"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            opset_version=18,
            verbose=False,
        )
        image = torch.rand(1, 1, *size)  # another batch than in the export
        (logits,) = ReferenceEvaluator(program.model_proto).run(None, {"image": image.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(logits, network(image).numpy(), rtol=0, atol=1e-5)

    def test_channels_last_and_bfloat16_train(self, network):
        image = torch.rand(4, 1, 64, 64)
        for module in network.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        expected = network.train()(image)
        network.to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(image.to(memory_format=torch.channels_last))
        assert logits.dtype == torch.bfloat16
        logits.float().square().mean().backward()
        assert all(p.grad.isfinite().all() for p in network.parameters())
        assert (logits.float() - expected).abs().mean() < 0.1 * expected.std()

    def test_is_checked_and_summarised_and_left_as_it_was(self, network, config):
        before = {key: value.clone() for key, value in network.state_dict().items()}
        check_network(network.train(), 64)
        summary = summarize(network, 64, part_names(config, network))
        assert json.loads(json.dumps(summary)) == summary
        assert network.training
        assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
        assert not any(module._forward_hooks for module in network.modules())
        assert summary["parameters"] == sum(p.numel() for p in network.parameters())
        for key in ("parameters", "multiply_adds"):
            parts = {n: part[key] for n, part in summary["parts"].items() if "attention" not in n}
            assert sum(parts.values()) == summary[key] > 0

    def test_coefficients_lie_between_0_and_1_and_belong_to_a_part(self, network, config):
        found = attention_coefficients(network, torch.rand(2, 1, 64, 64))
        attended = config.get("attention", "none") != "none"
        assert bool(found) == attended
        assert ARCHITECTURES[config["name"]].has_attention or not attended
        names = {name.removesuffix(".channels") for name in found}
        assert names == {name for name in part_names(config, network) if "attention" in name}
        assert all(len(values) == 2 for values in found.values())
        assert all(values.min() >= 0 and values.max() <= 1 for values in found.values())


@pytest.mark.parametrize("config", ["fifth at paper", "fifth at skips"], indirect=True)
def test_a_new_attention_stands_where_its_class_says(network, config, fifth):
    found = {name for name, module in network.named_modules() if isinstance(module, fifth)}
    skips = {f"decoder.{step}.attention" for step in range(1, 6)}
    blocks = {f"decoder.{step}.block.attention" for step in range(1, 6)}
    assert found == (skips if config["attention_at"] == "skips" else skips | blocks)


@pytest.mark.parametrize("config", ["smp_unet"], indirect=True)
def test_the_peer_normalises_inside_and_names_the_next_valid_size(network):
    image = torch.rand(2, 1, 64, 64)
    with torch.no_grad():  # mean and std of its encoder are 0.5
        assert torch.equal(network.eval()(image), network.network((image - 0.5) / 0.5))
    with pytest.raises(InputError, match=r"multiples of 32, found 72×72\. The next .* is 96×96"):
        check_network(network, 72)
