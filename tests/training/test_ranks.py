"""A training on two devices, here two processes on a CPU, against the same on one."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from brainseg.data.dataset import EpochSampler
from brainseg.errors import InputError
from brainseg.files import read_csv
from brainseg.run import Run
from brainseg.training import ranks
from brainseg.training.job import run_job
from brainseg.training.ranks import Rank, Ranks, divide_batch, started_ranks

NETWORK = """
from torch import nn

class Plain(nn.Sequential):
    def __init__(self, width):
        first, middle = nn.Conv2d(1, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        super().__init__(first, nn.ReLU(), middle, nn.ReLU(), nn.Conv2d(width, 1, 1))
        print("made")

    def forward(self, images):
        print("." * 30_000)  # a pipe that nobody reads is soon full
        return super().forward(images)
"""


@pytest.fixture(autouse=True)
def without_deploying(monkeypatch):
    monkeypatch.setattr("brainseg.training.job.prepare_modes", lambda *_: [])


@pytest.fixture
def plain(tmp_path: Path, monkeypatch) -> dict[str, object]:
    """A network whose result does not depend on how a batch is divided: no batch norm."""
    (tmp_path / "plain_network.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    return {"name": "own", "target": "plain_network.Plain", "args": {"width": 4}}


def test_two_devices_learn_what_one_learns(tmp_path, configure, plain):
    config = configure(loss={"name": "bce_dice"}, trainer={"max_epochs": 2})
    config["model"] = plain
    one, two = Run(tmp_path / "one"), Run(tmp_path / "two")
    run_job(config, one)
    config["trainer"]["devices"] = 2
    run_job(config, two)
    assert {path.name for path in one.path.iterdir()} == {path.name for path in two.path.iterdir()}
    for expected, found in zip(*(read_csv(run.history) for run in (one, two)), strict=True):
        for key in ("epoch", "train_loss", "val_loss", "val_mean_iou", "val_tumor_iou", "lr"):
            assert float(found[key]) == pytest.approx(float(expected[key]), rel=1e-4)
    first, second = (torch.load(run.best, weights_only=True)["state_dict"] for run in (one, two))
    for key, weight in first.items():
        torch.testing.assert_close(second[key], weight, rtol=1e-3, atol=1e-5)
    assert not torch.distributed.is_initialized()


def test_all_processes_together_take_the_batches_of_one():
    samplers = [EpochSampler(11, 5, rank, 2) for rank in (0, 1)]
    alone = EpochSampler(11, 5)
    for sampler in (*samplers, alone):
        sampler.set_epoch(3)
    first, second = map(list, samplers)
    assert len(first) == len(second) == len(samplers[0]) == 5
    for start in range(0, 8, 4):  # batches of four
        together = {*first[start // 2 : start // 2 + 2], *second[start // 2 : start // 2 + 2]}
        assert together == set(list(alone)[start : start + 4])


def test_a_batch_that_cannot_be_divided_is_refused_before_a_process_is_started(configure, tmp_path):
    assert divide_batch(16, 2) == 8
    told = re.escape("data.batch_size=15 cannot be divided among 2 devices")
    with (
        pytest.raises(InputError, match=f"{told}.* such as 16"),
        started_ranks(configure(data={"batch_size": 15}), Run(tmp_path), 2),
    ):
        pass


def test_a_process_that_cannot_start_stops_the_training(configure, tmp_path, capfd):
    config = configure(data={"patients": 2})  # too few
    threads = torch.get_num_threads()
    with (
        pytest.raises(InputError, match="could not start"),
        started_ranks(config, Run(tmp_path), 2),
    ):
        pass
    assert capfd.readouterr().err.startswith("Error: ")
    assert torch.get_num_threads() == threads


def test_a_process_ends_with_the_one_that_started_it():
    command = [sys.executable, "-c", "from brainseg.training.rank import _end_with_input as f; f()"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert process.stdin
    process.stdin.close()
    assert process.wait(timeout=60) == 1


def test_lightning_learns_of_the_places_whatever_cluster_it_sees(monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "8")
    place = Ranks(Rank(1, 2, 4321))
    assert (place.global_rank(), place.local_rank(), place.world_size()) == (1, 1, 2)
    assert (place.main_address, place.main_port) == (ranks.Ranks.main_address, 4321)
    assert place.creates_processes_externally
    assert np.all([not Ranks.detect(), place.node_rank() == 0])
