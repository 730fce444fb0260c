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
        facts = {key: value for key, value in run.read_made(mode).items() if key != "mode"}
        run.note_made(mode, **{"options": {}, **facts})
        if run.cases(mode).exists():
            run.note_scored(mode)
    write_rows(run, [replace(row, network=run.hash_network(row.mode)) for row in read_rows(run)])
    return True


def _holds_weights(run: Run) -> bool:
    """Whether the last convolution is the same: no norm follows it that could be folded into it."""
    state = torch.load(run.best, map_location="cpu", weights_only=True, mmap=True)["state_dict"]
    exported = {each.name: each for each in onnx.load(run.onnx(REFERENCE)).graph.initializer}
    return all(
        f"0.{name}" in exported
        and np.array_equal(numpy_helper.to_array(exported[f"0.{name}"]), state[f"network.{name}"])
        for name in ("head.weight", "head.bias")
    )
