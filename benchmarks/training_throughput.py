"""Training images/s of brainseg beside a bare loop over segmentation_models_pytorch, in one run.

    python benchmarks/training_throughput.py --size 224 --batch 16 --seconds 90

Each round trains all of the contestants on the same batches in random order; brainseg takes part
twice, as an A/A control, and once without each of what makes it fast. Its number is the one of its
own `history.csv`, with augmentation and Lightning; the bare loops get tensors that are ready,
without augmentation. The statistic is the ratio within a round. `--compile` adds brainseg with
`trainer.compile=true`, `--jobs 4` then trains in as many processes side by side.
"""

import argparse
import json
import logging
import multiprocessing
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from brainseg.data.cache import Slices
from brainseg.data.dataset import derive_seed
from brainseg.files import read_csv
from brainseg.model.unet import build_resunet
from brainseg.run import Run
from brainseg.training import module as shell
from brainseg.training.checkpoint import History
from brainseg.training.compilation import Compilation
from brainseg.training.datamodule import SliceDataModule
from brainseg.training.fit import choose_precision
from brainseg.training.loss import bce_dice
from brainseg.training.module import SegmentationModule

JOB = "brainseg"
"""The contestant that `--jobs` puts side by side."""


class Reseeding(SegmentationModule):
    """As it was: dropout's generator is seeded in every step."""

    def on_train_batch_start(self, batch: Any, batch_index: int) -> None:
        """Seed it with the batch's number."""
        torch.manual_seed(derive_seed(self.seed, self.current_epoch, batch_index))


class Logging(SegmentationModule):
    """As it was: Lightning gathers the loss."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Loss of one batch, handed to Lightning."""
        loss = self.batch_loss(batch)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch[0]))
        return loss


