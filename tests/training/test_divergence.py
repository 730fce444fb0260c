"""A loss that is no number any more."""

import pytest
import torch

from brainseg.errors import InputError
from brainseg.files import read_csv
from brainseg.run import Run
from brainseg.training.job import run_job
from brainseg.training.module import SegmentationModule


@pytest.fixture(autouse=True)
def without_deploying(monkeypatch):
    monkeypatch.setattr("brainseg.training.job.prepare_modes", lambda *_: [])


def spoil(monkeypatch, epoch: int, batch: int, value: float) -> None:
    """Make the loss of one step `value`."""
    loss_of = SegmentationModule.batch_loss

    def batch_loss(self, images_and_masks):
        loss = loss_of(self, images_and_masks)
        at = (self.current_epoch, len(self.train_losses))
        return loss * value if at == (epoch, batch) else loss

    monkeypatch.setattr(SegmentationModule, "batch_loss", batch_loss)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_it_stops_the_training_and_keeps_the_epochs_before(tmp_path, configure, monkeypatch, value):
    spoil(monkeypatch, 1, 1, value)
    run = Run(tmp_path / "run")
    told = rf"The loss became {value:g} in epoch 2, step 2, at .* Try .*, optim\.lr=0\.0001, or"
    with pytest.raises(InputError, match=told):
        run_job(configure(), run)
    state = run.read_state()
    assert (state["status"], state["stage"]) == ("failed", "train")
    assert "optim.lr=0.0001" in state["reason"]
    assert [row["epoch"] for row in read_csv(run.history)] == ["0"]
    for file in (run.best, run.last):
        kept = torch.load(file, weights_only=True)
        assert all(weight.isfinite().all() for weight in kept["state_dict"].values())
    assert torch.load(run.last, weights_only=True)["epoch"] == 0


def test_a_network_that_the_last_step_has_spoilt_is_not_kept(tmp_path, configure, monkeypatch):
    def validation_step(self, batch, batch_index):
        self.val_losses.append(torch.full((2,), float("nan")))
        self.stats.update(batch[1].int(), batch[1].int())

    monkeypatch.setattr(SegmentationModule, "validation_step", validation_step)
    run = Run(tmp_path / "run")
    with pytest.raises(InputError, match="The loss became nan in epoch 1, validation"):
        run_job(configure(), run)
    assert not run.best.exists()
