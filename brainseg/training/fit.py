"""One fit: network, loaders and Lightning's trainer, from the start or from the last epoch."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import RichProgressBar, Timer
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import nn

from brainseg.data.cache import Slices
from brainseg.environment import is_gpu_full
from brainseg.errors import InputError
from brainseg.files import write_json
from brainseg.model.registry import build_network, check_network, part_names
from brainseg.model.summary import summarize
from brainseg.run import Run
from brainseg.terminal import has_bars
from brainseg.training.checkpoint import (
    AtomicCheckpointIO,
    History,
    checkpoint_callbacks,
    find_state,
)
from brainseg.training.compilation import Compilation
from brainseg.training.datamodule import SliceDataModule
from brainseg.training.module import SegmentationModule
from brainseg.training.ranks import ALONE, Rank, Ranks, started_ranks

PATIENCE = timedelta(minutes=10)
"""How long a process waits for another one of its training, which may have died."""

logger = logging.getLogger(__name__)


def fit(
    config: Mapping[str, Any],
    run: Run,
    slices: Slices,
    parts: pd.Series,
    on_start: Callable[[], Any],
    on_row: Callable[[dict[str, Any]], Any],
) -> None:
    """Train to the end, from the last finished epoch if there is one.

    Writes `model.json`, the checkpoints and `history.csv`.

    Args:
        config: the resolved configuration.
        run: where to write.
        slices: of the whole data set.
        parts: `train`, `val` or `test` for each slice.
        on_start: called once the network is built, before the first step.
        on_row: is given each row of the history.

    Raises:
        InputError: the network cannot be built or does not fit the images, Lightning refuses the
            settings, or the GPU's memory is full.
    """
    network = make_network(config)
    names = part_names(config["model"], network)
    write_json(run.model, summarize(network, config["data"]["image_size"], names))
    on_start()
    for part in run.best.parent.glob(".*.ckpt"):  # written when an earlier attempt was killed
        part.unlink()
    with started_ranks(config, run, make_trainer(config["trainer"]).num_devices) as rank:
        train(config, run, network, slices, parts, rank, [History(run, on_row)])


def _note_devices(run: Run, count: int, *, resumed: bool) -> None:
    """Keep on how many devices each attempt trains; warn where one that resumes changes that."""
    before = run.read_state().get("devices", [])
    if before and before[-1] != count and resumed:
        logger.warning(
            "%s was trained on %d devices until now, and goes on with %d (trainer.devices). "
            "Dropout differs then, among CPUs batch norm too: it is the training of neither.",
            *(run.path, before[-1], count),
        )
    run.update_state(devices=[*before, count])


def make_network(config: Mapping[str, Any]) -> nn.Module:
    """The network with its first weights, the same in every process.

    Raises:
        InputError: it cannot be built, or does not fit the images.
    """
    torch.manual_seed(config["seed"])
    network = build_network(config["model"])
    check_network(network, config["data"]["image_size"])
    return network.to(memory_format=torch.channels_last)


def train(
    config: Mapping[str, Any],
    run: Run,
    network: nn.Module,
    slices: Slices,
    parts: pd.Series,
    rank: Rank,
    callbacks: Sequence[pl.Callback] = (),
) -> None:
    """Train as one of the processes of a training; `fit` tells the rest."""
    settings, data = config["trainer"], config["data"]
    module = SegmentationModule(
        network,
        config["loss"]["name"],
        config["optim"]["lr"],
        config["schedule"],
        config["seed"],
    )
    datamodule = SliceDataModule(
        slices,
        parts,
        data["batch_size"],
        data["workers"],
        config["seed"],
        rank,
        data.get("augmentation", 1.0),
    )
    timer = make_timer(settings["max_minutes"])
    callbacks = [*callbacks, timer, *([Compilation()] if settings["compile"] else [])]
    callbacks += checkpoint_callbacks(run, settings["early_stopping"])
    trainer = make_trainer(settings, callbacks, rank)
    resumed = find_state(run)
    if trainer.is_global_zero:
        _note_devices(run, rank.count, resumed=resumed is not None)
        if resumed:
            logger.info("Resuming after a cut-off: %s", resumed)
    with without_advice(), full_gpu_told(data["batch_size"], data["image_size"]):
        trainer.fit(module, datamodule, ckpt_path=resumed)
    left = timer.time_remaining()
    if left is not None and left <= 0 and trainer.is_global_zero:
        logger.info(
            "trainer.max_minutes=%g are over: training ends early, its best epoch counts.",
            settings["max_minutes"],
        )


def quiet_lightning() -> None:
    """Keep Lightning from telling of the machine and of its other products; warnings stay."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)


