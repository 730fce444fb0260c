"""The reading of checkpoints."""

import pytest
import torch
from torch import nn

from brainseg.errors import InputError
from brainseg.model.checkpoint import load_network, load_weights
from brainseg.model.unet import build_resunet

TINY = {"layers": [1, 1, 1, 1], "channels": [16, 32, 64, 128], "stem_chs": 16}


def build(attention="none"):
    torch.manual_seed(0)
    return build_resunet(attention=attention, encoder_args=TINY)


def scramble(network):
    """Give the running statistics values that a wrong use of them would show."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network


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


def test_a_run_of_before_models_had_names_gives_probabilities(trained):
    assert "name" not in trained.read_config()["model"]
    network, image = load_network(trained), torch.rand(2, 1, 32, 32)
    assert not network.training
    with torch.no_grad():
        torch.testing.assert_close(network(image), network[0](image).sigmoid())


def test_nothing_is_downloaded_to_load_a_run(trained, monkeypatch):
    config = trained.read_config()
    config["model"]["weights"] = "imagenet"
    monkeypatch.setattr(type(trained), "read_config", lambda _: config)
    assert isinstance(load_network(trained), nn.Sequential)
