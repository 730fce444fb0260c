"""Settings for every test, and tiny runs: a shrunken network, random images with masks.

torch is imported where a run is made: most tests do without.
"""

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from brainseg.run import Run

# Two test processes with two threads each wait for one another on two cores.
os.environ["OMP_NUM_THREADS"] = os.environ["LOKY_MAX_CPU_COUNT"] = "1"
os.environ["WANDB_MODE"] = "offline"

SIZE, CASES = 32, 6


def pytest_configure(config):
    """Hide the GPU from all tests but those that need one: they hold on every machine."""
    if config.option.markexpr != "cuda":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_collection_modifyitems(config, items):
    marked = [item for item in items if item.get_closest_marker("cuda")]
    if marked and (reason := without_cuda(config.option.markexpr)):
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))


def without_cuda(markexpr: str) -> str | None:
    """Why tests marked `cuda` are skipped, if they are."""
    from brainseg.environment import nvidia_gpus

    if markexpr != "cuda":
        return "needs an NVIDIA GPU and `pytest -m cuda`"
    if nvidia_gpus():  # importing torch takes seconds
        import torch

        if torch.cuda.is_available():
            return None
    return "needs an NVIDIA GPU"


def make_run(path, attention):
    """A run as training leaves it."""
    import torch
    import yaml

    from brainseg.files import write_npz, write_text
    from brainseg.model.unet import build_resunet

    run = Run(path)
    arguments = {"layers": [1, 1, 1, 1], "channels": [16, 32, 64, 128], "stem_chs": 16}
    model = {
        "attention": attention,
        "attention_at": "paper",
        "encoder": "resnetv2_50",
        "encoder_args": arguments,
        "weights": "none",
        "dropout": 0.2,
    }
    write_text(run.config, yaml.safe_dump({"model": model, "data": {"image_size": SIZE}}))
    run.update_state(status="finished")
    for file in (run.val, run.test):
        write_npz(file, **make_test())
    torch.manual_seed(0)
    network = build_resunet(**model)
    images = torch.from_numpy(make_test()["images"][:, None]).float() / 255
    with torch.no_grad():
        for _ in range(20):  # statistics of the norms, so that probabilities spread over [0, 1]
            network(images)
        logits = network.eval()(images)
        scale = 2 / logits.std()
        network.head.weight *= scale
        network.head.bias.copy_((network.head.bias - logits.median()) * scale)
    run.best.parent.mkdir()
    state = {f"network.{key}": value for key, value in network.state_dict().items()}
    torch.save({"state_dict": state}, run.best)
    return run


def make_test():
    """Images of smooth noise with a disc each; the last one has no tumour."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE]
    centres = rng.integers(8, SIZE - 8, (CASES, 2))
    masks = np.stack([(x - a) ** 2 + (y - b) ** 2 < 36 for a, b in centres]).astype(np.uint8)
    masks[-1] = 0
    noise = rng.integers(0, 128, (CASES, SIZE // 4, SIZE // 4)).repeat(4, 1).repeat(4, 2)
    return {
        "ids": np.array([f"case{i}" for i in range(CASES)]),
        "classes": np.array(["glioma", "meningioma"] * 2 + ["pituitary", "notumor"]),
        "patients": np.array([f"patient{i // 2}" for i in range(CASES)]),
        "images": (noise + 127 * masks).astype(np.uint8),
        "masks": masks,
    }


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Run:
    """A run without attention that was trained only."""
    return make_run(tmp_path_factory.mktemp("trained") / "none-seed0", "none")


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Attention → a run that was exported, quantized and scored; not to be changed."""
    runs: dict[str, Run] = {}

    def get(attention: str) -> Run:
        if attention not in runs:
            folder = tmp_path_factory.mktemp("prepared") / f"{attention}-seed0"
            runs[attention] = make_run(folder, attention)
            from brainseg.deploy import stages

            stages.prepare(runs[attention], ["int8_dynamic"])
        return runs[attention]

    return get


@pytest.fixture
def run(prepared, tmp_path) -> Run:
    """A copy of the prepared run without attention; tests may change it."""
    return copy_run(prepared("none"), tmp_path / "none-seed0")


@pytest.fixture
def two_runs(run, tmp_path) -> list[Run]:
    """Two such copies."""
    return [run, copy_run(run, tmp_path / "none-seed1")]


def copy_run(run: Run, target: Path) -> Run:
    shutil.copytree(run.path, target)  # keeps the times of modification
    return Run(target)


@pytest.fixture(scope="module")
def browser():
    """The system's chromium."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def change_graph():
    """Make another file of an exported network that computes the same."""

    def change(path: Path) -> None:
        import onnx

        model = onnx.load(path)
        model.doc_string += "changed"
        onnx.save(model, path)

    return change


@pytest.fixture
def restored():
    """Signals are handled as before, and none has come."""
    from brainseg import interrupt

    before = {number: signal.getsignal(number) for number in interrupt.SIGNALS}
    yield
    interrupt.forget()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Put an `nvidia-smi` in front of the search path."""

    from brainseg.environment import nvidia_gpus

    def install(script: str) -> None:
        program = tmp_path / "bin" / "nvidia-smi"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent), prepend=":")
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "another")  # none is hidden, and a real one is
        nvidia_gpus.cache_clear()

    yield install
    nvidia_gpus.cache_clear()
