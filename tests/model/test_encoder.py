"""The encoder: where it is tapped, its weights, and what it refuses."""

import pytest
import timm
import torch
from torch import nn

from brainseg.errors import InputError
from brainseg.model import encoder as room
from brainseg.model.encoder import REDUCTIONS, build_encoder

SMALL = {"layers": [2, 2, 2, 2], "channels": [16, 32, 64, 128], "stem_chs": 16}


@pytest.fixture(scope="module")
def full():
    return build_encoder("resnetv2_50", {}, "none").eval()


def test_the_full_network_is_tapped_where_the_paper_does(full):
    image = torch.rand(1, 1, 224, 224)
    reference = timm.create_model("resnetv2_50", in_chans=1, num_classes=0).eval()
    reference.load_state_dict(full.network.state_dict())
    nodes = (
        "norm",
        "stages.2.blocks.4",
        "stages.1.blocks.3.conv1",
        "stages.0.blocks.2.conv1",
        "stem.conv",
    )
    seen = {}
    for node in nodes:
        reference.get_submodule(node).register_forward_hook(
            lambda _, __, output, node=node: seen.update({node: output})
        )
    with torch.no_grad():
        features = full(image)
        reference(image * 2 - 1)  # mean and std of this network are 0.5
    assert [tuple(feature.shape[1:]) for feature in features] == [
        (2048, 7, 7),
        (1024, 14, 14),
        (128, 28, 28),
        (64, 56, 56),
        (64, 112, 112),
    ]
    for node, feature in zip(nodes, features, strict=True):
        torch.testing.assert_close(feature, seen[node], msg=node)
    assert features[0].min() == 0  # the deepest comes with its ReLU


def test_channels_and_parameters(full):
    assert [full.channels[r] for r in REDUCTIONS] == [2048, 1024, 128, 64, 64]
    assert sum(p.numel() for p in full.parameters()) == 23_494_080  # ResNet-50, one channel


def test_batch_norm_learns_in_training_only():
    encoder = build_encoder("resnetv2_50", SMALL, "none")
    norms = [module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)]
    encoder.eval()(torch.rand(2, 1, 64, 64))
    assert all(norm.num_batches_tracked == 0 for norm in norms)
    encoder.train()(torch.rand(2, 1, 64, 64))
    assert len(norms) == 25
    assert all(norm.num_batches_tracked == 1 for norm in norms)


