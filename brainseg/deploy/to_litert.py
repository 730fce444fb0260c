"""`python -m brainseg.deploy.to_litert RUN FILE`: the best checkpoint as a `.tflite` file."""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from brainseg.model.checkpoint import load_network
from brainseg.run import Run


class Cropped(nn.Module):
    """A transposed convolution with padding 1, as one without whose result is cropped.

    The converter knows no output padding; the results are the same.
    """

    def __init__(self, convolution: nn.ConvTranspose2d) -> None:
        super().__init__()
        if convolution.padding != (1, 1):
            raise ValueError(f"expected a padding of 1, found {convolution.padding}")
        self.convolution = convolution
        convolution.padding = (0, 0)

    def forward(self, x: Tensor, output_size: Sequence[int]) -> Tensor:
        """As `nn.ConvTranspose2d`."""
        height, width = output_size[-2:]
        return self.convolution(x)[..., 1 : 1 + height, 1 : 1 + width]


def crop_transposed(network: nn.Module) -> None:
    """Put `Cropped` in the place of each transposed convolution."""
    for name, child in network.named_children():
        if isinstance(child, nn.ConvTranspose2d):
            setattr(network, name, Cropped(child))
        else:
            crop_transposed(child)


def _convert(run: Run, target: Path) -> None:
    import litert_torch  # an optional extra that takes ten seconds

    network, size = load_network(run), run.read_config()["data"]["image_size"]
    crop_transposed(network)
    litert_torch.convert(network, (torch.rand(1, 1, size, size),)).export(str(target))


if __name__ == "__main__":
    _convert(Run(Path(sys.argv[1])), Path(sys.argv[2]))
