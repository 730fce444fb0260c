"""Every network that brainseg can train, and the one way in which they are built."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from brainseg.errors import InputError, brief, check_known
from brainseg.model.encoder import check_arguments, check_multiple, size_multiple
from brainseg.model.own import build_own, import_network
from brainseg.model.smp_unet import build_smp_unet
from brainseg.model.summary import child_names
from brainseg.model.unet import build_resunet, resunet_parts
from brainseg.vocabulary import USUAL_MODEL


@dataclass(frozen=True)
class Architecture:
    """What the rest must know of a kind of network.

    Attributes:
        build: makes one; its keyword arguments are the settings of the group `model`.
        normalisation: of the images in [0, 1], which happens inside the network.
        parts: names of the submodules that `model.json` counts.
        check: refuses settings, as far as that is known before anything is built.
        multiple: of which the images' height and width must be, given the settings.
    """

    build: Callable[..., nn.Module]
    normalisation: str
    parts: Callable[[nn.Module], Iterator[str]] = child_names
    check: Callable[[Mapping[str, Any]], Any] = bool
    multiple: Callable[[Mapping[str, Any]], int] = lambda settings: 1

    @property
    def settings(self) -> tuple[str, ...]:
        """Names of its settings."""
        return tuple(inspect.signature(self.build).parameters)

    @property
    def has_attention(self) -> bool:
        """Whether the attention of its skips can be chosen."""
        return "attention" in self.settings


def _check_resunet(settings: Mapping[str, Any]) -> None:
    check_arguments(settings.get("encoder") or "", settings.get("encoder_args") or {})


def _check_own(settings: Mapping[str, Any]) -> None:
    if "target" not in settings:
        raise InputError("model=own requires model.target=package.module.Class.")
    import_network(settings["target"])


ARCHITECTURES: dict[str, Architecture] = {
    "resunet": Architecture(
        *(build_resunet, "mean and std of the encoder", resunet_parts, _check_resunet),
        multiple=lambda settings: size_multiple(settings["encoder"]),
    ),
    "smp_unet": Architecture(build_smp_unet, "mean and std of the encoder"),
    "own": Architecture(build_own, "none but its own", check=_check_own),
}
"""Name → architecture: the values of `model`."""


def build_model(name: str = USUAL_MODEL, **settings: Any) -> nn.Module:
    """A network that maps images (N×1×H×W in [0, 1]) to logits (N×1×H×W), with new weights.

    Args:
        name: a key of `ARCHITECTURES`.
        settings: as in the configuration's group `model`, such as `attention="ag"`.

    Raises:
        InputError: a name or a setting is unknown, or the network cannot be built.
    """
    check_model({"name": name} | settings)
    return ARCHITECTURES[name].build(**settings)


def check_model(config: Mapping[str, Any]) -> None:
    """Check that a configuration's group `model` names a network, and settings that it has.

    Raises:
        InputError: it does not, or the target of one's own cannot be imported or is no network.
    """
    name = config.get("name", USUAL_MODEL)
    check_known("model", [name], ARCHITECTURES)
    known = ARCHITECTURES[name].settings
    for setting in config:
        if setting not in ("name", *known):
            owners = [other for other, each in ARCHITECTURES.items() if setting in each.settings]
            belongs = f" It belongs to model={', '.join(owners)}." if owners else ""
            raise InputError(
                f"model={name} has no setting {setting}; expected {', '.join(known)}.{belongs}"
            )
    ARCHITECTURES[name].check(config)


def check_size(config: Mapping[str, Any], image_size: int) -> None:
    """Check that the images of a configuration suit its group `model`, as far as is known.

    Raises:
        InputError: the size is no multiple of what the network requires.
    """
    multiple = ARCHITECTURES[config.get("name", USUAL_MODEL)].multiple(config)
    check_multiple(image_size, image_size, multiple)


def build_network(config: Mapping[str, Any]) -> nn.Module:
    """The network of a configuration's group `model`; the settings are those of `build_model`."""
    return build_model(**config)


def part_names(config: Mapping[str, Any], network: nn.Module) -> list[str]:
    """Names of the submodules of `network` that `model.json` counts.

    Args:
        config: the group `model` that the network was built from.
        network: the network.
    """
    return list(ARCHITECTURES[config.get("name", USUAL_MODEL)].parts(network))


def check_network(network: nn.Module, image_size: int) -> None:
    """Check that a network can be trained on images of `image_size`², with two empty ones.

    Raises:
        InputError: it refuses them, does not give one logit per pixel, or has nothing to train.
    """
    image = torch.zeros(2, 1, image_size, image_size)
    training = network.training
    try:
        with torch.no_grad():
            logits = network.eval()(image)
    except InputError:
        raise
    except Exception as error:  # it may be the user's code
        raise InputError(
            f"{type(network).__name__} fails on images of {image_size}×{image_size} "
            f"({brief(error)}). Expected a network that takes N×1×H×W."
        ) from error
    finally:
        network.train(training)
    shape = getattr(logits, "shape", None)
    if shape != image.shape:
        found = "×".join(map(str, shape)) if shape is not None else type(logits).__name__
        raise InputError(
            f"{type(network).__name__} gives {found} for images of 2×1×{image_size}×{image_size}. "
            "Expected one logit per pixel, of the same shape."
        )
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise InputError(f"{type(network).__name__} has no parameters to train.")
