"""What makes two runs the same run, and the folder name that follows from it."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from brainseg.errors import InputError
from brainseg.experiment import variant_of
from brainseg.vocabulary import USUAL_MODEL

IDENTITY: dict[str, frozenset[str]] = {
    "seed": frozenset(),
    "data": frozenset({"root", "negatives", "test", "workers", "cache_dir"}),
    "split": frozenset(),
    "model": frozenset(),
    "optim": frozenset(),
    "schedule": frozenset(),
    "loss": frozenset(),
    "trainer": frozenset({"accelerator", "devices", "compile"}),
}
"""What makes a run: parts of the configuration, and the keys in them that do not count.

Those say where and how the run is made rather than what it is. The files of the data count by their
content.
"""

RETIRED = {"data.harmonize": False}
"""Settings of older versions → their default; a run that has it is the same run without."""

ADDED = {"data.augmentation": 1.0}
"""Settings that older versions lack → the value that stands for what they did."""

NAMED = ("model.name", "model.target", "model.attention", "seed")
"""Entries that the name of a run begins with."""

LONGEST_SUFFIX = 60

DATA_DIFFER = "the data: other files, or another data.root, data.negatives or data.test"


def identify(config: Mapping[str, Any]) -> dict[str, Any]:
    """The identity of a run: flat keys such as `optim.lr`, without paths and machine settings.

    A setting that is new, or the usual model's name, is left out where it says what older runs did.
    A local weights file stands with the hash of its content instead of its path.
    """
    identity = {
        key: value
        for part, ignored in IDENTITY.items()
        for key, value in flatten({part: config.get(part, {})})
        if key.removeprefix(f"{part}.") not in ignored
    }
    for key, usual in ADDED.items():
        if identity.get(key) == usual:
            del identity[key]
    if identity.get("model.name") == USUAL_MODEL:
        del identity["model.name"]
    weights = Path(str(identity.get("model.weights", "none")))
    if weights.is_file():
        identity["model.weights"] = hashlib.sha256(weights.read_bytes()).hexdigest()[:8]
    return identity


def run_name(config: Mapping[str, Any], usual: Mapping[str, Any], choices: list[str]) -> str:
    """Folder name of a run: `<variant>-seed<k>[-<suffix>]`.

    Args:
        config: of the run.
        usual: what the same experiment composes with the same choices of groups.
        choices: groups chosen otherwise than the experiment does, such as `figshare`.
    """
    identity, expected = identify(config), identify(usual)
    told = [choice for choice in choices if choice != config["model"].get("name")]
    changed = [
        f"{key.rsplit('.', 1)[-1]}{identity.get(key)}"
        for key in sorted({*identity, *expected})
        if key not in NAMED and identity.get(key) != expected.get(key)
    ]
    suffix = "-".join(re.sub(r"[^A-Za-z0-9.]+", "_", part).strip("_") for part in told + changed)
    if len(suffix) > LONGEST_SUFFIX:
        digest = hashlib.sha256(suffix.encode()).hexdigest()[:8]
        suffix = f"{suffix[:LONGEST_SUFFIX]}-{digest}"
    name = f"{variant_of(config)}-seed{config['seed']}"
    return f"{name}-{suffix}" if suffix else name


def check_same(stored: Mapping[str, Any], identity: Mapping[str, Any], folder: Path) -> None:
    """Refuse to go on in a folder that holds another run.

    Raises:
        InputError: an entry of the identity differs; all that differ are listed.
    """
    gone = {key for key, default in RETIRED.items() if stored.get(key) == default}
    stored = {key: value for key, value in stored.items() if key not in gone}
    differing = [
        DATA_DIFFER
        if key == "data.fingerprint"
        else f"{key}: {stored.get(key)!r} there, {identity.get(key)!r} now"
        for key in sorted({*stored, *identity})
        if stored.get(key) != identity.get(key)
    ]
    if differing:
        listed = "\n  ".join(differing)
        raise InputError(
            f"{folder} holds a run with another identity:\n  {listed}\n"
            "Choose another experiment_name or output_dir, or start over with force=true."
        )


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Keys such as `optim.lr`, and their values."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
