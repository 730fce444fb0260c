"""From a checkpoint back to the network that it holds the weights of."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from brainseg.errors import InputError
from brainseg.files import is_whole
from brainseg.model.registry import build_network
from brainseg.run import Run


def load_network(run: Run) -> nn.Sequential:
    """The best checkpoint of `run` in eval mode: images N×1×H×W in [0, 1] to probabilities.

    Raises:
        InputError: the run has no configuration or no checkpoint, or a network of the user's own
            cannot be imported. It is not looked for where the run says that it was trained: a run
            from a stranger could name a folder of its own.
    """
    config = run.read_config()["model"]
    if "weights" in config:
        config["weights"] = "none"  # nothing to download
    network = build_network(config)
    load_weights(network, run.best)
    return nn.Sequential(network, nn.Sigmoid()).eval()


def load_weights(network: nn.Module, path: Path | str) -> None:
    """Load a Lightning checkpoint of a module that calls it `network`, or a plain state dictionary.

    Raises:
        InputError: the file is missing or damaged, or holds the weights of another network.
    """
    if zipfile.is_zipfile(path) and not is_whole(Path(path)):
        raise InputError(
            f"{path} is damaged: its weights are not those that were written, as their checksums "
            "tell. Only another training makes it again (force=true); networks exported from "
            "it before can still be used."
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # reading arbitrary bytes as a pickle raises whatever it meets
        raise InputError(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}). Expected a file that "
            "brainseg's training wrote, such as checkpoints/best.ckpt: check the path, or train "
            "again."
        ) from error
    state = content
    if isinstance(content, Mapping) and "state_dict" in content:
        prefix = "network."
        weights = content["state_dict"].items()
        state = {
            key.removeprefix(prefix): value for key, value in weights if key.startswith(prefix)
        }
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError) as error:
        first = str(error).splitlines()[:2]
        raise InputError(
            f"{path} holds the weights of another network ({' '.join(first).strip()[:300]}). "
            "Build the network with the attention and the encoder of the run that wrote it."
        ) from error
