"""The encoder: a timm network that gives one feature per reduction of the image size."""

import difflib
import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import timm
from timm.models import load_state_dict
from timm.models.resnetv2 import ResNetV2
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from brainseg.errors import InputError, brief

REDUCTIONS = (32, 16, 8, 4, 2)
"""Image size divided by feature size, from the deepest feature to the shallowest."""


class Encoder(nn.Module):
    """Normalises the image and runs the network.

    Args:
        network: maps the normalised image to a dictionary of features keyed by `str(reduction)`.
        channels: channels of each feature, keyed by reduction; levels may be missing, 32 may not.
        multiple: the image's height and width must be multiples of this.
        mean: mean of the pixels for which the network was made.
        std: their standard deviation.
    """

    def __init__(
        self,
        network: nn.Module,
        channels: Mapping[int, int],
        multiple: int,
        mean: float,
        std: float,
    ) -> None:
        super().__init__()
        self.network = network
        self.channels = dict(channels)
        self.multiple = multiple
        self.mean = mean
        self.std = std

    def forward(self, image: Tensor) -> list[Tensor | None]:
        """Features of `image` (N×1×H×W in [0, 1]) in the order of `REDUCTIONS`.

        Raises:
            InputError: the height or the width does not suit the network.
        """
        check_multiple(image.shape[-2], image.shape[-1], self.multiple)
        features = self.network((image - self.mean) / self.std)
        return [features.get(str(reduction)) for reduction in REDUCTIONS]