def make_timer(minutes: float | None) -> Timer:
    """What stops a training after some minutes, those before a cut-off included.

    It stops after the step in which they end; Lightning then validates, and the epoch counts.
    """
    duration = None if minutes is None else timedelta(minutes=minutes)
    return Timer(duration, interval="step", verbose=False)


@contextmanager
def without_advice() -> Iterator[None]:
    """Keep Lightning from advising more workers or srun, and from noting the old checkpoints."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        warnings.filterwarnings("ignore", "The `srun` command")
        yield


@contextmanager
def full_gpu_told(batch_size: int, image_size: int) -> Iterator[None]:
    """Say what a user can do where the GPU's memory is full.

    Raises:
        InputError: it is.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_gpu_full(error):
            raise
        half = f"data.batch_size={max(batch_size // 2, 2)}"
        less = half if batch_size > 2 else "a smaller data.image_size"
        free, total = (size / 2**30 for size in torch.cuda.mem_get_info())
        raise InputError(
            f"The GPU's memory is full: a training with batches of {batch_size} images of "
            f"{image_size}×{image_size} requires more than the {free:.1f} of {total:.1f} GiB that "
            f"are free without it. Choose {less}, or "
            "end other processes on this GPU; nvidia-smi lists them."
        ) from error


def make_trainer(
    settings: Mapping[str, Any], callbacks: Sequence[pl.Callback] = (), rank: Rank = ALONE
) -> pl.Trainer:
    """Lightning's trainer for the group `trainer`.

    Norms take the statistics of the whole batch where it is divided, except among CPUs, for which
    torch has no such norm.

    Raises:
        InputError: Lightning refuses the settings, or this machine lacks the device.
    """
    try:
        with without_advice():
            return pl.Trainer(
                max_epochs=settings["max_epochs"],
                accelerator=settings["accelerator"],
                devices=settings["devices"],
                precision=choose_precision(settings["precision"], settings["accelerator"]),
                callbacks=[RichProgressBar(leave=False), *callbacks]
                if has_bars()
                else [*callbacks],
                enable_progress_bar=has_bars(),
                plugins=[AtomicCheckpointIO(), Ranks(rank)],
                strategy=DDPStrategy(timeout=PATIENCE) if rank.count > 1 else "auto",
                sync_batchnorm=rank.count > 1 and _is_gpu(settings["accelerator"]),
                use_distributed_sampler=False,
                logger=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
            )
    except (MisconfigurationException, TypeError, ValueError) as error:
        raise InputError(
            f"Lightning does not accept these trainer.* settings: {error} Expected, for a machine "
            "without GPU: trainer.accelerator=cpu trainer.devices=1 trainer.precision=auto."
        ) from error


def choose_precision(asked: str, accelerator: str) -> Any:
    """Lightning's precision for `trainer.precision`; `auto` is bf16 where the device has it."""
    if asked != "auto":
        return asked
    if _is_gpu(accelerator):
        return "bf16-mixed" if torch.cuda.is_bf16_supported(False) else "32-true"
    return "bf16-mixed" if torch.cpu._is_avx512_bf16_supported() else "32-true"


def _is_gpu(accelerator: str) -> bool:
    return accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
