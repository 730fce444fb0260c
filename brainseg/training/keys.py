"""Keys of the configuration that nothing reads are refused, with the nearest name."""

from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any

from brainseg.data.layouts.options import option_types
from brainseg.errors import InputError

OPEN = ("model", "schedule", "deploy.options")
"""What is read by constructors and modes, which `check_settings` asks."""


def check_keys(config: Mapping[str, Any], usual: Mapping[str, Any]) -> None:
    """Refuse a key that was added and that nothing reads, and one that was taken away.

    Args:
        config: the resolved configuration.
        usual: what the same choices of groups compose alone.

    Raises:
        InputError: it names the first such key, and the nearest that there is.
    """
    if gone := next(_missing_keys(config, usual), None):
        raise InputError(
            f"{gone} was removed or replaced. Leave out the override that does this (~{gone} or "
            "…=null)."
        )
    read = {f"data.{name}" for name in option_types(config["data"]["name"])}
    for key in unknown_keys(config, usual):
        if key not in read:
            raise InputError(describe_unknown(key, usual))


def unknown_keys(
    config: Mapping[str, Any], known: Mapping[str, Any], prefix: str = ""
) -> Iterator[str]:
    """Keys of `config` that `known` lacks, such as `optim.learning_rate`; those of `OPEN` not."""
    for name, value in config.items():
        key = f"{prefix}{name}"
        if name not in known:
            yield key
        elif key not in OPEN and isinstance(value, Mapping) and isinstance(known[name], Mapping):
            yield from unknown_keys(value, known[name], f"{key}.")


def _missing_keys(
    config: Mapping[str, Any], known: Mapping[str, Any], prefix: str = ""
) -> Iterator[str]:
    """Keys of `known` that `config` lacks, or has a mere value of where `known` has a group."""
    for name, value in known.items():
        found = config.get(name)
        if name not in config or (isinstance(value, Mapping) and not isinstance(found, Mapping)):
            yield f"{prefix}{name}"
        elif isinstance(value, Mapping):
            yield from _missing_keys(config[name], value, f"{prefix}{name}.")


def describe_unknown(key: str, known: Mapping[str, Any]) -> str:
    """Say that nothing reads a key, and which names there are."""
    group, _, name = key.rpartition(".")
    siblings: Any = known
    for part in filter(None, group.split(".")):
        siblings = siblings.get(part, {}) if isinstance(siblings, Mapping) else {}
    everywhere = list(_all_keys(known))
    elsewhere = [each for each in everywhere if each.rpartition(".")[2] == name]
    near = elsewhere or [f"{group}.{each}".strip(".") for each in siblings or ()] or everywhere
    nearest = max(near, key=lambda each: SequenceMatcher(None, each, key).ratio(), default=None)
    there = f" {group} has: {', '.join(map(str, siblings))}." if group and siblings else ""
    return f"Nothing reads {key}. The nearest name is {nearest}.{there}"


def _all_keys(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in tree.items():
        yield f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _all_keys(value, f"{prefix}{name}.")
