"""A state to resume from that is damaged."""

import logging
import os
import zipfile
from pathlib import Path

import pytest
import torch

from brainseg.files import read_csv
from brainseg.run import Run
from brainseg.training.checkpoint import AtomicCheckpointIO, find_state
from brainseg.training.job import run_job
from brainseg.training.module import SegmentationModule

LEARNT = ("epoch", "train_loss", "val_loss", "val_mean_iou", "val_tumor_iou", "lr")


@pytest.fixture(autouse=True)
def without_deploying(monkeypatch):
    monkeypatch.setattr("brainseg.training.job.prepare_modes", lambda *_: [])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Run:
    return Run(tmp_path_factory.mktemp("undisturbed") / "run")


@pytest.fixture
def cut_off(tmp_path, configure, monkeypatch) -> Run:
    """A run that was cut off in its third epoch."""
    run = Run(tmp_path / "run")
    step = SegmentationModule.training_step

    def training_step(self, batch, batch_index):
        if self.current_epoch == 2:
            raise RuntimeError("power cut")
        return step(self, batch, batch_index)

    with monkeypatch.context() as patch:
        patch.setattr(SegmentationModule, "training_step", training_step)
        with pytest.raises(RuntimeError, match="power cut"):
            run_job(configure(), run)
    assert run.last.exists()
    assert run.previous.exists()
    return run


def flip(file: Path) -> None:
    """Change a byte of the largest record."""
    content = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        largest = max(archive.infolist(), key=lambda record: record.file_size)
    content[largest.header_offset + 200 + largest.file_size // 2] ^= 0x40
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:5000])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def learnt(run: Run) -> list[list[str]]:
    return [[row[key] for key in LEARNT] for row in read_csv(run.history)]


@pytest.mark.parametrize("damage", [flip, cut, empty])
@pytest.mark.parametrize("both", [False, True])
def test_it_goes_on_from_what_can_be_read(
    cut_off: Run, undisturbed: Run, configure, caplog, damage, both: bool
):
    if not undisturbed.best.exists():
        run_job(configure(), undisturbed)
    damage(cut_off.last)
    if both:
        damage(cut_off.previous)
    with caplog.at_level(logging.INFO, "brainseg"):
        run_job(configure(), cut_off)
    assert "last.ckpt is damaged" in caplog.text
    assert ("it starts from its beginning" in caplog.text) == both
    assert (f"Resuming after a cut-off: {cut_off.previous}" in caplog.text) == (not both)
    assert learnt(cut_off) == learnt(undisturbed)
    assert cut_off.best.read_bytes() == undisturbed.best.read_bytes()
    assert not cut_off.last.exists()
    assert not cut_off.previous.exists()


@pytest.mark.parametrize("content", [b"", b"epoch,lr\n0", b"\xff\xfe\0garbage", None])
def test_the_history_comes_from_what_it_goes_on_from(
    cut_off: Run, undisturbed: Run, configure, content: bytes | None
):
    if not undisturbed.best.exists():
        run_job(configure(), undisturbed)
    if content is None:
        cut_off.history.unlink()
    else:
        cut_off.history.write_bytes(content)
    run_job(configure(), cut_off)
    assert learnt(cut_off) == learnt(undisturbed)


def test_a_damaged_state_does_not_take_the_place_of_the_good_one(cut_off: Run):
    good = cut_off.previous.read_bytes()
    flip(cut_off.last)
    assert find_state(cut_off) == cut_off.previous
    assert not cut_off.last.exists()
    next_state = torch.load(cut_off.previous, weights_only=True)
    AtomicCheckpointIO().save_checkpoint(next_state, cut_off.last)
    assert find_state(cut_off) == cut_off.last
    assert cut_off.previous.read_bytes() == good


def test_a_new_state_is_on_the_disk_before_the_old_one_moves(cut_off: Run, monkeypatch):
    done = []
    sync, move = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: done.append("synced") or sync(handle))

    def replace(file, target):
        done.append(f"moved {file.name}" if file == cut_off.last else "put in place")
        return move(file, target)

    monkeypatch.setattr(Path, "replace", replace)
    AtomicCheckpointIO().save_checkpoint({"epoch": 2}, cut_off.last)
    assert [*dict.fromkeys(done)] == ["synced", "moved last.ckpt", "put in place"]
