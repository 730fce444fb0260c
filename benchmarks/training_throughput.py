"""Training images/s of brainseg beside a bare loop over segmentation_models_pytorch, in one run.

    python benchmarks/training_throughput.py --size 224 --batch 16 --batches 6 --rounds 3

Each round trains all of the contestants on the same batches in random order; brainseg takes part
twice, as an A/A control. brainseg's number is the one of its own `history.csv`, with augmentation
and Lightning; the bare loop gets tensors that are ready, without augmentation. The statistic is
the ratio within a round.
"""

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import segmentation_models_pytorch as smp
import torch
from torch import nn

from brainseg.data.cache import Slices
from brainseg.data.load import load_data
from brainseg.files import read_csv
from brainseg.model.unet import build_resunet
from brainseg.run import Run
from brainseg.training.checkpoint import History
from brainseg.training.datamodule import SliceDataModule
from brainseg.training.fit import choose_precision
from brainseg.training.loss import bce_dice
from brainseg.training.module import SegmentationModule


def brainseg_speed(network: nn.Module, slices: Slices, batch: int, precision: str) -> float:
    """Images/s of one epoch, as `history.csv` has it."""
    module = SegmentationModule(network, "bce_dice", 1e-3, {"name": "one_cycle"}, seed=0)
    parts = pd.Series(["train"] * len(slices.images))
    data = SliceDataModule(slices, parts, batch, workers=None, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        trainer = pl.Trainer(
            max_epochs=1,
            precision=precision,
            callbacks=[History(run, on_row=lambda row: None)],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, data.train_dataloader())
        return float(read_csv(run.history)[0]["images_per_second"])


def bare_speed(network: nn.Module, slices: Slices, batch: int, precision: str) -> float:
    """Images/s of a loop with nothing in it but the training step."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = network.to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    images = torch.tensor(slices.images).unsqueeze(1).float().div(255).to(device)
    masks = torch.tensor(slices.masks).unsqueeze(1).float().to(device)
    start = time.perf_counter()
    for at in range(0, len(images), batch):
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16-mixed"):
            logits = network(images[at : at + batch])
        optimizer.zero_grad()
        bce_dice(logits.float(), masks[at : at + batch]).backward()
        optimizer.step()
    if device == "cuda":
        torch.cuda.synchronize()
    return len(images) / (time.perf_counter() - start)


def main() -> None:
    """Race and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("size", 224), ("batch", 16), ("batches", 6), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    recipe = {"name": "phantom", "patients": 12, "slices": 8, "difficulty": "easy"}
    recipe["healthy_slices"] = 0
    _, slices = load_data(recipe | {"image_size": given.size, "cache_dir": None}, 0)
    rows = np.resize(np.arange(len(slices.images)), given.batch * given.batches)
    slices = Slices(slices.images[rows], slices.masks[rows], [""] * len(rows), "")
    precision = choose_precision("auto", "auto")

    ours = build_resunet(attention="none").to(memory_format=torch.channels_last)
    theirs = smp.Unet("tu-resnetv2_50", encoder_weights=None, in_channels=1)
    contestants = {
        "brainseg": lambda: brainseg_speed(ours, slices, given.batch, precision),
        "brainseg again": lambda: brainseg_speed(ours, slices, given.batch, precision),
        "smp.Unet": lambda: bare_speed(theirs, slices, given.batch, precision),
    }
    warm = Slices(slices.images[: given.batch], slices.masks[: given.batch], [""], "")
    brainseg_speed(ours, warm, given.batch, precision)
    bare_speed(theirs, warm, given.batch, precision)
    rng = np.random.default_rng(0)
    speeds: list[dict[str, float]] = []
    for number in range(given.rounds):
        order = rng.permutation(list(contestants))
        speeds.append({name: contestants[name]() for name in order})
        print(f"round {number}:", *(f"{k} {speeds[-1][k]:.2f}," for k in contestants), flush=True)
    print(f"{given.size}×{given.size}, batch {given.batch}, {precision}; images/s, median:")
    for name in contestants:
        ratio = statistics.median(each[name] / each["smp.Unet"] for each in speeds)
        speed = statistics.median(each[name] for each in speeds)
        print(f"  {name:15} {speed:7.2f}   {ratio:5.2f}× smp.Unet")
    print("parameters:", *(sum(p.numel() for p in net.parameters()) for net in (ours, theirs)))


if __name__ == "__main__":
    main()
