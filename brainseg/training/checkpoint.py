"""Checkpoints and history of a fit, written so that a cut-off run resumes exactly."""

import logging
import os
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from brainseg.errors import InputError, brief
from brainseg.files import is_whole, replacing, write_csv
from brainseg.run import Run
from brainseg.training.module import MONITORED

HISTORY_COLUMNS = [
    *("epoch", "train_loss", "val_loss", "val_mean_iou", "val_tumor_iou", "lr"),
    *("seconds", "images_per_second", "waiting_share"),
]
"""`waiting_share` is the part of `seconds` in which training waited for the next batch."""


STATE = ("epoch", "state_dict", "optimizer_states", "schedule", "callbacks", "loops")
"""What a state to resume from holds."""

logger = logging.getLogger(__name__)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its target, syncs it, and renames it.

    The state to resume from is kept as it was an epoch before.
    """

    def save_checkpoint(self, checkpoint: Any, path: Any, storage_options: Any = None) -> None:
        """Save `checkpoint` to `path`."""
        target = Path(path)
        with replacing(target) as temporary:
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)  # given a path, it would write its random name too
                file.flush()
                os.fsync(file.fileno())  # before the one that it replaces is moved
            run = Run(target.parents[1])
            if target == run.last and target.exists():
                target.replace(run.previous)  # killed here, the run goes on from that


class PatientStopping(EarlyStopping):
    """Early stopping that remembers, when resumed, that it had already stopped."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop at once where the patience ran out before the run was cut off."""
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience


class BestCheckpoint(ModelCheckpoint):
    """Keeps the weights with the best score, also when the run's folder was moved meanwhile.

    Lightning forgets the best score where the folder is not the one that it saved.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best score, with the paths as they are now."""
        assert self.dirpath is not None
        folder = Path(self.dirpath)

        def moved(path: str) -> str:
            return str(folder / Path(path).name) if path else path

        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        scores = {moved(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict(
            state_dict
            | {key: moved(state_dict[key]) for key in paths}
            | {"dirpath": str(folder), "best_k_models": scores}
        )


def find_state(run: Run) -> Path | None:
    """The state to resume from: the last that can be read, `None` where there is none.

    What is damaged is reported, and a damaged last state removed where there is one before it.
    """
    there = [file for file in (run.last, run.previous) if file.exists()]
    for file in there:
        if not (reason := _find_damage(file)):
            if file != run.last:  # the next state would move the damaged one over this one
                run.last.unlink(missing_ok=True)
            return file
        logger.warning("%s is damaged (%s): trying the epoch before.", file, reason)
    if there:
        logger.warning("No state of the training can be read: it starts from its beginning.")
    return None


def _find_damage(file: Path) -> str | None:
    try:
        if not is_whole(file):
            return "it is not what was written, as its checksums tell"
        kept = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        missing = [key for key in STATE if key not in kept]
        return f"it lacks {', '.join(missing)}" if missing else None
    except Exception as error:  # torch raises whatever it meets
        return brief(error)


def checkpoint_callbacks(run: Run, patience: int | None) -> list[pl.Callback]:
    """Early stopping, the best weights, and last of all the state to resume from."""
    best = BestCheckpoint(
        monitor=MONITORED, mode="max", save_weights_only=True, **_saving(run.best)
    )
    last = state_callback(run)
    if not patience:
        return [best, last]
    return [
        PatientStopping(MONITORED, mode="max", patience=patience, check_on_train_epoch_end=True),
        best,
        last,
    ]


def state_callback(run: Run) -> ModelCheckpoint:
    """Saves the state to resume from after each epoch."""
    return ModelCheckpoint(**_saving(run.last))


def _saving(file: Path) -> dict[str, Any]:
    return {
        "dirpath": file.parent,
        "filename": file.stem,
        "save_on_train_epoch_end": True,
        "enable_version_counter": False,
    }


class History(pl.Callback):
    """Writes a row per epoch to `history.csv` and hands it to `on_row`."""

    def __init__(self, run: Run, on_row: Any) -> None:
        self.run = run
        self.on_row = on_row
        self.rows: list[dict[str, Any]] = []

    def state_dict(self) -> dict[str, Any]:
        """The rows so far: a checkpoint to resume from brings its own history."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the rows of the checkpoint."""
        self.rows = list(state_dict["rows"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the rows of finished epochs when resuming."""
        rows = self.rows or self._read()
        self.rows = [row for row in rows if int(row["epoch"]) < trainer.current_epoch]

    def _read(self) -> list[dict[str, Any]]:
        """The rows of a run that was cut off before its checkpoints held them."""
        try:
            return self.run.read(self.run.history) if self.run.history.exists() else []
        except InputError as error:
            logger.warning("The history begins anew: %s", error)
            return []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the epoch's clock."""
        self.started = self.ready = time.perf_counter()
        self.images, self.waited = 0, 0.0

    def on_train_batch_start(self, *_: Any) -> None:
        """Note how long the batch was waited for."""
        self.waited += time.perf_counter() - self.ready

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Count images; the clock stops with the last batch, before validation."""
        self.images += len(batch[0]) * trainer.world_size
        if trainer.is_last_batch and pl_module.device.type == "cuda":
            torch.cuda.synchronize()  # else work that was only queued would count as done
        self.ready = time.perf_counter()
        self.seconds = self.ready - self.started

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the epoch's row."""
        metrics = {key: value.item() for key, value in trainer.callback_metrics.items()}
        row = {key: metrics.get(key) for key in HISTORY_COLUMNS} | {
            "epoch": trainer.current_epoch,
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images / self.seconds, 2),
            "waiting_share": round(self.waited / self.seconds, 4),
        }
        self.rows.append(row)
        write_csv(self.run.history, self.rows, HISTORY_COLUMNS)
        self.on_row(row)
