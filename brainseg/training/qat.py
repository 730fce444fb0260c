"""Quantization-aware training: weights learn to live with 8 bits (the paper's future work).

The network that is trained is the exported one, rounded wherever the file of `int8_qat` rounds. It
learns to give what the float network gives on the training images (distillation, Polino et al.
2018, arXiv:1802.05668), by the module, the loaders and the trainer of any training.
"""

import logging
from collections.abc import Mapping
from typing import Any

import onnx
import pandas as pd
import torch
from torch import Tensor, nn

from brainseg.data.cache import Slices
from brainseg.data.load import data_of, load_data
from brainseg.data.parts import read_val, to_input
from brainseg.deploy.calibration import choose_calibration
from brainseg.deploy.options import Chosen, choose_options, is_made_with
from brainseg.deploy.qat import METHOD, trainable
from brainseg.deploy.ranges import calibrate
from brainseg.deploy.static import rewrite
from brainseg.deploy.torch_graph import TorchGraph
from brainseg.errors import DamagedFile, InputError
from brainseg.files import discard, replacing
from brainseg.run import Run
from brainseg.training.checkpoint import History, find_state, state_callback
from brainseg.training.datamodule import SliceDataModule
from brainseg.training.fit import make_trainer, quiet_lightning, without_advice
from brainseg.training.module import SegmentationModule
from brainseg.training.ranks import gathered
from brainseg.vocabulary import MODES, QAT_MODE, REFERENCE

SCHEDULE = {"name": "one_cycle"}

SAME = 2.0
"""Grey levels by which images may differ in the mean, having been resized on another machine."""

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


def fine_tune(run: Run, chosen: Chosen) -> list[str]:
    """Fine-tune an exported network for `int8_qat`, from the last finished epoch if there is one.

    Leaves the weights in `run.tuning.best`; the state to resume from goes.

    Args:
        run: exported.
        chosen: options of modes; see `choose_options`.

    Returns:
        What was done, a short phrase; empty where the fine-tuning or the file is up to date.

    Raises:
        InputError: the training images are gone or are others, the network cannot be run in torch,
            or what `training.fit.train` raises.
    """
    tuning = run.tuning
    if is_made_with(run, QAT_MODE, chosen):
        return []
    options = choose_options(QAT_MODE, chosen, run.read_made(QAT_MODE).get("options"))
    identity = {"options": options, "export": run.hash_network(REFERENCE)}
    state = _read_state(tuning)
    if state.get("identity") != identity and tuning.path.exists():
        discard(tuning.path)
        state = {}
    if state.get("status") == "finished" and tuning.best.exists():
        return []
    slices, parts = _load_training_images(run)
    rewritten = rewrite(onnx.load(run.onnx(REFERENCE)))
    tuning.path.mkdir(exist_ok=True)
    tuning.update_state(status="running", identity=identity)
    if not tuning.ranges.exists():
        _measure_ranges(run, rewritten)
    _train(run, rewritten, slices, parts, options)
    tuning.update_state(status="finished")
    return [f"fine-tuned {options['epochs']} epochs"]


def _read_state(tuning: Run) -> dict[str, Any]:
    """How far the fine-tuning has come; where that is damaged, it starts again."""
    try:
        return tuning.read_state() if tuning.state.exists() else {}
    except DamagedFile as error:
        logger.warning("The fine-tuning starts again: %s", error)
        return {}


def _measure_ranges(run: Run, rewritten: onnx.ModelProto) -> None:
    defaults = {name: each.default for name, each in MODES["int8_static"].options.items()}
    _, images = choose_calibration(read_val(run), defaults["images"], defaults["seed"])
    with replacing(run.tuning.ranges) as target:
        calibrate(rewritten, to_input(images), METHOD, target)


def _train(
    run: Run,
    rewritten: onnx.ModelProto,
    slices: Slices,
    parts: pd.Series,
    options: Mapping[str, Any],
) -> None:
    config, tuning = run.read_config(), run.tuning
    network, teacher = (
        graph.to(memory_format=torch.channels_last)
        for graph in (trainable(rewritten, run), TorchGraph(rewritten))
    )
    seed = config["seed"]
    module = DistillationModule(network, teacher, options["lr"], seed)
    data = config["data"]
    datamodule = SliceDataModule(
        slices,
        parts,
        data["batch_size"],
        data["workers"],
        seed,
        augmentation=data.get("augmentation", 1.0),
    )
    quiet_lightning()
    settings = {**config["trainer"], "max_epochs": options["epochs"], "devices": 1}
    trainer = make_trainer(settings, [History(tuning, _tell_epoch), state_callback(tuning)])
    resumed = find_state(tuning)
    if resumed:
        logger.info("Fine-tuning goes on from %s", resumed)
    with without_advice():
        trainer.fit(module, datamodule, ckpt_path=resumed)
    with replacing(tuning.best) as target:
        torch.save({"state_dict": network.cpu().state_dict()}, target)
    for file in (tuning.previous, tuning.last):
        file.unlink(missing_ok=True)


def _tell_epoch(row: Mapping[str, Any]) -> None:
    logger.info(
        "fine-tuning, epoch %d  loss %.4f  val_mean_iou %.3f  %.0f images/s",
        *(row["epoch"] + 1, row["train_loss"], row["val_mean_iou"], row["images_per_second"]),
    )


def _load_training_images(run: Run) -> tuple[Slices, pd.Series]:
    """The run's slices as it was trained on them, and the part of each.

    Raises:
        InputError: they are gone, or others are in their place.
    """
    needed = (
        f"int8_qat fine-tunes {run.path} on the images that it was trained on, and they cannot be "
        "used: {} Every other mode is made without them."
    )
    data = data_of(run)
    try:
        table, slices = load_data(data, run.read_config()["split"]["seed"])
    except InputError as error:
        raise InputError(needed.format(error)) from error
    split = pd.DataFrame(run.read(run.split)).set_index("id")["split"]
    parts = table["id"].map(split)
    missing = (split == "train").sum() - (parts == "train").sum()
    if missing:
        where = data.get("root", "the phantoms")
        raise InputError(needed.format(f"{missing} of them are not in {where}."))
    val = read_val(run)
    found = slices.images[[*pd.Series(table.index, table["id"]).loc[val["ids"]]]]
    difference = abs(found.astype(float) - val["images"]).mean()
    if difference > SAME:
        told = f"those of validation differ by {difference:.0f} grey levels from what they were."
        raise InputError(needed.format(told))
    return slices, parts
