"""`trainer.compile`: the network compiled by `torch.compile` for the training batches."""

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from brainseg.environment import is_gpu_full
from brainseg.errors import brief
from brainseg.interrupt import settle
from brainseg.training.module import SegmentationModule

MODES = {"cuda": "reduce-overhead"}
"""Device → mode; this one captures CUDA graphs. Others have the default mode."""

logger = logging.getLogger(__name__)


class Compilation(pl.Callback):
    """Compiles the network before the first epoch; where that fails, training goes on without.

    Only training batches run compiled. They have one shape, so it is compiled once; validation has
    a last batch of its own size, and another mode of the network. Names of parameters stay.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """Try one step on a batch, and keep nothing of it but the compiled code."""
        mode = MODES.get(pl_module.device.type, "default")
        logger.info("Compiling the network (trainer.compile): this may take minutes.")
        eager, started = pl_module.train_forward, time.perf_counter()
        pl_module.train_forward = torch.compile(pl_module.network.forward, mode=mode, dynamic=False)
        try:
            with _quiet(), _unchanged(pl_module.network):
                with trainer.precision_plugin.train_step_context():
                    loss = pl_module.batch_loss(_example(trainer))
                loss.backward()
        except Exception as error:  # compilers raise whatever they meet
            settle()
            if is_gpu_full(error):
                raise
            pl_module.train_forward = eager
            logger.warning(
                "The network cannot be compiled; training goes on without (%s). trainer.compile "
                "requires a C++ compiler such as g++, and Triton on a GPU.",
                brief(error),
            )
        else:
            logger.info("Compiled in %.0f s.", time.perf_counter() - started)


def _example(trainer: pl.Trainer) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of the shape of all training batches, on the device."""
    loader: Any = trainer.train_dataloader
    count = min(loader.batch_size, len(loader.dataset))
    return trainer.strategy.batch_to_device(loader.collate_fn([loader.dataset[0]] * count))


@contextmanager
def _unchanged(network: nn.Module) -> Iterator[None]:
    """Take back what a step does to gradients, to the norms' statistics and to the generator."""
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    with torch.random.fork_rng():
        try:
            yield
        finally:
            network.zero_grad()
            for buffer, before in buffers:
                buffer.copy_(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's compilers from advising and reporting; what they raise says enough."""
    for name in ("torch._dynamo", "torch._inductor", "torch.utils.cpp_extension"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
