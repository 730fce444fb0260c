"""Which runs are the same, and what their folders are called."""

import copy
from pathlib import Path

import pytest

from brainseg.errors import InputError
from brainseg.experiment import variant_of
from brainseg.training.identity import check_same, identify, run_name

CONFIG = {
    "data": {"name": "phantom", "root": "a", "image_size": 96, "workers": 0, "cache_dir": None},
    "model": {"attention": "ag", "encoder_args": {}, "weights": "none"},
    "optim": {"lr": 1e-3},
    "trainer": {"max_epochs": 2, "devices": 1, "accelerator": "auto", "precision": "auto"},
    "tracking": {"name": "wandb", "mode": "offline"},
    "deploy": {"modes": ["int8_dynamic"]},
    "seed": 0,
    "experiment_name": "demo",
    "output_dir": "outputs",
    "force": False,
}


def changed(path: str, value: object) -> dict:
    config = copy.deepcopy(CONFIG)
    *groups, key = path.split(".")
    branch = config
    for group in groups:
        branch = branch[group]
    branch[key] = value
    return config


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data.root", "b"),
        ("data.workers", 4),
        ("data.augmentation", 1.0),  # as in older versions, which had no such setting
        ("tracking.mode", "online"),
        ("deploy.modes", []),
        ("output_dir", "elsewhere"),
        ("trainer.accelerator", "cpu"),
        ("force", True),
    ],
)
def test_where_and_how_is_not_identity(path: str, value: object):
    assert identify(changed(path, value)) == identify(CONFIG)


@pytest.mark.parametrize(
    ("path", "value", "name"),
    [
        ("optim.lr", 1e-4, "ag-seed0-lr0.0001"),
        ("data.image_size", 128, "ag-seed0-image_size128"),
        ("data.augmentation", 0.5, "ag-seed0-augmentation0.5"),
        ("model.encoder_args", {"layers": [1, 2]}, "ag-seed0-layers_1_2"),
        ("trainer.max_epochs", 5, "ag-seed0-max_epochs5"),
        ("seed", 3, "ag-seed3"),
        ("model.attention", "cbam", "cbam-seed0"),
    ],
)
def test_what_differs_stands_in_the_name(path: str, value: object, name: str):
    config = changed(path, value)
    assert identify(config) != identify(CONFIG)
    assert run_name(config, CONFIG, []) == name


def test_chosen_groups_stand_first_and_long_names_are_cut_but_differ():
    assert run_name(CONFIG, CONFIG, ["figshare"]) == "ag-seed0-figshare"
    long = [changed("model.weights", letter * 200) for letter in "ab"]
    names = {run_name(config, CONFIG, []) for config in long}
    assert len(names) == 2
    assert all(len(name) < 140 for name in names)


def test_a_resunet_is_the_same_run_with_and_without_the_name_of_its_model():
    named = changed("model.name", "resunet")
    assert identify(named) == identify(CONFIG)
    assert run_name(named, named, []) == run_name(CONFIG, CONFIG, []) == "ag-seed0"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ({"name": "smp_unet", "encoder": "tu-resnet18"}, "smp_unet-seed0-encodertu_resnet18"),
        ({"name": "own", "target": "nets.My_Net", "args": {}}, "own_my_net-seed0"),
        ({"name": "own", "target": "nets.Net", "args": {"width": 8}}, "own_net-seed0-width8"),
    ],
)
def test_runs_of_other_networks_are_named_after_them(model: dict, name: str):
    usual = {"smp_unet": {"encoder": "tu-resnetv2_50"}, "own": {"target": "???", "args": {}}}
    config, expected = CONFIG | {"model": model}, CONFIG | {"model": usual[model["name"]]}
    assert run_name(config, expected, [model["name"]]) == name
    assert run_name(config, expected, ["figshare", model["name"]]).startswith(
        f"{variant_of(config)}-seed0-figshare"
    )
    assert identify(config)["model.name"] == model["name"]


def test_weights_file_counts_by_content(tmp_path: Path):
    first, second = tmp_path / "a.pth", tmp_path / "b.pth"
    first.write_bytes(b"weights")
    second.write_bytes(b"weights")
    one, two = (identify(changed("model.weights", str(path))) for path in (first, second))
    assert one == two
    second.write_bytes(b"others")
    assert identify(changed("model.weights", str(second))) != one


def test_refusal_lists_every_difference(tmp_path: Path):
    stored, now = identify(CONFIG), identify(changed("optim.lr", 0.1))
    check_same(stored, dict(stored), tmp_path)
    with pytest.raises(InputError, match=r"optim\.lr: 0\.001 there, 0\.1 now\n.*force=true"):
        check_same(stored, now, tmp_path)
    with pytest.raises(InputError, match="extra: None there, 1 now"):
        check_same(stored, stored | {"extra": 1}, tmp_path)


def test_settings_that_are_gone_count_only_where_they_were_used(tmp_path: Path):
    now = identify(CONFIG)
    check_same(now | {"data.harmonize": False}, now, tmp_path)
    with pytest.raises(InputError, match=r"data\.harmonize: True there, None now"):
        check_same(now | {"data.harmonize": True}, now, tmp_path)
