"""Quantization-aware training: weights learn to live with 8 bits (the paper's future work).

The network that is trained is the exported one, rounded wherever the file of `int8_qat` rounds. It
learns to give what the float network gives on the training images (distillation, Polino et al.
2018, arXiv:1802.05668), by the module, the loaders and the trainer of any training.
"""

import gc
import logging
from collections.abc import Mapping
from typing import Any

import onnx
import pandas as pd
import torch
from torch import Tensor, nn

from brainseg import interrupt
from brainseg.data.cache import Slices
from brainseg.data.load import data_of
from brainseg.data.parts import read_val, to_input
from brainseg.deploy.calibration import choose_calibration
from brainseg.deploy.options import is_made_with
from brainseg.deploy.qat import METHOD, is_tuned, read_tuning, trainable
from brainseg.deploy.ranges import calibrate
from brainseg.deploy.static import rewrite
from brainseg.deploy.torch_graph import TorchGraph
from brainseg.files import discard, replacing
from brainseg.run import Run
from brainseg.terminal import has_bars
from brainseg.training.checkpoint import History, find_state, state_callback
from brainseg.training.datamodule import SliceDataModule
from brainseg.training.fit import full_gpu_told, make_trainer, quiet_lightning, without_advice
from brainseg.training.module import SegmentationModule
from brainseg.training.origin import load_origin
from brainseg.training.ranks import gathered
from brainseg.vocabulary import MODES, QAT_MODE, REFERENCE, STATIC_MODE, TUNING

SCHEDULE = {"name": "one_cycle"}

logger = logging.getLogger(__name__)


class DistillationModule(SegmentationModule):
    """Trains `network` to give the probabilities of another one, the teacher.

    Masks take part only in what is told of validation.
    """

    def __init__(self, network: nn.Module, teacher: nn.Module, lr: float, seed: int) -> None:
        super().__init__(network, "bce", lr, SCHEDULE, seed)
        self._teacher = [teacher.requires_grad_(False)]  # in a list: no part of checkpoints

    def on_fit_start(self) -> None:
        """Bring the teacher to where the network is."""
        self._teacher[0].to(self.device)

    def batch_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Cross-entropy of a training batch of images N×1×H×W with the teacher's probabilities."""
        images, _ = batch
        with torch.no_grad():
            targets = self._logits(self._teacher[0], images).sigmoid()
        return self.loss(gathered(self._logits(self.train_forward, images)), gathered(targets))

    def advise(self) -> str:
        """As that of any training."""
        return (
            f"what the epochs before have reached is kept in {TUNING}/. Try a lower rate, "
            f"--lr {self.lr / 10:.3g}."
        )


def fine_tune(run: Run, options: Mapping[str, Any]) -> list[str]:
    """Fine-tune an exported network for `int8_qat`, from the last finished epoch if there is one.

    Leaves the weights in `run.tuning.best`; the state to resume from goes.

    Args:
        run: exported.
        options: all of the mode, from `deploy.qat.choose_tuning`.

    Returns:
        What was done, a short phrase; empty where the fine-tuning or the file is up to date.

    Raises:
        InputError: the training images are gone or are others, the network cannot be run in torch,
            or what `training.fit.train` raises.
        KeyboardInterrupt: it was stopped.
    """
    if is_made_with(run, QAT_MODE, {QAT_MODE: options}):
        return []
    tuning = run.tuning
    state = read_tuning(run)
    identity = {"options": dict(options), "export": run.hash_network(REFERENCE)}
    if state.get("identity") == identity and is_tuned(run):
        return []
    slices, parts = load_origin(run)
    if tuning.path.exists() and (reason := _why_anew(state, identity)):
        logger.warning("The fine-tuning in %s is discarded: %s.", tuning.path, reason)
        discard(tuning.path)
    rewritten = rewrite(onnx.load(run.onnx(REFERENCE)))
    tuning.update_state(status="running", identity=identity)
    if not tuning.ranges.exists():
        _measure_ranges(run, rewritten)
    _train(run, rewritten, slices, parts, options)
    gc.collect()  # a Ctrl-C while the finalizer of Lightning's trainer runs would be swallowed
    files = tuning.hash_files([tuning.ranges, tuning.history])
    tuning.update_state(status="finished", files=files)
    return [f"fine-tuned {options['epochs']} epochs"]


def _why_anew(state: Mapping[str, Any], identity: Mapping[str, Any]) -> str | None:
    """Why a fine-tuning that is not done cannot go on, `None` where it can."""
    if not (known := state.get("identity")):
        return "its state is lost"
    if known.get("export") != identity["export"]:
        return "it is of another network than the run has now"
    if known != identity:
        return f"its options were others: {known.get('options')}"
    return "its weights are damaged or missing" if state["status"] == "finished" else None


def _measure_ranges(run: Run, rewritten: onnx.ModelProto) -> None:
    defaults = {name: each.default for name, each in MODES[STATIC_MODE].options.items()}
    ids, images = choose_calibration(read_val(run), defaults["images"], defaults["seed"])
    run.tuning.update_state(calibration={"part": "val", "ids": ids})
    with replacing(run.tuning.ranges) as target:
        calibrate(rewritten, to_input(images), METHOD, target)


def _train(
    run: Run,
    rewritten: onnx.ModelProto,
    slices: Slices,
    parts: pd.Series,
    options: Mapping[str, Any],
) -> None:
    config, tuning, data = run.read_config(), run.tuning, data_of(run)
    network, teacher = (
        graph.to(memory_format=torch.channels_last)
        for graph in (trainable(rewritten, run), TorchGraph(rewritten))
    )
    seed, batch_size = config.get("seed", 0), data.get("batch_size", 16)
    module = DistillationModule(network, teacher, options["lr"], seed)
    datamodule = SliceDataModule(
        slices,
        parts,
        batch_size,
        data.get("workers"),
        seed,
        augmentation=data.get("augmentation", 1.0),
    )
    quiet_lightning()
    settings = {
        "max_epochs": options["epochs"],
        "accelerator": "auto",  # not that of the training: it may have been on another machine
        "devices": 1,
        "precision": config.get("trainer", {}).get("precision", "auto"),
    }
    trainer = make_trainer(settings, [History(tuning, _tell_epoch), state_callback(tuning)])
    resumed = find_state(tuning)
    if resumed:
        logger.info("Fine-tuning goes on from %s", resumed)
    try:
        with without_advice(), full_gpu_told(batch_size, data["image_size"]):
            trainer.fit(module, datamodule, ckpt_path=resumed)
    except SystemExit as stopped:  # what Lightning makes of Ctrl-C; it would end a notebook
        interrupt.settle()
        raise KeyboardInterrupt from stopped
    with replacing(tuning.best) as target:
        torch.save({"state_dict": network.cpu().state_dict()}, target)
    for file in (tuning.previous, tuning.last):
        file.unlink(missing_ok=True)


def _tell_epoch(row: Mapping[str, Any]) -> None:
    if has_bars():
        return
    logger.info(
        "fine-tuning, epoch %d  loss %.4f  val_mean_iou %.3f  %.0f images/s",
        *(row["epoch"] + 1, row["train_loss"], row["val_mean_iou"], row["images_per_second"]),
    )
