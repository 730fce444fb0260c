"""A fit that ends early, that meets a full GPU, and that is compiled."""

import logging
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from brainseg import interrupt
from brainseg.errors import InputError
from brainseg.files import read_csv
from brainseg.run import Run
from brainseg.training.compilation import Compilation
from brainseg.training.job import run_job
from brainseg.training.module import SegmentationModule


@pytest.fixture(autouse=True)
def without_deploying(monkeypatch):
    monkeypatch.setattr("brainseg.training.job.prepare_modes", lambda *_: [])


def before_each_step(monkeypatch, action) -> None:
    """Call `action(epoch, batch)` at the start of every training step."""
    step = SegmentationModule.training_step

    def training_step(self, batch, batch_index):
        action(self.current_epoch, batch_index)
        return step(self, batch, batch_index)

    monkeypatch.setattr(SegmentationModule, "training_step", training_step)


def weights(run: Run) -> dict[str, torch.Tensor]:
    return torch.load(run.best, weights_only=True)["state_dict"]


LEARNT = ("epoch", "train_loss", "val_loss", "val_mean_iou", "val_tumor_iou", "lr")


def learnt(run: Run) -> list[list[str]]:
    return [[row[key] for key in LEARNT] for row in read_csv(run.history)]


class TestMaxMinutes:
    """Every training step takes a minute."""

    @pytest.fixture
    def steps(self, monkeypatch) -> list[tuple[int, int]]:
        done: list[tuple[int, int]] = []
        before_each_step(monkeypatch, lambda *step: done.append(step))
        clock = SimpleNamespace(monotonic=lambda: 60.0 * len(done))
        monkeypatch.setattr("pytorch_lightning.callbacks.timer.time", clock)
        return done

    def test_training_ends_in_the_middle_of_an_epoch(self, tmp_path, configure, steps, caplog):
        run = Run(tmp_path / "run")
        with caplog.at_level(logging.INFO, "brainseg"):
            run_job(configure(trainer={"max_epochs": 9, "max_minutes": 5}), run)
        assert steps == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
        assert [row["epoch"] for row in read_csv(run.history)] == ["0", "1", "2"]
        assert all(row["val_mean_iou"] for row in read_csv(run.history))
        assert run.read_state()["status"] == "finished"
        assert run.best.exists()
        assert "trainer.max_minutes=5 are over" in caplog.text

    def test_minutes_before_a_cut_off_count(self, tmp_path, configure, steps, monkeypatch):
        run = Run(tmp_path / "run")
        config = configure(trainer={"max_epochs": 9, "max_minutes": 9.5})
        with monkeypatch.context() as patch:

            def cut_off(epoch: int, batch: int) -> None:
                if (epoch, batch) == (1, 1):
                    raise RuntimeError("power cut")

            before_each_step(patch, cut_off)
            with pytest.raises(RuntimeError, match="power cut"):
                run_job(config, run)
        kept = sum(epoch == 0 for epoch, _ in steps)
        steps.clear()
        run_job(config, run)
        assert len(steps) == 10 - kept

    def test_a_limit_that_is_not_reached_changes_nothing(self, tmp_path, configure, steps, caplog):
        free, limited = Run(tmp_path / "free"), Run(tmp_path / "limited")
        run_job(configure(), free)
        steps.clear()
        with caplog.at_level(logging.INFO, "brainseg"):
            run_job(configure(trainer={"max_minutes": 1000}), limited)
        assert learnt(limited) == learnt(free)
        assert "are over" not in caplog.text


