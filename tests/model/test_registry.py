"""How networks are built, and what is refused."""

import os
import sys

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

from brainseg.errors import InputError
from brainseg.model import smp_unet
from brainseg.model.registry import build_model, build_network, check_network
from brainseg.model.unet import ResUNet

TINY = {"layers": [1, 1, 1, 1], "channels": [16, 32, 64, 128], "stem_chs": 16}


def test_a_configuration_of_before_models_had_names_is_a_resunet():
    assert isinstance(build_network({"attention": "se", "encoder_args": TINY}), ResUNet)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("unet", {}, "Unknown model unet. Choose from: resunet, smp_unet, own"),
        ("smp_unet", {"attention": "se"}, r"no setting attention; .* belongs to model=resunet\."),
        ("resunet", {"atention": "se"}, "no setting atention; expected attention, attention_at"),
        ("own", {}, "requires model.target"),
        ("smp_unet", {"encoder": "tu-resnetv2_5"}, "refuses model.encoder=tu-resnetv2_5"),
        ("smp_unet", {"args": {"depth": 3}}, "refuses .*depth"),
        ("smp_unet", {"weights": "a.pth"}, "takes none or imagenet"),
    ],
)
def test_what_no_network_knows_is_refused(name, settings, message):
    with pytest.raises(InputError, match=message):
        build_model(name, **settings)


def test_a_missing_extra_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(InputError, match=r"pip install segmentation-models-pytorch"):
        build_model("smp_unet")


def test_an_encoder_without_weights_asks_no_hub(monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("asked a hub"))
    network = build_model("smp_unet", encoder="mobilenet_v2")
    assert network.mean.item() == pytest.approx(0.449)


class TestOwn:
    @pytest.mark.parametrize("target", ["os.system", "subprocess.Popen", "builtins.exec"])
    def test_only_networks_are_called(self, target, folder):
        with pytest.raises(InputError, match="is no subclass of"):
            build_model("own", target=target, args={"command": "touch called"})
        with pytest.raises(InputError, match="is no subclass of"):
            build_model("own", target=target, args={"args": ["touch", "called"]})
        assert not (folder / "called").exists()

    @pytest.mark.parametrize(
        ("target", "message"),
        [
            ("SmallNet", "expected package.module.Class"),
            ("nets.large.Net", r"No module named 'nets.large'.*must lie in the current folder"),
            ("nets.small.LargeNet", "has no attribute 'LargeNet'"),
            ("nets.broken.Net", "cannot be imported .*division by zero"),
            ("nets.small.SmallNet", r"does not take model.args=\{'depth': 3\} .*'depth'"),
        ],
    )
    def test_what_cannot_be_built_is_refused(self, target, message, folder):
        (folder / "nets" / "broken.py").write_text("1 / 0")
        with pytest.raises(InputError, match=message):
            build_model("own", target=target, args={"depth": 3})

    def test_the_current_folder_is_searched_last(self, folder):
        (folder / "os.py").write_text("raise RuntimeError")
        build_model("own", target="nets.small.SmallNet", args={"width": 2})
        assert os.path is not None
        with pytest.raises(InputError, match="no subclass"):
            build_model("own", target="json.loads")


class Fixed(nn.Module):
    """Gives the same for every image."""

    def __init__(self, output, trains=True):
        super().__init__()
        self.output = output
        self.weight = nn.Parameter(torch.ones(1), requires_grad=trains)

    def forward(self, image):
        return self.output


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Fixed(torch.zeros(2, 2, 32, 32)), "Fixed gives 2×2×32×32 for images of 2×1×32×32"),
        (Fixed({"out": torch.zeros(2, 1, 32, 32)}), "Fixed gives dict"),
        (nn.Conv2d(3, 1, 1), r"Conv2d fails on images of 32×32 \(RuntimeError"),
        (Fixed(torch.zeros(2, 1, 32, 32), trains=False), "no parameters to train"),
    ],
)
def test_what_cannot_be_trained_is_refused_before(network, message):
    with pytest.raises(InputError, match=message):
        check_network(network, 32)


def test_weights_of_the_peer_are_asked_for_as_it_calls_them(monkeypatch):
    asked = []

    def note(encoder, **options):
        asked.append((encoder, options["encoder_weights"]))
        raise ConnectionError("hub not reachable")

    monkeypatch.setattr(smp, "Unet", note)
    for encoder, weights in (("tu-resnet18", "imagenet"), ("resnet18", "imagenet"), ("x", "none")):
        with pytest.raises(InputError, match="hub not reachable"):
            smp_unet.build_smp_unet(encoder=encoder, weights=weights)
    assert asked == [("tu-resnet18", True), ("resnet18", "imagenet"), ("x", None)]
