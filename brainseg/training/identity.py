"""What makes two runs the same run, and the folder name that follows from it."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from brainseg.errors import InputError

NOT_IDENTITY = frozenset(
    {
        "data.root",
        "data.negatives",
        "data.test",
        "data.workers",
        "data.cache_dir",
        "trainer.accelerator",
        "trainer.devices",
        "tracking",
        "deploy",
        "experiment_name",
        "output_dir",
        "force",
    }
)
"""Keys, or whole groups, that say where and how a run is made rather than what it is."""

LONGEST_SUFFIX = 60

DATA_DIFFER = "the data: other files, or another data.root, data.negatives or data.test"


def identify(config: Mapping[str, Any]) -> dict[str, Any]:
    """The identity of a run: flat keys such as `optim.lr`, without paths and machine settings.

    A local weights file stands with the hash of its content instead of its path.
    """
    identity = {
        key: value
        for key, value in flatten(config)
        if key not in NOT_IDENTITY and key.split(".")[0] not in NOT_IDENTITY
    }
    weights = Path(str(identity.get("model.weights", "none")))
    if weights.is_file():
        identity["model.weights"] = hashlib.sha256(weights.read_bytes()).hexdigest()[:8]
    return identity


def run_name(identity: Mapping[str, Any], usual: Mapping[str, Any], choices: list[str]) -> str:
    """Folder name of a run: `<attention>-seed<k>[-<suffix>]`.

    Args:
        identity: of the run.
        usual: identity of what the same experiment composes with the same choices of groups.
        choices: groups chosen otherwise than the experiment does, such as `figshare`.
    """
    named = ("model.attention", "seed")
    changed = [
        f"{key.rsplit('.', 1)[-1]}{identity.get(key)}"
        for key in sorted({*identity, *usual})
        if key not in named and identity.get(key) != usual.get(key)
    ]
    suffix = "-".join(re.sub(r"[^A-Za-z0-9.]+", "_", part).strip("_") for part in choices + changed)
    if len(suffix) > LONGEST_SUFFIX:
        digest = hashlib.sha256(suffix.encode()).hexdigest()[:8]
        suffix = f"{suffix[:LONGEST_SUFFIX]}-{digest}"
    name = f"{identity['model.attention']}-seed{identity['seed']}"
    return f"{name}-{suffix}" if suffix else name


def check_same(stored: Mapping[str, Any], identity: Mapping[str, Any], folder: Path) -> None:
    """Refuse to go on in a folder that holds another run.

    Raises:
        InputError: an entry of the identity differs; all that differ are listed.
    """
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
