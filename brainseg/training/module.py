"""The Lightning shell around the network: loss, metrics, optimiser and schedule."""

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau
from torchmetrics.classification import BinaryStatScores

from brainseg.data.dataset import derive_seed
from brainseg.evaluation.metrics import mean_iou, tumor_iou
from brainseg.training.loss import LOSSES

MONITORED = "val_mean_iou"
"""The paper's `val_binary_io_u`: chooses the best checkpoint, stops early, lowers the rate."""


class SegmentationModule(pl.LightningModule):
    """Trains `network` (logits from images N×1×H×W in [0, 1]) on binary masks.

    The schedule is stepped and saved here rather than by Lightning, which saves a checkpoint
    before it steps an epoch's schedule: a resumed run would miss that step.
    """

    def __init__(
        self, network: nn.Module, loss: str, lr: float, schedule: dict[str, Any], seed: int
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = LOSSES[loss]
        self.lr = lr
        self.schedule_config = schedule
        self.seed = seed
        self.stats = BinaryStatScores()
        self._schedule_state: dict[str, Any] | None = None

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Loss of one batch of images and masks, both N×1×H×W."""
        images, masks = batch
        loss = self.loss(self._logits(images), masks)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(images))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        """Add one batch to the validation metrics; tumour is where the logit is at least 0."""
        images, masks = batch
        logits = self._logits(images)
        self.log("val_loss", self.loss(logits, masks), batch_size=len(images))
        self.stats.update((logits >= 0).int(), masks.int())

    def on_train_batch_start(self, batch: Any, batch_index: int) -> None:
        """Derive a batch's dropout from seed, epoch and number, so that a resumed run repeats it.

        Each batch, since loaders draw from the same generator, and not at the same moment when
        a run is resumed.
        """
        torch.manual_seed(derive_seed(self.seed, self.current_epoch, batch_index))

    def on_train_batch_end(self, *args: Any) -> None:
        """Step a schedule that counts batches."""
        if isinstance(self.schedule, OneCycleLR):
            self.schedule.step()

    def on_validation_epoch_end(self) -> None:
        """IoU over all pixels of the validation split."""
        tp, fp, tn, fn, _ = self.stats.compute().tolist()
        counts = np.array([tp, fp, fn, tn])
        self.stats.reset()
        # With no tumour in truth and prediction the IoU is undefined; 0 keeps the epoch from
        # being chosen.
        self.log("val_tumor_iou", tumor_iou(counts) or 0.0)
        self.log(MONITORED, mean_iou(counts) or 0.0, prog_bar=True)

    def on_train_epoch_end(self) -> None:
        """Step a schedule that watches the validation score."""
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(self.trainer.callback_metrics[MONITORED].item())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam (paper, section II-F), and the schedule."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr)
        self.schedule = self._make_schedule(optimizer)
        if self._schedule_state is not None:
            self.schedule.load_state_dict(self._schedule_state)
        return optimizer

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the schedule's state in full checkpoints."""
        if "optimizer_states" in checkpoint:
            checkpoint["schedule"] = self.schedule.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Hold the schedule's state until the optimiser is there."""
        self._schedule_state = checkpoint["schedule"]

    def _make_schedule(self, optimizer: torch.optim.Optimizer) -> OneCycleLR | ReduceLROnPlateau:
        options = {key: value for key, value in self.schedule_config.items() if key != "name"}
        if self.schedule_config["name"] == "plateau":
            # As Keras counts: it lowers the rate in epoch `patience` without a gain of 1e-4, torch
            # in the one after, and torch's threshold is relative by default.
            patience = max(options.pop("patience") - 1, 0)
            return ReduceLROnPlateau(
                optimizer, mode="max", patience=patience, threshold_mode="abs", **options
            )
        steps = int(self.trainer.estimated_stepping_batches)
        return OneCycleLR(optimizer, max_lr=self.lr, total_steps=steps + 1, **options)

    def _logits(self, images: Tensor) -> Tensor:
        logits = self.network(images.contiguous(memory_format=torch.channels_last))
        return logits.float()  # the loss is taken in full precision under autocast too
