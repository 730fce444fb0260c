"""What the attention modules multiply the skips with, image by image."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from brainseg.model.attention import Attention


def attention_coefficients(network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """The coefficients in [0, 1] of every attention module of a network, for some images.

    Args:
        network: any network; it is left in eval mode.
        images: N×1×H×W in [0, 1].

    Returns:
        By the module's name, such as `decoder.4.attention`: one coefficient per pixel, N×h×w, of an
        attention gate (Eq. 3) or of CBAM (Eq. 12); one per channel, N×C, of squeeze and excitation
        (Eq. 7). Those of CBAM's channels (Eq. 10) have `.channels` at the end of the name. Empty
        for a network without modules of `brainseg.model.attention`.
    """
    found: dict[str, Tensor] = {}

    def note(name: str, output: Tensor) -> None:
        maps = output.size(1) == 1 and output.shape[-2:] != (1, 1)
        found[name] = output[:, 0] if maps else output.flatten(1)

    hooks = [
        gate.register_forward_hook(lambda _, __, output, name=name: note(name, output))
        for name, gate in _gates(network)
    ]
    try:
        with torch.inference_mode():
            network.eval()(images)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _gates(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The submodules whose outputs are the coefficients."""
    for name, module in network.named_modules():
        if isinstance(module, Attention):
            for ending, part in module.coefficients.items():
                yield f"{name}{ending}", module.get_submodule(part)