def check_multiple(height: int, width: int, multiple: int) -> None:
    """Check that the height and the width of images are multiples of a number.

    Raises:
        InputError: it names the next valid size.
    """
    if height % multiple or width % multiple:
        valid = "×".join(str(-(-n // multiple) * multiple) for n in (height, width))
        raise InputError(
            f"This encoder takes images whose sides are multiples of {multiple}, found "
            f"{height}×{width}. The next valid size is {valid}: set data.image_size, or use "
            "model=resunet with a ResNetV2 encoder, which takes any size."
        )


class Pyramid(nn.Module):
    """The `features_only` levels of a timm network, each followed by BatchNorm and ReLU.

    Such levels may be raw sums of residuals: their scales differ by a factor of 50.
    """

    def __init__(self, network: Any, levels: Mapping[int, int]) -> None:
        super().__init__()
        self.network = network
        self.levels = dict(levels)
        self.channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"
        channels = network.feature_info.channels()
        self.norms = nn.ModuleDict(
            {
                str(reduction): nn.Sequential(nn.BatchNorm2d(channels[level]), nn.ReLU())
                for reduction, level in levels.items()
            }
        )

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Features of the normalised `image` (N×1×H×W), keyed by `str(reduction)`."""
        features = self.network(image)
        if self.channels_last:
            features = [feature.permute(0, 3, 1, 2) for feature in features]
        return {key: norm(features[self.levels[int(key)]]) for key, norm in self.norms.items()}


OURS = frozenset(
    {
        *("model_name", "in_chans", "num_classes", "features_only", "feature_cfg", "global_pool"),
        *("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_strict"),
        *("checkpoint_path", "cache_dir", "scriptable", "exportable", "no_jit"),
    }
)
"""Arguments of timm that brainseg gives itself, or never gives."""


def check_arguments(encoder: str, arguments: Mapping[str, Any]) -> None:
    """Check that a timm network can be given some arguments, as far as their names tell.

    Raises:
        InputError: brainseg gives one itself, or the network is a ResNetV2 and does not take one.
    """
    taken = inspect.signature(ResNetV2).parameters.keys() - OURS
    for name in arguments:
        if name in OURS:
            raise InputError(
                f"model.encoder_args has {name}, which brainseg keeps to itself: it gives its own, "
                "or none. Take it out; weights are chosen by model.weights."
            )
        if is_resnetv2(encoder) and name not in taken:
            raise InputError(
                f"model.encoder_args has {name}, which model.encoder={encoder} does not take. "
                f"Choose from: {', '.join(sorted(taken))}."
            )


def is_resnetv2(name: str) -> bool:
    """Whether timm has a ResNetV2 of that name: it is tapped where the paper does."""
    return timm.is_model(name) and timm.model_entrypoint(name).__module__ == ResNetV2.__module__


def size_multiple(name: str) -> int:
    """The height and the width of images must be multiples of this for the encoder `name`."""
    return 1 if is_resnetv2(name) or not timm.is_model(name) else 32


def build_encoder(name: str, arguments: Mapping[str, Any], weights: str) -> Encoder:
    """The encoder `name`, as timm calls it.

    Args:
        name: a timm network; a ResNetV2 is tapped where the paper does (SPEC section 7).
        arguments: further arguments of the timm network, such as `layers` and `channels`.
        weights: `none`, `imagenet` (downloaded) or the path of a state dictionary of that network.

    Raises:
        InputError: timm has no such network, it does not take these arguments or has no suitable
            features, or the weights cannot be had.
    """
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=5, cutoff=0.4)
        raise InputError(
            f"model.encoder={name} is not a network of timm {timm.__version__}. The closest names: "
            f"{', '.join(close) or 'none'}. `timm.list_models()` lists all."
        )
    tapped = is_resnetv2(name)
    kind = {"num_classes": 0} if tapped else {"features_only": True}
    network = _create(name, arguments, weights, **kind)
    mean, std = (fmean(network.pretrained_cfg[key]) for key in ("mean", "std"))
    features, channels = (_tap if tapped else _pyramid)(network)
    return Encoder(features, channels, multiple=size_multiple(name), mean=mean, std=std)


def _create(name: str, arguments: Mapping[str, Any], weights: str, **kind: Any) -> Any:
    """The timm network for one channel, with its weights. Its attributes are timm's own."""
    # timm and its hub raise whatever they meet, hence the broad excepts.
    try:
        make = partial(timm.create_model, name, in_chans=1, **kind, **arguments)
        network = make()
    except Exception as error:
        raise InputError(
            f"model.encoder={name} does not take model.encoder_args={dict(arguments)} "
            f"({brief(error)}). Expected arguments of that timm network, and a network that "
            "offers a pyramid of features."
        ) from error
    if weights == "none":
        return network
    if weights == "imagenet":
        try:
            return make(pretrained=True)
        except Exception as error:
            raise InputError(
                f"The ImageNet weights of {name} could not be loaded from timm's hub, which needs "
                f"a network connection and the unchanged architecture ({brief(error)}). Use "
                "model.weights=none, or model.weights=/path/to/file with weights you already have."
            ) from error
    try:
        _check_file(Path(weights), network)
        # Not `load_state_dict`: timm drops the classifier and sums the stem's three channels.
        return make(pretrained=True, pretrained_cfg_overlay={"file": weights})
    except Exception as error:
        raise InputError(
            f"model.weights={weights} cannot be used ({brief(error)}). Expected none, imagenet "
            f"or the path of a state dictionary of timm's {name} with the same model.encoder_args."
        ) from error


def _check_file(path: Path, network: nn.Module) -> None:
    """Refuse a file that lacks a parameter of `network`; timm would leave it random."""
    if not path.is_file():
        raise FileNotFoundError("there is no such file")

    def flat(key: str) -> str:  # timm renames the modules of its `features_only` networks
        return key.removeprefix("model.").replace(".", "_")

    found = {flat(key) for key in load_state_dict(str(path), device="cpu", weights_only=True)}
    missing = [key for key, _ in network.named_parameters() if flat(key) not in found]
    if missing:
        raise ValueError(f"{len(missing)} parameters are missing, the first is {missing[0]}")


def _tap(network: Any) -> tuple[nn.Module, dict[int, int]]:
    """The network with the paper's five taps as outputs, and their channels."""
    _check_reductions([level["reduction"] for level in network.feature_info], REDUCTIONS)
    stem, stage3 = network.feature_info[0], network.feature_info[3]
    taps = {"norm": 32, f"stages.2.blocks.{max(len(network.stages[2].blocks) - 2, 0)}": 16}
    channels = {32: network.num_features, 16: stage3["num_chs"], 2: stem["num_chs"]}
    for stage, reduction in ((1, 8), (0, 4)):
        *_, (index, block) = network.stages[stage].blocks.named_children()
        # A stage's only block halves the size in its second convolution: tap behind that.
        convolution = "conv1" if block.conv2.stride == (1, 1) else "conv2"
        taps[f"stages.{stage}.blocks.{index}.{convolution}"] = reduction
        channels[reduction] = block.get_submodule(convolution).out_channels
    taps[stem["module"]] = 2
    features = create_feature_extractor(
        network,
        {node: str(reduction) for node, reduction in taps.items()},
        # As leaves, timm's normalisation layers keep all of their buffers.
        tracer_kwargs={"leaf_modules": [nn.BatchNorm2d, nn.GroupNorm, nn.Conv2d]},
        suppress_diff_warning=True,
    )
    return features, channels


def _pyramid(network: Any) -> tuple[nn.Module, dict[int, int]]:
    """The network's own levels with norms, and their channels."""
    info = network.feature_info
    _check_reductions(info.reduction(), (32,))
    levels = {r: level for level, r in enumerate(info.reduction()) if r in REDUCTIONS}
    return Pyramid(network, levels), {r: info.channels()[level] for r, level in levels.items()}


def _check_reductions(found: Sequence[int], expected: Sequence[int]) -> None:
    """Refuse a network whose features do not shrink as the decoder grows."""
    if not set(expected) <= set(found) or max(found) != max(expected):
        raise InputError(
            f"The decoder needs features at 1/{max(expected)} of the image's size, this encoder "
            f"gives {', '.join(f'1/{reduction}' for reduction in found)}. Choose a convolutional "
            "network, such as resnetv2_50, and leave its strides as they are."
        )
