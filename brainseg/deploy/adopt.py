"""Runs of a brainseg that did not record what its files were made from."""

from dataclasses import replace

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from brainseg.rows import read_rows, write_rows
from brainseg.run import Run
from brainseg.scoring.kept import note_scored
from brainseg.vocabulary import CHECKPOINT, REFERENCE, quantized_modes


def adopt(run: Run) -> bool:
    """Record the hashes of an older run's files, if its export holds the weights of its checkpoint.

    Args:
        run: exported, without a record of what the export was made from.

    Returns:
        `False` where it does not: its files belong to another network.
    """
    if not _holds_weights(run):
        return False
    write_rows(run, [replace(row, network=run.hash_network(row.mode)) for row in read_rows(run)])
    if run.cases(CHECKPOINT).exists():
        note_scored(run, CHECKPOINT, "torch")
    made = [mode for mode in quantized_modes() if run.made(mode).exists()]
    for mode in filter(lambda mode: run.onnx(mode).exists(), [*made, REFERENCE]):  # fp32 ends it
        if run.cases(mode).exists():
            note_scored(run, mode)
        facts = {key: value for key, value in run.read_made(mode).items() if key != "mode"}
        run.note_made(mode, **{"options": {}, **facts})
    return True


def _holds_weights(run: Run) -> bool:
    """Whether the last convolution is the same: no norm follows it that could be folded into it.

    An export without its parity is one of this version whose making was interrupted.
    """
    model = onnx.load(run.onnx(REFERENCE))
    if not any(entry.key == "parity" for entry in model.metadata_props):
        return False
    state = torch.load(run.best, map_location="cpu", weights_only=True, mmap=True)["state_dict"]
    exported = {each.name: each for each in model.graph.initializer}
    return all(
        f"0.{name}" in exported
        and np.array_equal(numpy_helper.to_array(exported[f"0.{name}"]), state[f"network.{name}"])
        for name in ("head.weight", "head.bias")
    )
