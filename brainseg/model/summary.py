"""What a network is made of: parameters, multiply-adds and shapes per part."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from brainseg.model.attention import NoAttention
from brainseg.model.unet import ResUNet


def summarize(network: ResUNet, image_size: int) -> dict[str, Any]:
    """Count parameters and multiply-adds of one image of `image_size`², per part.

    Multiply-adds are those of the convolutions (half of torch's count of operations); parts are
    the encoder, the decoder's steps, the head, and the attention modules inside those steps, whose
    numbers the steps include.

    Returns:
        `parameters`, `multiply_adds`, `image_size`, and `parts`: by name, a dictionary with
        `parameters`, `multiply_adds` and `output_shape` (C, H, W; the encoder's is the deepest).
    """
    parts = {name: module for name, module in network.named_modules() if _is_part(name, module)}
    shapes: dict[str, list[int]] = {}

    def note(name: str, output: Any) -> None:
        tensor: Tensor = output[0] if isinstance(output, list) else output
        shapes[name] = list(tensor.shape[1:])

    hooks = [
        module.register_forward_hook(lambda _, __, output, name=name: note(name, output))
        for name, module in parts.items()
    ]
    training = network.training
    image = torch.zeros(1, 1, image_size, image_size, device=next(network.parameters()).device)
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network.eval()(image)
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    operations = counter.get_flop_counts()
    root = type(network).__name__
    return {
        "parameters": _parameters(network),
        "multiply_adds": counter.get_total_flops() // 2,
        "image_size": image_size,
        "parts": {
            name: {
                "parameters": _parameters(module),
                "multiply_adds": sum(operations.get(f"{root}.{name}", {}).values()) // 2,
                "output_shape": shapes[name],
            }
            for name, module in parts.items()
        },
    }


def _is_part(name: str, module: nn.Module) -> bool:
    if name.endswith("attention"):
        return not isinstance(module, NoAttention)
    return name in ("encoder", "image_skip", "head") or name.rpartition(".")[0] == "decoder"


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
