"""One training on several devices of this machine: Lightning's DDP, with a process for each.

This process has rank 0 and does all that a training on one device does. The others share in its
batches, and end with it. (Lightning's own launcher would type the command again, sweep and all.)
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from pytorch_lightning.plugins.environments import ClusterEnvironment
from torch import Tensor, distributed

from brainseg.environment import physical_cores
from brainseg.errors import InputError
from brainseg.run import Run

READY = "ready\n"


@dataclass(frozen=True)
class Rank:
    """The place of a process among those of a training, which meet at `port`."""

    number: int = 0
    count: int = 1
    port: int = 0


ALONE = Rank()


class Ranks(ClusterEnvironment):
    """Tells Lightning of processes that are there already, whatever cluster it sees around."""

    creates_processes_externally = True
    main_address = "127.0.0.1"

    def __init__(self, rank: Rank) -> None:
        super().__init__()
        self.rank = rank

    @property
    def main_port(self) -> int:
        """Where all processes meet."""
        return self.rank.port

    @staticmethod
    def detect() -> bool:
        """It is chosen, never found."""
        return False

    def world_size(self) -> int:
        """The number of processes."""
        return self.rank.count

    def set_world_size(self, size: int) -> None:
        """Lightning counts the same."""

    def global_rank(self) -> int:
        """The place of this process."""
        return self.rank.number

    def set_global_rank(self, rank: int) -> None:
        """Lightning counts the same."""

    def local_rank(self) -> int:
        """The place of this process, all being on one machine."""
        return self.rank.number

    def node_rank(self) -> int:
        """The place of this machine."""
        return 0


class _Gathered(torch.autograd.Function):
    """Its gradients are summed, for DDP takes the mean over processes of what follows from them."""

    @staticmethod
    def forward(context: Any, own: Tensor) -> Tensor:
        parts = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, own.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total.chunk(distributed.get_world_size())[distributed.get_rank()]


def gathered(own: Tensor) -> Tensor:
    """The tensors of all processes of this training, one after the other; all of one shape.

    A loss of it has the gradients of one process with the whole batch.
    """
    return _Gathered.apply(own) if distributed.is_initialized() else own


def divide_batch(size: int, count: int) -> int:
    """The images of a batch that each of `count` devices takes.

    Raises:
        InputError: they cannot take equal shares.
    """
    if size % count:
        raise InputError(
            f"data.batch_size={size} cannot be divided among {count} devices (trainer.devices). "
            f"Expected a multiple of {count}, such as {size + count - size % count}."
        )
    return size // count


@contextmanager
def started_ranks(config: Mapping[str, Any], run: Run, count: int) -> Iterator[Rank]:
    """Start the processes of all ranks but 0, which is yielded; they end with the block.

    Raises:
        InputError: one of them ended before it was ready; it has said why.
    """
    if count == 1:
        yield ALONE
        return
    divide_batch(config["data"]["batch_size"], count)
    with closing(socket.socket()) as found:
        found.bind((Ranks.main_address, 0))
        port = found.getsockname()[1]
    threads = torch.get_num_threads()
    share = max(1, physical_cores() // count)
    try:
        torch.set_num_threads(min(share, threads))
        with ExitStack() as ending:
            others = [
                ending.enter_context(_started(config, run, Rank(number, count, port), share))
                for number in range(1, count)
            ]
            if any(process.stdout.readline() != READY for process in others if process.stdout):
                raise InputError(
                    f"A process of this training on {count} devices could not start; it has said "
                    "why. trainer.devices=1 trains on one."
                )
            yield Rank(0, count, port)
    finally:
        torch.set_num_threads(threads)
        if distributed.is_initialized():
            distributed.destroy_process_group()


@contextmanager
def _started(
    config: Mapping[str, Any], run: Run, rank: Rank, cores: int
) -> Iterator[subprocess.Popen[str]]:
    """A process that takes a rank; it lives until its standard input is closed."""
    command = [sys.executable, "-m", "brainseg.training.rank"]
    limits = {"OMP_NUM_THREADS": str(cores), "LOKY_MAX_CPU_COUNT": str(cores)}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, text=True, env=os.environ | limits
    ) as process:
        assert process.stdin
        try:
            order = {"config": config, "run": str(run.path), "rank": asdict(rank)}
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
            yield process
        finally:
            process.kill()
