"""The file of `int8_qat`: the network with the weights that a fine-tuning left, in 8 bits.

The fine-tuning itself is `training.qat`.
"""

from typing import Any

import torch
from onnx import ModelProto

from brainseg.deploy.options import Chosen, choose_options
from brainseg.deploy.rewrites import replace_constants
from brainseg.deploy.static import insert_qdq, quantize_graph
from brainseg.deploy.torch_graph import TorchGraph
from brainseg.errors import DamagedFile, InputError
from brainseg.files import is_whole
from brainseg.run import Run
from brainseg.vocabulary import QAT_MODE, REFERENCE

METHOD = "minmax"
"""How the ranges are measured on the network before its fine-tuning, in which they stay."""


def read_tuning(run: Run) -> dict[str, Any]:
    """The state of a run's fine-tuning, empty where there is none, or a damaged one."""
    try:
        return run.tuning.read_state()
    except DamagedFile:
        return {}


def choose_tuning(run: Run, chosen: Chosen) -> dict[str, Any]:
    """All options of the fine-tuning: those chosen, else of that begun last, else of the file.

    Raises:
        InputError: as `choose_options`.
    """
    last = read_tuning(run).get("identity") or run.read_made(QAT_MODE)
    return choose_options(QAT_MODE, chosen, last.get("options"))


def is_tuned(run: Run) -> bool:
    """Whether the fine-tuning of the export as it is has ended, and all that it left is there."""
    state, tuning = read_tuning(run), run.tuning
    return (
        state.get("status") == "finished"
        and state.get("identity", {}).get("export") == run.hash_network(REFERENCE)
        and tuning.ranges.exists()
        and tuning.best.exists()
        and is_whole(tuning.best)
    )


def quantize_tuned(rewritten: ModelProto, run: Run) -> ModelProto:
    """Quantize with the weights and ranges of the fine-tuning in `run.tuning`.

    Args:
        rewritten: the float network before it, from `static.rewrite`.
        run: that was fine-tuned.

    Raises:
        InputError: it was not, or not to the end, or as another network than it has now.
    """
    if not is_tuned(run):
        raise InputError(
            f"{run.path} was not fine-tuned as it is now: what {run.tuning.path} has is missing, "
            f"damaged, unfinished or of another network. `brainseg quantize {run.path} --mode "
            "int8_qat` fine-tunes it, where its training images are."
        )
    graph = trainable(rewritten, run)
    graph.load_state_dict(torch.load(run.tuning.best, weights_only=True)["state_dict"])
    return quantize_graph(replace_constants(rewritten, graph.fitted()), run.tuning.ranges)


def trainable(rewritten: ModelProto, run: Run) -> TorchGraph:
    """The network as it will compute in 8 bits, with float weights behind: what is fine-tuned.

    Args:
        rewritten: the float network, from `static.rewrite`.
        run: with the ranges of its activations in `run.tuning.ranges`.
    """
    return TorchGraph(insert_qdq(rewritten, run.tuning.ranges), rewritten)