class Product:
    """brainseg's own training of one network."""

    def __init__(self, given: argparse.Namespace, kind: type = SegmentationModule) -> None:
        self.given = given
        network = build_resunet(attention=given.attention).to(memory_format=torch.channels_last)
        self.module = kind(network, "bce_dice", 1e-3, {"name": "one_cycle"}, seed=0)

    def compile(self, slices: Slices) -> float:
        """Seconds until the network is compiled; it stays so."""
        start = time.perf_counter()
        self.train(slices, Compilation())
        return time.perf_counter() - start

    def train(self, slices: Slices, *callbacks: pl.Callback) -> float:
        """Images/s of one epoch, as `history.csv` has it."""
        parts = pd.Series(["train"] * len(slices.images))
        data = SliceDataModule(slices, parts, self.given.batch, workers=None, seed=0)
        with tempfile.TemporaryDirectory() as folder:
            run = Run(Path(folder))
            trainer = pl.Trainer(
                max_epochs=1,
                accelerator=self.given.device,
                devices=1,
                precision=self.given.precision,
                callbacks=[History(run, on_row=lambda row: None), *callbacks],
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            trainer.fit(self.module, data.train_dataloader())
            return float(read_csv(run.history)[0]["images_per_second"])


def bare_speed(network: nn.Module, given: argparse.Namespace, slices: Slices) -> float:
    """Images/s of a loop with nothing in it but the training step."""
    device = torch.device(given.device)
    network = network.to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    images = torch.tensor(slices.images).unsqueeze(1).float().div(255).to(device)
    masks = torch.tensor(slices.masks).unsqueeze(1).float().to(device)
    synchronize(device)
    start = time.perf_counter()
    for at in range(0, len(images), given.batch):
        with torch.autocast(device.type, torch.bfloat16, enabled=given.precision == "bf16-mixed"):
            logits = network(images[at : at + given.batch])
        optimizer.zero_grad()
        bce_dice(logits.float(), masks[at : at + given.batch]).backward()
        optimizer.step()
    synchronize(device)
    return len(images) / (time.perf_counter() - start)


def synchronize(device: torch.device) -> None:
    """Wait for what a GPU has been given to do."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def unfused_speed(product: Product, slices: Slices) -> float:
    """As it was: Adam in several kernels."""
    with mock.patch.object(shell, "make_adam", torch.optim.Adam):
        return product.train(slices)


def searching_speed(product: Product, slices: Slices) -> float:
    """With cuDNN's search for the fastest algorithm, which a training does not make."""
    with mock.patch.object(torch.backends.cudnn, "benchmark", new=True):
        return product.train(slices)


def make_contestants(given: argparse.Namespace) -> dict[str, Callable[[Slices], float]]:
    """Name → what trains on some slices and tells images/s."""
    ours, theirs = Product(given), smp.Unet("tu-resnetv2_50", encoder_weights=None, in_channels=1)
    contestants = {
        "smp.Unet": partial(bare_speed, theirs, given),
        JOB: ours.train,
        "brainseg again": ours.train,
        "without fused Adam": partial(unfused_speed, ours),
        "reseeding each step": Product(given, Reseeding).train,
        "self.log each step": Product(given, Logging).train,
        "bare loop, same net": partial(bare_speed, Product(given).module.network, given),
    }
    if given.device == "cuda":
        contestants["cudnn.benchmark"] = partial(searching_speed, Product(given))
    return contestants


def make_slices(given: argparse.Namespace) -> Slices:
    """Noise with a disc for a tumour: what is seen takes no other time than what is learned."""
    rng, count = np.random.default_rng(0), given.batch * given.batches
    y, x = np.mgrid[: given.size, : given.size]
    disc = ((y - given.size / 2) ** 2 + (x - given.size / 3) ** 2 < given.size**2 / 64).astype("u1")
    images = rng.integers(0, 128, (count, given.size, given.size), np.uint8) + 127 * disc
    return Slices(images, np.repeat(disc[None], count, 0), [""] * count, "")


def repeat(slices: Slices, count: int) -> Slices:
    """The first `count` slices, from the start again where there are fewer."""
    rows = np.resize(np.arange(len(slices.images)), count)
    return Slices(slices.images[rows], slices.masks[rows], [""] * count, "")


def race(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of the table: each contestant's speed and its ratio to the bare loop."""
    slices, contestants = make_slices(given), make_contestants(given)
    warm = repeat(slices, 2 * given.batch)
    for train in contestants.values():
        train(warm)
    compiled: dict[str, float] = {}
    if given.compile:
        product = Product(given)
        compiled["compile_seconds"] = round(product.compile(warm), 1)
        print(f"compiled in {compiled['compile_seconds']} s", flush=True)
        contestants["compiled"] = product.train
        product.train(warm)
    rng, start = np.random.default_rng(0), time.monotonic()
    speeds: list[dict[str, float]] = []
    while len(speeds) < given.rounds and (
        len(speeds) < 2 or time.monotonic() - start < given.seconds
    ):
        order = rng.permutation(list(contestants))
        speeds.append({name: contestants[name](slices) for name in order})
        told = (f"{name} {speeds[-1][name]:.1f}" for name in contestants)
        print(f"round {len(speeds)}:", ", ".join(told), flush=True)
    return [
        {
            "name": name,
            "images_per_second": statistics.median(each[name] for each in speeds),
            "ratio": statistics.median(each[name] / each["smp.Unet"] for each in speeds),
            "rounds": len(speeds),
        }
        | (compiled if name == "compiled" else {})
        for name in contestants
    ]


def train_beside(given: argparse.Namespace, barrier: Any, speeds: Any) -> None:
    """One of the jobs: when all are warm, train for a while and tell images/s."""
    quieten()
    torch.set_num_threads(max(1, given.threads // given.jobs))
    slices, product = make_slices(given), Product(given)
    train = product.train
    product.compile(repeat(slices, 2 * given.batch)) if given.compile else train(slices)
    barrier.wait()
    speeds.put(statistics.mean(train(slices) for _ in range(3)))


def side_by_side(given: argparse.Namespace) -> dict[str, Any]:
    """Images/s of each of several processes that train at once."""
    context = multiprocessing.get_context("spawn")
    barrier, speeds = context.Barrier(given.jobs), context.Queue()
    arguments = (given, barrier, speeds)
    jobs = [context.Process(target=train_beside, args=arguments) for _ in range(given.jobs)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    if any(job.exitcode for job in jobs):
        raise SystemExit("A job failed; see above.")
    each = [round(speeds.get(), 2) for _ in jobs]
    return {"jobs": given.jobs, "images_per_second": round(sum(each), 2), "each": each}


def quieten() -> None:
    """Lightning's advice is not for a race."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line, with what the machine decides filled in."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=224, help="sides of an image")
    parser.add_argument("--batch", type=int, default=16, help="images in a batch")
    parser.add_argument("--batches", type=int, help="in a round: 6, on a GPU 40")
    parser.add_argument("--rounds", type=int, default=20, help="at most; 0 for no race")
    parser.add_argument("--seconds", type=float, default=60, help="no new round after these")
    parser.add_argument("--attention", default="none")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: a GPU if there is one")
    parser.add_argument("--compile", action="store_true", help="brainseg compiled, too")
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side, afterwards")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    given = parser.parse_args(arguments)
    given.device = given.device or ("cuda" if torch.cuda.is_available() else "cpu")
    given.batches = given.batches or (40 if given.device == "cuda" else 6)
    given.precision = choose_precision("auto", given.device)
    given.threads = torch.get_num_threads()
    return given


def main(arguments: Sequence[str] | None = None) -> None:
    """Race and print the table."""
    given = parse(arguments)
    quieten()
    rows = race(given) if given.rounds else []
    print(
        f"{given.size}×{given.size}, batch {given.batch}, {given.attention}, {given.device}, "
        f"{given.precision}, {given.threads} of {os.cpu_count()} threads, torch "
        f"{torch.__version__}; images/s, medians of {rows[0]['rounds'] if rows else 0} rounds:"
    )
    for row in rows:
        print(f"  {row['name']:20} {row['images_per_second']:8.2f}   {row['ratio']:5.2f}× smp.Unet")
    beside = side_by_side(given) if given.jobs > 1 else None
    if beside:
        print(f"  {given.jobs} jobs side by side: {beside['images_per_second']}, {beside['each']}")
    if given.json:
        settings = {key: value for key, value in vars(given).items() if key != "json"}
        content = settings | {"torch": torch.__version__, "rows": rows, "side_by_side": beside}
        given.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
