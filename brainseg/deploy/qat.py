"""The file of `int8_qat`: the network with the weights that a fine-tuning left, in 8 bits.

The fine-tuning itself is `training.qat`.
"""

import torch
from onnx import ModelProto, numpy_helper

from brainseg.deploy.rewrites import store_weights
from brainseg.deploy.static import insert_qdq
from brainseg.deploy.torch_graph import TorchGraph
from brainseg.errors import InputError
from brainseg.run import Run

METHOD = "minmax"
"""How the ranges are measured on the network before its fine-tuning, in which they stay."""


def quantize_tuned(rewritten: ModelProto, run: Run) -> ModelProto:
    """Quantize with the weights and ranges of the fine-tuning in `run.tuning`.

    Args:
        rewritten: the float network before it, from `static.rewrite`.
        run: that was fine-tuned.

    Raises:
        InputError: it was not.
    """
    if not run.tuning.best.exists():
        raise InputError(
            f"{run.path} was not fine-tuned: {run.tuning.best} is missing. "
            f"`brainseg quantize {run.path} --mode int8_qat` fine-tunes it, where its training "
            "images are."
        )
    graph = trainable(rewritten, run)
    graph.load_state_dict(torch.load(run.tuning.best, weights_only=True)["state_dict"])
    fitted, tuned = graph.fitted(), ModelProto()
    tuned.CopyFrom(rewritten)
    for each in tuned.graph.initializer:
        if each.name in fitted:
            each.CopyFrom(numpy_helper.from_array(fitted[each.name], each.name))
    return store_weights(insert_qdq(tuned, run.tuning.ranges), per_channel=True)


def trainable(rewritten: ModelProto, run: Run) -> TorchGraph:
    """The network as it will compute in 8 bits, with float weights behind: what is fine-tuned.

    Args:
        rewritten: the float network, from `static.rewrite`.
        run: with the ranges of its activations in `run.tuning.ranges`.
    """
    return TorchGraph(insert_qdq(rewritten, run.tuning.ranges), rewritten)
