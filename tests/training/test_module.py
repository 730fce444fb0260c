"""The Lightning shell: metrics, schedules and randomness."""

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from brainseg.data.cache import Slices
from brainseg.model.attention import ATTENTIONS, Attention
from brainseg.model.registry import build_network
from brainseg.training.datamodule import SliceDataModule
from brainseg.training.loss import bce
from brainseg.training.module import SegmentationModule, make_adam


def make_trainer(epochs: int) -> pl.Trainer:
    return pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def make_loader() -> DataLoader:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(8, 1, 16, 16, generator=generator)
    return DataLoader(TensorDataset(images, (images > 0.8).float()), batch_size=3)


def make_module(schedule: dict, lr: float = 0.1) -> SegmentationModule:
    torch.manual_seed(0)
    return SegmentationModule(nn.Conv2d(1, 1, 1), "bce", lr, schedule, seed=0)


@pytest.mark.filterwarnings(
    "ignore:The '.*_dataloader' does not have many workers",
    "ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning",
)
class TestSegmentationModule:
    def test_validation_scores_are_the_pooled_ious(self):
        module, loader = make_module({"name": "one_cycle"}), make_loader()
        nn.init.constant_(module.network.weight, 1.0)
        nn.init.constant_(module.network.bias, -0.7)
        (metrics,) = make_trainer(1).validate(module, loader, verbose=False)
        images, truth = (tensor.numpy() for tensor in loader.dataset.tensors)
        prediction = images >= 0.7
        tumor = np.sum(prediction & (truth > 0)) / np.sum(prediction | (truth > 0))
        rest = np.sum(~prediction & (truth == 0)) / np.sum(~prediction | (truth == 0))
        assert metrics["val_tumor_iou"] == pytest.approx(tumor, abs=1e-6)
        assert metrics["val_mean_iou"] == pytest.approx((tumor + rest) / 2, abs=1e-6)

    def test_losses_are_means_over_steps_and_over_images(self):
        module, loader = make_module({"name": "one_cycle"}), make_loader()
        steps = []
        module.on_before_zero_grad = lambda _: steps.append(module.train_losses[-1].item())
        trainer = make_trainer(2)
        trainer.fit(module, loader, loader)
        assert len(steps) == 6
        assert trainer.callback_metrics["train_loss"].item() == pytest.approx(np.mean(steps[3:]))
        images, masks = loader.dataset.tensors  # 3, 3 and 2 in a batch
        with torch.no_grad():
            expected = bce(module.network(images), masks).item()
        assert trainer.callback_metrics["val_loss"].item() == pytest.approx(expected)

    def test_one_cycle_rises_and_falls(self):
        rates = []
        module = make_module({"name": "one_cycle"})
        module.on_before_optimizer_step = lambda optimizer: rates.append(
            optimizer.param_groups[0]["lr"]
        )
        make_trainer(4).fit(module, make_loader(), make_loader())
        assert len(rates) == 12
        assert max(rates) == pytest.approx(0.1, rel=0.05)
        assert rates[0] < 0.01
        assert rates[-1] < 0.01

    def test_plateau_lowers_the_rate_after_patience(self):
        schedule = {"name": "plateau", "factor": 0.2, "patience": 2, "min_lr": 0}
        module = make_module(schedule, lr=1e-12)  # learns nothing, so the score stands still
        trainer = make_trainer(5)
        trainer.fit(module, make_loader(), make_loader())
        # Keras: epochs 1 and 2 bring no gain, so patience 2 is over in epoch 2, then in epoch 4
        assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(1e-12 * 0.2**2)

    def test_dropout_follows_seed_and_epoch(self):
        draws = []

        class Noted(nn.Conv2d):
            def forward(self, x):
                draws.extend(torch.rand(1).tolist() if self.training else ())
                return super().forward(x)

        for drawn_before in (0, 5):
            torch.manual_seed(0)
            network = Noted(1, 1, 1)
            module = SegmentationModule(network, "bce", 0.1, {"name": "one_cycle"}, seed=0)
            torch.rand(drawn_before)  # what happened before an epoch does not matter
            make_trainer(2).fit(module, make_loader(), make_loader())
        assert draws[:6] == draws[6:]
        assert len(set(draws)) == 6

    @pytest.mark.parametrize("name", ["fifth", "smp_unet", "own"])
    def test_any_network_trains(self, name, monkeypatch):
        monkeypatch.setitem(ATTENTIONS, "fifth", None)  # so that it goes afterwards

        class Fifth(Attention):
            name = "fifth"

            def __init__(self, channels):
                super().__init__()
                self.scale = nn.Parameter(torch.ones(channels, 1, 1))

            def forward(self, skip, gate=None):
                return skip * self.scale

        tiny = {"layers": [1, 1, 1, 1], "channels": [16, 32, 64, 128], "stem_chs": 16}
        network = build_network(
            {
                "fifth": {"attention": "fifth", "encoder_args": tiny},
                "smp_unet": {"name": "smp_unet", "args": tiny},
                "own": {
                    "name": "own",
                    "target": "torch.nn.Conv2d",
                    "args": {"in_channels": 1, "out_channels": 1, "kernel_size": 1},
                },
            }[name]
        )
        before = {key: value.clone() for key, value in network.named_parameters()}
        module = SegmentationModule(network, "bce", 0.1, {"name": "one_cycle"}, seed=0)
        images = torch.rand(4, 1, 32, 32)
        loader = DataLoader(TensorDataset(images, (images > 0.8).float()), batch_size=2)
        make_trainer(1).fit(module, loader, loader)
        assert not any(torch.equal(before[key], p) for key, p in network.named_parameters())


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("gradient_memory", [torch.contiguous_format, torch.channels_last])
def test_fused_adam_learns_the_same(memory, gradient_memory):
    torch.manual_seed(0)
    start, gradients = torch.randn(4, 3, 5, 5), torch.randn(20, 4, 3, 5, 5)

    def train(make) -> torch.Tensor:
        parameter = nn.Parameter(start.clone(memory_format=memory))
        optimizer = make([parameter], lr=0.1)
        for gradient in gradients:
            optimizer.zero_grad()
            (parameter * gradient.clone(memory_format=gradient_memory)).sum().backward()
            optimizer.step()
        assert parameter.is_contiguous(memory_format=memory)
        assert optimizer.state[parameter]["exp_avg"].shape == parameter.shape
        return parameter.detach()

    torch.testing.assert_close(train(make_adam), train(torch.optim.Adam))
    assert make_adam([nn.Parameter(start)], 0.1).defaults["fused"]


def test_adam_takes_complex_parameters():
    parameter = nn.Parameter(torch.ones(2, dtype=torch.complex64))
    parameter.grad = torch.ones_like(parameter)
    make_adam([parameter], 0.1).step()
    torch.testing.assert_close(parameter.detach().real, torch.full((2,), 0.9))


@pytest.mark.parametrize("workers", [0, 1])
def test_loaders_leave_the_generator_of_dropout_alone(workers: int):
    images = np.zeros((4, 8, 8), np.uint8)
    slices = Slices(images, images, [""] * 4, "")
    parts = pd.Series(["train", "train", "val", "val"])
    data = SliceDataModule(slices, parts, batch_size=2, workers=workers, seed=0)
    before = torch.get_rng_state()
    assert [len(list(loader)) for loader in (data.train_dataloader(), data.val_dataloader())]
    assert torch.equal(torch.get_rng_state(), before)
