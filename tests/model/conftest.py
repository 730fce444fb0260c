"""Every network that the registry knows, and two that only tests know."""

import sys

import pytest
import torch
from torch import nn

from brainseg.model.attention import ATTENTIONS, Attention
from brainseg.model.registry import build_network

TINY = {"layers": [1, 1, 1, 1], "channels": [16, 32, 64, 128], "stem_chs": 16}
CONFIGS = {
    **{
        f"{attention} at {place}": {
            "name": "resunet",
            "attention": attention,
            "attention_at": place,
            "encoder_args": TINY,
        }
        for attention in ("none", "ag", "se", "cbam", "fifth")
        for place in ("paper", "skips")
        if place == "paper" or attention not in ("none", "ag")
    },
    "smp_unet": {"name": "smp_unet", "args": TINY | {"decoder_channels": [32, 16, 16, 8, 8]}},
    "own": {"name": "own", "target": "nets.small.SmallNet", "args": {"width": 6}},
}
SMALL_NET = """
from torch import nn


class SmallNet(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.steps = nn.ModuleList([nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width)])
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, image):
        for step in self.steps:
            image = step(image)
        return self.head(image.relu())
"""


@pytest.fixture
def fifth(monkeypatch):
    """An attention that only tests know, while a test lasts."""
    monkeypatch.setitem(ATTENTIONS, "fifth", None)  # so that it goes afterwards

    class Fifth(Attention):
        name = "fifth"
        in_blocks = True
        coefficients = {"": "squash"}  # noqa: RUF012

        def __init__(self, channels):
            super().__init__()
            self.mix = nn.Conv2d(channels, 1, 1)
            self.squash = nn.Hardsigmoid()

        def forward(self, skip, gate=None):
            return skip * self.squash(self.mix(skip))

    return Fifth


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a package `nets` in it, of which Python knows nothing else."""
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "small.py").write_text(SMALL_NET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == "nets"]:
        del sys.modules[name]


@pytest.fixture(params=CONFIGS)
def config(request, fifth, folder):
    """The group `model` of each network."""
    return CONFIGS[request.param]


@pytest.fixture
def network(config):
    """Each network, with running statistics that a wrong use of them would show."""
    torch.manual_seed(0)
    network = build_network(config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network
