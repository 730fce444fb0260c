"""What the configuration's values may be: told before any work."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException

from brainseg.errors import InputError
from brainseg.model.attention import ATTENTIONS, Attention
from brainseg.model.registry import ARCHITECTURES
from brainseg.training.config import check_complete, register_schema, to_plain
from brainseg.training.settings import check_settings
from brainseg.training.values import Range

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def composing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("BRAINSEG_ROOT", str(ROOT))
    register_schema()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield


def settings(*overrides: str) -> dict[str, Any]:
    """The checked configuration of a command line."""
    config = to_plain(compose("train", overrides=list(overrides)))
    check_settings(config)
    return config


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("optim.lr=abc", "optim.lr"),
        ("optim.lr=null", "optim.lr"),
        ("trainer.max_epochs=many", "trainer.max_epochs"),
        ("trainer.early_stopping=abc", "trainer.early_stopping"),
        ("trainer.compile=abc", "trainer.compile"),
        ("trainer.max_minutes=abc", "trainer.max_minutes"),
        ("data.image_size=abc", "data.image_size"),
        ("data.batch_size=null", "data.batch_size"),
        ("data.workers=1.5", "data.workers"),
        ("seed=abc", "seed"),
        ("split.seed=abc", "split.seed"),
        ("force=maybe", "force"),
        ("deploy.modes=int8_static", "deploy.modes"),
        ("deploy.passes=abc", "deploy.passes"),
    ],
)
def test_a_wrong_type_does_not_compose(override: str, told: str):
    with pytest.raises(ConfigCompositionException) as caught:
        settings(override)
    assert f"full_key: {told}\n" in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["seed=-1"], "seed=-1 cannot be used. Expected a whole number of at least 0"),
        ([f"seed={2**63}"], "and below"),
        (["split.seed=-1"], "split.seed=-1"),
        (["data.batch_size=0"], "data.batch_size=0 .* at least 2"),
        (["data.workers=-1"], "data.workers=-1 .* at least 0 and below 1025, or null"),
        (["data.image_size=0"], "data.image_size=0"),
        (["data.patients=abc"], "data.patients=abc"),
        (["trainer.max_epochs=-1"], "trainer.max_epochs=-1"),
        (["trainer.max_epochs=0"], "trainer.max_epochs=0"),
        (["trainer.early_stopping=-1"], "trainer.early_stopping=-1"),
        (
            ["trainer.max_minutes=0"],
            "max_minutes=0.0 .* at least 0.01 and below 1000000, or null",
        ),
        (["optim.lr=-1"], "optim.lr=-1.0 cannot be used. Expected a number above 0"),
        (["optim.lr=nan"], "optim.lr=nan"),
        (["optim.lr=0"], "optim.lr=0.0"),
        (["data.batch_size=1"], "data.batch_size=1"),
        (["data.image_size=8"], "data.image_size=8"),
        (["model.encoder=resnet18", "data.image_size=40"], "multiples of 32, found 40"),
        (["data.difficulty={}"], "data.difficulty={} .* one of easy, hard"),
        (["experiment_name=''"], "experiment_name= .* a name or a path"),
        (["split.leaks=[]"], r"split.leaks=\[\]"),
        (["+schedule.pct_start=null"], r"schedule=one_cycle does not take schedule.pct_start=None"),
        (["+schedule.pct_start=2"], "Expected float between 0 and 1"),
        (["+schedule.warmup=2"], "Unknown setting of schedule warmup. Choose from: .*pct_start"),
        (["+model.encoder_args.features_only=true"], "encoder_args has features_only, .* its own"),
        (["optim.lr=inf"], "optim.lr=inf"),
        (["model.dropout=1"], "model.dropout=1.0 .* below 1"),
        (["schedule=plateau", "schedule.factor=2"], "schedule.factor=2"),
        (["deploy.passes=0"], "deploy.passes=0"),
        (["deploy.threads=0"], "threads=0"),
        (["deploy.options.int8_static.images=0"], "int8_static.images=0 .* at least 1"),
        (["deploy.options.int8_static.method=kl"], "kl. Choose from: minmax"),
        (["deploy.modes=[int8]"], "Unknown mode int8. Choose from: fp32, fp16"),
        (["deploy.devices=[gpu]"], "Unknown device gpu. Choose from: cpu, cuda"),
        (["deploy.runtimes=[tensorrt]"], "Unknown runtime tensorrt"),
        (["tracking.mode=onlin"], "tracking.mode=onlin is unknown"),
    ],
)
def test_a_value_that_cannot_be_used_is_told_in_a_line(overrides: list[str], told: str):
    with pytest.raises(InputError, match=told) as caught:
        settings(*overrides)
    assert "\n" not in str(caught.value)


def test_what_users_know_goes_on_working():
    config = settings(
        *("+model.encoder_args.layers=[1,1,1,1]", "+schedule.pct_start=0.2", "data.workers=null"),
        *("trainer.devices=[0,1]", "trainer.precision=16", "trainer.early_stopping=7"),
        *("deploy.modes=[fp32,int8_static]", "deploy.runtimes=null", "deploy.devices=[]"),
        *("deploy.options.int8_static.max_drop=0.0004", "deploy.threads=1"),
        *("optim.lr=1", "seed=5", "experiment_name=7"),
    )
    assert config["model"]["encoder_args"] == {"layers": [1, 1, 1, 1]}
    assert config["schedule"] == {"name": "one_cycle", "pct_start": 0.2}
    assert config["trainer"]["devices"] == [0, 1]
    assert config["trainer"]["precision"] == 16
    assert config["deploy"]["runtimes"] is None
    assert config["deploy"]["options"]["int8_static"]["max_drop"] == 0.0004
    assert config["deploy"]["options"]["int8_weights"] == {"per_channel": None}
    assert (config["optim"]["lr"], config["experiment_name"]) == (1.0, "7")


@pytest.mark.parametrize("name", ["figshare", "folder", "nifti", "lgg", "dicom", "kaggle_mri"])
def test_data_sets_have_the_keys_of_their_own_group_and_no_others(name: str):
    data = settings(f"data={name}", "data.root=set", "data.image_size=96")["data"]
    assert (data["name"], data["root"], data["image_size"]) == (name, "set", 96)
    assert "patients" not in data
    with pytest.raises(ConfigCompositionException):
        settings(f"data={name}", "data.root=set", "data.patients=5")


def told(*overrides: str) -> str:
    """Why a command line does not compose."""
    with pytest.raises(ConfigCompositionException) as caught:
        settings(*overrides)
    return f"{caught.value}\n{caught.value.__cause__}"


def test_each_model_has_its_own_settings():
    for name, architecture in ARCHITECTURES.items():
        model = to_plain(compose("train", overrides=[f"model={name}"]))["model"]
        assert model.keys() == {"name", *architecture.settings}
        assert model.pop("name") == name
        defaults = inspect.signature(architecture.build).parameters
        for setting, value in model.items():
            usual = defaults[setting].default
            assert (value or None) in (usual, "???"), setting


def test_attention_belongs_to_the_networks_that_have_it():
    assert "Key 'attention' not in 'model=smp_unet'" in told("model=smp_unet", "model.attention=se")
    with pytest.raises(InputError, match=r"no setting attention; .*It belongs to model=resunet\."):
        settings("model=smp_unet", "+model.attention=se")


def test_settings_that_no_network_knows_are_refused():
    assert "Key 'depth' not in 'model=resunet'" in told("model.depth=3")
    with pytest.raises(InputError, match="model=own has no setting depth; expected target, args"):
        settings("model=own", "model.target=a.Net", "+model.depth=3")


def test_a_new_attention_is_a_value_at_once(monkeypatch: pytest.MonkeyPatch):
    assert "expected one of [none, ag, se, cbam]" in told("model.attention=fifth")
    monkeypatch.setitem(ATTENTIONS, "fifth", Attention)
    register_schema()
    assert settings("model.attention=fifth")["model"]["attention"] == "fifth"
    assert "expected one of [none, ag, se, cbam, fifth]" in told("model.attention=sixth")


def test_a_network_of_ones_own_needs_its_target():
    config = compose("train", overrides=["model=own"])
    with pytest.raises(InputError, match=r"model\.target must be set"):
        check_complete(config)
    model = settings("model=own", "model.target=torch.nn.Conv2d", "+model.args.width=32")["model"]
    assert model == {"name": "own", "target": "torch.nn.Conv2d", "args": {"width": 32}}
    with pytest.raises(InputError, match=r"model\.target=os\.system is no subclass of"):
        settings("model=own", "model.target=os.system")


def test_ranges():
    assert 0 in Range(0)
    assert 0.5 not in Range(0)
    assert True not in Range(0)
    assert 0.5 in Range(0, whole=False)
    assert 1 not in Range(0, below=1)
    assert 1 in Range(0, below=1, closed=True)
    assert 2 not in Range(0, below=1, closed=True)
    assert None in Range(0, nullable=True)
    assert None not in Range(0)
    assert "abc" not in Range(0)
