"""Training on an NVIDIA GPU."""

import pytest

from brainseg.files import read_csv
from brainseg.run import Run
from brainseg.training.job import run_job


@pytest.mark.cuda
@pytest.mark.parametrize("compiled", [False, True])
def test_an_epoch_on_a_gpu(tmp_path, configure, compiled):
    trainer = {"accelerator": "gpu", "max_epochs": 1, "precision": "auto", "compile": compiled}
    run = Run(tmp_path / "run")
    run_job(configure(trainer=trainer), run)
    assert run.read_state()["status"] == "finished"
    (row,) = read_csv(run.history)
    assert float(row["train_loss"]) > 0
    assert float(row["images_per_second"]) > 0
