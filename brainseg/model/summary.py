"""What a network is made of: parameters, multiply-adds and shapes per part."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode


def summarize(
    network: nn.Module, image_size: int, names: Iterable[str] | None = None
) -> dict[str, Any]:
    """Count parameters and multiply-adds of one image of `image_size`², per part.

    Multiply-adds are those of convolutions and matrix products (half of torch's count of
    operations). The numbers of a part include those of parts inside it.

    Args:
        network: takes N×1×H×W.
        image_size: H and W.
        names: of the submodules to count as parts; `child_names` where they are not given.

    Returns:
        `parameters`, `multiply_adds`, `image_size`, and `parts`: by name, a dictionary with
        `parameters`, `multiply_adds` and `output_shape` (C, H, W; of several outputs that of the
        smallest, such as an encoder's deepest; `None` where a part is not called or gives none).
    """
    parts = {name: network.get_submodule(name) for name in names or child_names(network)}
    shapes: dict[str, list[int]] = {}

    def note(name: str, output: Any) -> None:
        found = [leaf.shape for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        if found:
            shapes[name] = list(min(found, key=lambda shape: shape[2:].numel())[1:])

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
                "output_shape": shapes.get(name),
            }
            for name, module in parts.items()
        },
    }


def child_names(network: nn.Module) -> Iterator[str]:
    """Names of a network's parts: its children; those of a list, or of a lone wrapped network."""
    children = list(network.named_children())
    for name, child in children:
        inside = isinstance(child, nn.ModuleList | nn.ModuleDict) or len(children) == 1
        nested = list(child_names(child)) if inside else []
        yield from (f"{name}.{inner}" for inner in nested) if nested else [name]


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