@pytest.mark.parametrize(
    ("error", "size", "advice"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), 4, r"data\.batch_size=2, or"),
        (
            RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
            2,
            r"smaller data\.image_size, or",
        ),
    ],
)
def test_a_full_gpu_is_told(tmp_path: Path, configure, monkeypatch, error, size: int, advice: str):
    def full(epoch: int, batch: int) -> None:
        raise error

    before_each_step(monkeypatch, full)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (3 * 2**29, 8 * 2**30))
    run = Run(tmp_path / "run")
    told = rf"batches of {size} images of 32×32 .* 1\.5 of 8\.0 GiB .* {advice}"
    with pytest.raises(InputError, match=told):
        run_job(configure(data={"batch_size": size}), run)
    assert "memory is full" in run.read_state()["reason"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Run:
    return Run(tmp_path_factory.mktemp("plain") / "run")


class TestCompilation:
    """With a stand-in for the compiler, which takes minutes."""

    @pytest.fixture
    def compiler(self, monkeypatch) -> SimpleNamespace:
        """Counts what it compiles and its runs, and raises `failing` or `full`."""
        found = SimpleNamespace(compiled=0, ran=0, failing=None, full=None)
        compile_with = torch.compile

        def backend(graph, inputs):
            if found.failing:
                raise found.failing
            found.compiled += 1

            def forward(*args):
                if found.full:
                    raise found.full
                found.ran += 1
                return graph(*args)

            return forward

        def compile_so(function, *, mode, dynamic):
            assert mode == "default"
            return compile_with(function, backend=backend, dynamic=dynamic)

        monkeypatch.setattr(torch, "compile", compile_so)
        yield found
        torch.compiler.reset()

    def train_both(self, configure, plain: Run, compiled: Run) -> None:
        run_job(configure(), plain)
        run_job(configure(trainer={"compile": True}), compiled)

    def test_the_same_is_learnt(self, plain, tmp_path, configure, compiler):
        compiled = Run(tmp_path / "compiled")
        self.train_both(configure, plain, compiled)
        assert learnt(compiled) == learnt(plain)
        expected = weights(plain)
        assert list(weights(compiled)) == list(expected)
        assert all(torch.equal(weights(compiled)[key], expected[key]) for key in expected)

    def test_it_is_compiled_once_and_runs_in_every_step(
        self, tmp_path, configure, compiler, monkeypatch
    ):
        steps: list[tuple[int, int]] = []
        before_each_step(monkeypatch, lambda *step: steps.append(step))
        run_job(configure(trainer={"compile": True}), Run(tmp_path / "run"))
        assert compiler.compiled == 1
        assert compiler.ran == len(steps) + 1  # the trial

    def test_training_goes_on_without_a_compiler(
        self, plain, tmp_path, configure, compiler, caplog
    ):
        compiler.failing = FileNotFoundError("g++")
        run = Run(tmp_path / "run")
        self.train_both(configure, plain, run)
        assert learnt(run) == learnt(plain)
        warnings = [each.message for each in caplog.records if each.levelno == logging.WARNING]
        assert len([text for text in warnings if "cannot be compiled" in text]) == 1

    def test_an_interruption_is_no_missing_compiler(self, compiler, monkeypatch):
        module = SimpleNamespace(device=torch.device("cpu"), network=torch.nn.Conv2d(1, 1, 1))
        module.train_forward = module.network.forward
        monkeypatch.setattr(interrupt, "_received", signal.SIGINT)
        monkeypatch.setattr(interrupt, "listen", lambda: None)
        with pytest.raises(KeyboardInterrupt):  # whatever a library made of it, here of no trainer
            Compilation().on_train_start(None, module)

    def test_a_cut_off_run_resumes_with_or_without(
        self, plain, tmp_path, configure, compiler, monkeypatch
    ):
        run = Run(tmp_path / "run")
        with monkeypatch.context() as patch:

            def cut_off(epoch: int, batch: int) -> None:
                if epoch == 1:
                    raise RuntimeError("power cut")

            before_each_step(patch, cut_off)
            with pytest.raises(RuntimeError, match="power cut"):
                run_job(configure(trainer={"compile": True}), run)
        self.train_both(configure, plain, run)
        assert learnt(run) == learnt(plain)

    def test_a_full_gpu_is_no_missing_compiler(self, tmp_path, configure, compiler, monkeypatch):
        compiler.full = torch.OutOfMemoryError("CUDA out of memory")
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2**30, 8 * 2**30))
        with pytest.raises(InputError, match="memory is full"):
            run_job(configure(trainer={"compile": True}), Run(tmp_path / "run"))
