"""Runs of a brainseg that did not record what its files were made from."""

from dataclasses import replace

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from brainseg.rows import read_rows, write_rows
from brainseg.run import Run
from brainseg.vocabulary import CHECKPOINT, MODES, REFERENCE


def adopt(run: Run) -> bool:
    """Record the hashes of an older run's files, if its export holds the weights of its checkpoint.

    Returns:
        `False` where it does not: its files belong to another network.
    """
    if not run.onnx(REFERENCE).exists() or "network" in run.read_made(REFERENCE):
        return True
    if not _holds_weights(run):
        return False
    if run.cases(CHECKPOINT).exists():
        run.note_scored(CHECKPOINT)
    known = [REFERENCE, *(mode for mode in MODES if run.made(mode).exists())]
    for mode in filter(lambda mode: run.onnx(mode).exists(), known):
        run.note_made(mode, **{"options": {}, **run.read_made(mode), "mode": mode})
        if run.cases(mode).exists():
            run.note_scored(mode)
    write_rows(run, [replace(row, network=run.hash_network(row.mode)) for row in read_rows(run)])
    return True


def _holds_weights(run: Run) -> bool:
    """Whether the tensors that checkpoint and export both name are equal; names need no folding."""
    state = torch.load(run.best, map_location="cpu", weights_only=True, mmap=True)["state_dict"]
    weights = {f"0.{name.removeprefix('network.')}": value for name, value in state.items()}
    exported = onnx.load(run.onnx(REFERENCE)).graph.initializer
    shared = [tensor for tensor in exported if tensor.name in weights]
    return bool(shared) and all(
        np.array_equal(numpy_helper.to_array(tensor), weights[tensor.name].numpy())
        for tensor in shared
    )
