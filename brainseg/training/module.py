"""The Lightning shell around the network: loss, metrics, optimiser and schedule."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau
from torchmetrics.classification import BinaryStatScores

from brainseg.data.dataset import derive_seed
from brainseg.errors import InputError
from brainseg.evaluation.metrics import mean_iou, tumor_iou
from brainseg.training.loss import LOSSES
from brainseg.training.ranks import gathered
from brainseg.training.schedule import make_schedule

MONITORED = "val_mean_iou"
"""The paper's `val_binary_io_u`: chooses the best checkpoint, stops early, lowers the rate."""


CHECKED = 50
"""Steps on a GPU after which it is looked whether a loss is no number."""


class SegmentationModule(pl.LightningModule):
    """Trains `network` (logits from images N×1×H×W in [0, 1]) on binary masks.

    The schedule is stepped and saved here rather than by Lightning, which saves a checkpoint
    before it steps an epoch's schedule: a resumed run would miss that step. Losses are gathered
    here too: `self.log` in every step costs more than adding to a list.

    Attributes:
        train_forward: what training steps call; the network, unless that was compiled.
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
        self.train_forward: Callable[[Tensor], Tensor] = network.__call__
        # Validating arguments waits for the GPU; of several processes, each has all slices.
        self.stats = BinaryStatScores(validate_args=False, sync_on_compute=False)
        self.train_losses: list[Tensor] = []
        self.val_losses: list[Tensor] = []
        self._schedule_state: dict[str, Any] | None = None

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Loss of one batch of images and masks, both N×1×H×W."""
        loss = self.batch_loss(batch)
        self.train_losses.append(loss.detach())
        looks = loss.device.type == "cpu" or batch_index % CHECKED == 0  # it waits for a GPU
        if looks and self.trainer.world_size == 1:  # one of several processes cannot end alone
            self._check_losses()
        return loss

    def batch_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Loss of a training batch of images and masks; nothing is noted."""
        images, masks = batch
        logits = self._logits(self.train_forward, images)
        return self.loss(gathered(logits), gathered(masks))  # Dice is of the whole batch

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        """Add one batch to the validation metrics; tumour is where the logit is at least 0."""
        images, masks = batch
        logits = self._logits(self.network, images)
        self.val_losses.append(self.loss(logits, masks).expand(len(images)))
        self.stats.update((logits >= 0).int(), masks.int())

    def on_train_epoch_start(self) -> None:
        """Derive an epoch's dropout from seed and epoch, so that a resumed run repeats it.

        Nothing else draws from this generator during an epoch; loaders have their own.
        """
        rank = [self.global_rank] if self.global_rank else []  # each drops out pixels of its own
        torch.manual_seed(derive_seed(self.seed, self.current_epoch, *rank))
        self.train_losses.clear()

    def on_train_batch_end(self, *args: Any) -> None:
        """Step a schedule that counts batches."""
        if isinstance(self.schedule, OneCycleLR):
            self.schedule.step()

    def on_validation_epoch_end(self) -> None:
        """Mean losses of the epoch, and IoU over all pixels of the validation split."""
        found = {"val_loss": torch.cat(self.val_losses).mean().item()}
        if self.train_losses:  # not where a network is only validated
            found["train_loss"] = torch.stack(self.train_losses).mean().item()
            if self.trainer.world_size == 1:
                self._check_losses()
        self.val_losses.clear()
        tp, fp, tn, fn, _ = self.stats.compute().tolist()
        counts = np.array([tp, fp, fn, tn])
        self.stats.reset()
        # With no tumour in truth and prediction the IoU is undefined; 0 keeps the epoch from
        # being chosen.
        found |= {"val_tumor_iou": tumor_iou(counts) or 0.0, MONITORED: mean_iou(counts) or 0.0}
        # One process decides for all: between CPUs, the statistics of norms differ.
        found = self.trainer.strategy.broadcast(found)
        for name in ("train_loss", "val_loss"):
            if not math.isfinite(found.get(name, 0.0)):
                raise self._diverged(found[name], "validation")
        for name, value in found.items():
            self.log(name, value, prog_bar=name == MONITORED)

    def on_train_epoch_end(self) -> None:
        """Step a schedule that watches the validation score."""
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(self.trainer.callback_metrics[MONITORED].item())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam (paper, section II-F), and the schedule."""
        optimizer = make_adam(self.parameters(), self.lr)
        steps = int(self.trainer.estimated_stepping_batches)
        self.schedule = make_schedule(optimizer, self.schedule_config, self.lr, steps)
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

    def _check_losses(self) -> None:
        """Stop where a loss is no number: no later step brings the weights back.

        Raises:
            InputError: one is not; it names the first.
        """
        losses = torch.stack(self.train_losses[-CHECKED:])
        if not losses.isfinite().all():
            first = int((~losses.isfinite()).nonzero()[0])
            step = len(self.train_losses) - len(losses) + first + 1
            raise self._diverged(losses[first].item(), f"step {step}")

    def _diverged(self, loss: float, place: str) -> InputError:
        rates = [group["lr"] for group in self.trainer.optimizers[0].param_groups]
        return InputError(
            f"The loss became {loss:g} in epoch {self.current_epoch + 1}, {place}, at a "
            f"learning rate of {rates[0]:.3g}. The training stops; {self.advise()}"
        )

    def advise(self) -> str:
        """What is kept of a training that diverged, and what to try."""
        return (
            "what the epochs before have reached is kept in checkpoints/. Try a lower rate, "
            f"optim.lr={self.lr / 10:.3g}, or trainer.precision=32-true."
        )

    def _logits(self, forward: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        logits = forward(images.contiguous(memory_format=torch.channels_last))
        return logits.float()  # the loss is taken in full precision under autocast too


def make_adam(parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Adam:
    """Adam in one kernel, which torch has for real parameters."""
    parameters = list(parameters)
    fused = not any(parameter.is_complex() for parameter in parameters)
    return FusedAdam(parameters, lr=lr, fused=fused)


class FusedAdam(torch.optim.Adam):
    """Adam that shows torch's kernel for the CPU channels-last tensors as they lie in memory.

    That kernel copies what is not contiguous, which takes longer than its arithmetic.
    """

    def _init_group(self, group: Any, *lists: list[Tensor]) -> Any:
        found = super()._init_group(group, *lists)
        turned = [_is_turned(parameter) for parameter in lists[0]]
        for tensors in lists[:4]:  # parameters, gradients and both moments
            pairs = zip(tensors, turned, strict=True)
            tensors[:] = [each.permute(0, 2, 3, 1) if turn else each for each, turn in pairs]
        return found


def _is_turned(parameter: Tensor) -> bool:
    """Whether a parameter on the CPU is contiguous in channels-last order alone."""
    return (
        parameter.device.type == "cpu"
        and parameter.dim() == 4
        and not parameter.is_contiguous()
        and parameter.is_contiguous(memory_format=torch.channels_last)
    )
