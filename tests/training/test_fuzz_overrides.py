"""Whatever is typed behind `python train.py` is a configuration, or one message."""

import json
import warnings
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from omegaconf import open_dict

from brainseg.training.config import read_settings, register_schema
from brainseg.training.refusal import explain_refusal

ROOT = Path(__file__).parents[2]

GROUPS = ["data", "split", "model", "optim", "schedule", "loss", "trainer", "tracking", "deploy"]
KEYS = [
    *GROUPS,
    *("seed", "experiment_name", "output_dir", "force", "experiment", "split.seed", "split.fold"),
    *("data.image_size", "data.batch_size", "data.workers", "data.cache_dir", "data.difficulty"),
    *("data.patients", "data.negatives", "data.root", "data.labels", "data.duplicates"),
    *("model.attention", "model.attention_at", "model.encoder", "model.encoder_args"),
    *("model.encoder_args.layers", "model.dropout", "model.weights", "model.args", "optim.lr"),
    *("schedule.pct_start", "schedule.patience", "schedule.name", "loss.name", "split.leaks"),
    *("trainer.max_epochs", "trainer.precision", "trainer.devices", "trainer.max_minutes"),
    *("deploy.modes", "deploy.devices", "deploy.threads", "deploy.passes", "deploy.options"),
    *("deploy.options.int8_static.images", "tracking.mode", "tracking.project", "a.b", "lr"),
]
VALUES = [
    *("null", "true", "0", "-1", "1", "1.5", "1e23", "nan", "inf", "-inf", "''", "' '", "{}", "[]"),
    *("[[]]", "{a:1}", "[1,null]", "abc", "bce", "kfold", "nifti", "plateau", "none", "paper"),
    *("${oc.env:NOPE}", "${seed}", "${nope}", "${optim}", "???", "'[/bold]'", "'a\tb'", "ä" * 300),
    *("'${'", "1_000", "0x10", "resnet18", "[cpu]", "all", "../..", "/dev/null", "'\0'"),
]

overrides = st.builds(
    "{}{}={}".format,
    st.sampled_from(["", "", "", "+", "++"]),
    st.sampled_from(KEYS),
    st.sampled_from(VALUES) | st.text(max_size=8) | st.integers().map(str) | st.floats().map(str),
) | st.builds("~{}".format, st.sampled_from(KEYS))


@pytest.fixture(scope="module", autouse=True)
def composing():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BRAINSEG_ROOT", str(ROOT))
        register_schema()
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            yield


def outcome(typed: list[str]) -> str | None:
    """Why a command line is refused; `None` where it can be used."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Hydra's, of keys such as `hydra.job_logging`
            config = compose("train", overrides=typed, return_hydra_config=True)
            choices = config.hydra.runtime.choices
            with open_dict(config):
                del config["hydra"]
            plain = read_settings(config, choices)
    except Exception as error:
        told = explain_refusal(error)
        if not told:
            raise AssertionError(f"{typed}: {error!r}") from error
        return told
    json.dumps(plain)  # plain values only
    return None


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@example(["loss=1.5"])
@example(["experiment=-1"])
@example(["experiment_name=${oc.env:NOPE}"])
@example(["~optim"])
@example(["++tracking.mode={}"])
@example(["schedule='\0'"])
@example(["+deploy.modes=[[]]"])
@example(["+schedule.name=[[]]"])
@example(["+optim=[1,null]"])
@example(["data.image_size=1e23"])
@example(["+schedule.pct_start=null"])
@example(["+model.encoder_args.features_only=true"])
@example(["data.difficulty={}"])
@given(st.lists(overrides, min_size=1, max_size=3))
def test_what_is_typed_is_used_or_refused_in_one_message(typed: list[str]):
    told = outcome(typed)
    assert told is None or told.strip()


def test_the_plain_command_is_used():
    assert outcome([]) is None
    assert outcome(["split=kfold", "split.fold=1", "schedule=plateau", "loss=bce"]) is None
