"""What runs are called in tables and figures: their name, and the settings in which they differ."""

import json
from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import Any

INHERENT = ("seed", "model.attention", "model.name", "data.fingerprint")
"""Parts of a run's identity that its label never names."""

TELLING = ("data", "split", "model", "loss", "optim", "schedule", "trainer")
"""Groups of settings: those of the first ones are named where not all can be."""

LONGEST = 40
"""Characters of the settings in a label, for which figures and tables have room."""

LONGEST_VALUE = 20

Identity = Mapping[str, Any]
"""Flat settings of a run, such as `optim.lr`."""


def label_runs(names: Sequence[str], identities: Sequence[Identity]) -> list[str]:
    """A label for each run: its name, and the settings in which it differs from others.

    Runs of one name are told apart by all settings in which they differ; networks of other names
    by all but those of `model`. Where that is too long for any of them, only as many settings are
    named as tell the runs apart, and `…` stands for the others.
    """
    whole = [varying_settings(names, identities, place) for place in range(len(names))]
    labels = [_join(name, told) for name, told in zip(names, whole, strict=True)]
    if all(len(label) - len(name) <= LONGEST for label, name in zip(labels, names, strict=True)):
        return labels
    kept = _distinguishing(names, whole)
    return [
        _join(name, {key: told[key] for key in told if key in kept}, more=not kept.issuperset(told))
        for name, told in zip(names, whole, strict=True)
    ]


def varying_settings(
    names: Sequence[str], identities: Sequence[Identity], place: int
) -> dict[str, Any]:
    """The settings of one run that a label may name, in the order in which it names them."""
    own = identities[place]
    pairs = zip(names, identities, strict=True)
    alike = [identity for name, identity in pairs if name == names[place]]
    outside = {key for key in _varying(identities) if not key.startswith("model.")}
    keys = (_varying(alike) | outside) & own.keys()
    return {key: own[key] for key in sorted(keys, key=_order)}


def tell_settings(settings: Mapping[str, Any]) -> str:
    """Such as `lr 0.01, max_epochs 3`."""
    return ", ".join(_tell(key, value) for key, value in settings.items())


def kind_of(identity: Identity) -> str:
    """What is the same for runs that differ in nothing but the seed."""
    return _text({key: identity[key] for key in identity if key != "seed"})


def _distinguishing(names: Sequence[str], whole: Sequence[Mapping[str, Any]]) -> set[str]:
    """The keys, the most telling first, of which each tells runs apart that those before do not."""
    kept: set[str] = set()

    def count(keys: set[str]) -> int:
        pairs = zip(names, whole, strict=True)
        return len({(name, _text({k: told[k] for k in told if k in keys})) for name, told in pairs})

    for key in sorted({key for told in whole for key in told}, key=_order):
        if count(kept | {key}) > count(kept):
            kept.add(key)
    return kept


def _varying(identities: Sequence[Identity]) -> set[str]:
    """Keys that have several values, where they have one; networks of other kinds lack some."""
    keys = {key for identity in identities for key in identity} - {*INHERENT}
    return {
        key for key in keys if len({_text(each[key]) for each in identities if key in each}) > 1
    }


def _order(key: str) -> tuple[int, str]:
    group = key.partition(".")[0]
    rank = TELLING.index(group) if group in TELLING else len(TELLING)
    return rank, ("" if key.endswith(".name") else key)


def _join(name: str, told: Mapping[str, Any], more: bool = False) -> str:
    settings = [tell_settings(told)] if told else []
    return f"{name} {', '.join([*settings, *(['…'] if more else [])])}".strip()


def _tell(key: str, value: Any) -> str:
    text = value if isinstance(value, str) else _text(value)
    short = shorten(text, LONGEST_VALUE, placeholder="…") if " " in text else text[:LONGEST_VALUE]
    return f"{key.removesuffix('.name').rpartition('.')[2]} {short}"


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
