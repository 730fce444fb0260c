"""Small data sets on disk, in the layouts that people have."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """`images/` + `masks/` of six slices of three patients, 40×32, without labels."""
    root = tmp_path / "set"
    for number in range(6):
        image = rng.integers(0, 200, (40, 32), dtype=np.uint8)
        mask = np.zeros((40, 32), np.uint8)
        mask[10:20, 8 : 12 + number] = 255
        name = f"p{number // 2}_{number}.png"
        save(root / "images" / name, image)
        save(root / "masks" / name, mask)
    return root


@pytest.fixture(name="save")
def save_fixture() -> Callable[..., Path]:
    return save


def save(path: Path, pixels: np.ndarray, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path)
    return path