@pytest.mark.parametrize(
    ("name", "arguments", "size", "missing"),
    [
        ("resnetv2_50", SMALL, (65, 97), []),
        ("resnetv2_50", {**SMALL, "layers": [1, 1, 1, 1]}, (65, 97), []),
        ("resnetv2_18", SMALL, (33, 64), []),  # two convolutions a block
        ("resnetv2_50d", SMALL, (33, 64), []),  # a stem of three convolutions
        ("resnet18", {}, (64, 96), []),
        ("convnext_atto", {"dims": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}, (64, 96), [2]),
    ],
)
def test_features_have_the_promised_channels_and_sizes(name, arguments, size, missing):
    encoder = build_encoder(name, arguments, "none").eval()
    with torch.no_grad():
        features = encoder(torch.rand(1, 1, *size))
    for reduction, feature in zip(REDUCTIONS, features, strict=True):
        if reduction in missing:
            assert feature is None
            assert reduction not in encoder.channels
        else:
            sides = [-(-side // reduction) for side in size]
            assert list(feature.shape[1:]) == [encoder.channels[reduction], *sides]


def test_other_networks_get_a_norm_and_a_relu_on_every_level():
    encoder = build_encoder("resnet18", {}, "none").train()
    for feature in encoder(10 * torch.rand(4, 1, 64, 64)):
        assert feature.min() == 0
        # a standard normal cut at 0 has mean 0.399
        assert feature.mean().item() == pytest.approx(0.4, abs=0.15)


def test_a_network_with_channels_last_features_is_turned():
    arguments = {"embed_dim": 12, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1)}
    encoder = build_encoder("swin_tiny_patch4_window7_224", arguments, "none").eval()
    with torch.no_grad():
        shapes = [
            f.shape[1:] if f is not None else None for f in encoder(torch.rand(1, 1, 224, 224))
        ]
    assert shapes == [(96, 7, 7), (48, 14, 14), (24, 28, 28), (12, 56, 56), None]


@pytest.fixture
def pretrained(tmp_path):
    """A three-channel classifier with weights and statistics of its own, and its file."""
    torch.manual_seed(1)
    network = timm.create_model("resnetv2_50", **SMALL).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    path = tmp_path / "weights.pth"
    torch.save(network.state_dict(), path)
    return network, path


def test_one_channel_equals_grey_repeated_three_times(pretrained):
    network, path = pretrained
    encoder = build_encoder("resnetv2_50", SMALL, str(path)).eval()
    image = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        deep, *_, stem = encoder(image)
        grey = (image.repeat(1, 3, 1, 1) - 0.5) / 0.5
        torch.testing.assert_close(stem, network.stem.conv(grey), rtol=0, atol=1e-5)
        torch.testing.assert_close(deep, network.forward_features(grey), rtol=1e-4, atol=1e-4)


def test_normalisation_averages_the_three_channels():
    encoder = build_encoder("resnet18", {}, "none")
    assert encoder.mean == pytest.approx((0.485 + 0.456 + 0.406) / 3)
    assert encoder.std == pytest.approx((0.229 + 0.224 + 0.225) / 3)


@pytest.mark.parametrize("name", ["resnetv2_50", "resnet18", "mobilenetv3_small_050"])
def test_weights_of_another_network_are_refused(name, pretrained):
    _, path = pretrained
    with pytest.raises(InputError, match=rf"weights\.pth cannot be used.*timm's {name}"):
        build_encoder(name, {}, str(path))


@pytest.mark.parametrize("content", [None, b"", b"not a checkpoint"])
def test_weights_that_cannot_be_read_are_refused(content, tmp_path):
    path = tmp_path / "weights.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"weights\.pth cannot be used.*Expected none, imagenet"):
        build_encoder("resnetv2_50", SMALL, str(path))


def test_features_only_networks_load_files_too(tmp_path):
    source = timm.create_model("resnet18")
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    encoder = build_encoder("resnet18", {}, str(tmp_path / "weights.pth"))
    loaded = encoder.network.network
    torch.testing.assert_close(loaded.conv1.weight, source.conv1.weight.sum(1, keepdim=True))
    torch.testing.assert_close(loaded.layer4[1].conv2.weight, source.layer4[1].conv2.weight)


def test_an_unreachable_hub_offers_the_other_choices(monkeypatch):
    create = timm.create_model

    def offline(name, pretrained=False, **arguments):
        if pretrained:
            raise ConnectionError("hub not reachable")
        return create(name, **arguments)

    monkeypatch.setattr(room.timm, "create_model", offline)
    with pytest.raises(InputError) as caught:
        build_encoder("resnetv2_50", SMALL, "imagenet")
    for part in ("hub not reachable", "network", "model.weights=none", "model.weights=/path"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("resnetv2_5", {}, "closest names: resnetv2_50"),
        ("resnetv2_50", {"layrs": [1]}, "layrs"),
        ("resnetv2_50", {"in_chans": 3}, "in_chans"),
        ("resnetv2_50", {**SMALL, "output_stride": 16}, "1/32"),
        ("vit_tiny_patch16_224", {"depth": 3, "embed_dim": 12}, "1/32"),
    ],
)
def test_unfit_encoders_are_refused(name, arguments, message):
    with pytest.raises(InputError, match=message):
        build_encoder(name, arguments, "none")


def test_other_networks_name_the_next_valid_size():
    encoder = build_encoder("resnet18", {}, "none")
    with pytest.raises(InputError, match=r"found 65×96\. The next valid size is 96×96"):
        encoder(torch.rand(1, 1, 65, 96))
