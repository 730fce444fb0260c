"""A configuration that trains in seconds."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TINY = {
    "data": {
        "name": "phantom",
        "patients": 12,
        "slices": 2,
        "healthy_slices": 0,
        "difficulty": "easy",
        "image_size": 32,
        "batch_size": 4,
        "workers": 0,
        "negatives": None,
        "test": None,
        "duplicates": "keep",
    },
    "split": {"name": "patient", "seed": 0, "leaks": "refuse"},
    "model": {
        "attention": "ag",
        "attention_at": "paper",
        "encoder": "resnetv2_50",
        "encoder_args": {"layers": [1, 1, 1, 1], "channels": [16, 32, 64, 128], "stem_chs": 16},
        "weights": "none",
        "dropout": 0.2,
    },
    "optim": {"name": "adam", "lr": 1e-3},
    "schedule": {"name": "one_cycle"},
    "loss": {"name": "bce_dice"},
    "trainer": {
        "max_epochs": 3,
        "early_stopping": None,
        "precision": "32-true",
        "accelerator": "cpu",
        "devices": 1,
        "compile": False,
        "max_minutes": None,
    },
    "tracking": {"name": "none", "mode": "offline", "project": "brainseg", "entity": None},
    "deploy": {"modes": [], "devices": [], "passes": 2},
    "seed": 0,
    "experiment_name": "tiny",
    "output_dir": "outputs",
    "force": False,
}


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def configure(cache_dir: Path) -> Callable[..., dict[str, Any]]:
    """Build the tiny configuration with some groups changed: `configure(optim={"lr": 1})`."""

    def build(**changes: Any) -> dict[str, Any]:
        config = copy.deepcopy(TINY)
        config["data"]["cache_dir"] = str(cache_dir)
        for key, value in changes.items():
            config[key] = config[key] | value if isinstance(value, dict) else value
        return config

    return build
