"""The options of quantization modes: what was chosen, what was stored, what is allowed."""

from collections.abc import Mapping
from typing import Any

from brainseg.errors import InputError, check_known
from brainseg.run import Run
from brainseg.vocabulary import MODES, Option, quantized_modes

Chosen = Mapping[str, Mapping[str, Any]]
"""Mode → its options that were chosen. What is not chosen, or `None`, stays as it was last time."""

OFF = "none"
"""Typed for an option that shall be `None`."""


def check_chosen(chosen: Chosen) -> None:
    """Refuse what no mode takes.

    Raises:
        InputError: a mode, an option or a value cannot be used.
    """
    check_known("mode", chosen, quantized_modes())
    for mode in chosen:
        choose_options(mode, chosen)


def choose_options(
    mode: str, chosen: Chosen, stored: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """All options of a mode: those chosen, else those stored, else the defaults.

    Raises:
        InputError: the mode does not take an option, or not this value of it.
    """
    defaults = {name: option.default for name, option in MODES[mode].options.items()}
    kept = {name: value for name, value in (stored or {}).items() if name in defaults}
    return defaults | kept | _given(mode, chosen)


def is_made_with(run: Run, mode: str, chosen: Chosen) -> bool:
    """Whether the file of `mode` is current and was made with the options that were chosen."""
    given = _given(mode, chosen)
    return run.is_current(mode) and run.read_made(mode).get("options", {}).items() >= given.items()


def _given(mode: str, chosen: Chosen) -> dict[str, Any]:
    given = {name: value for name, value in chosen.get(mode, {}).items() if value is not None}
    options = MODES[mode].options
    check_known(f"option of {mode}", given, options)
    return {name: _read(f"{mode}.{name}", options[name], value) for name, value in given.items()}


def _read(name: str, option: Option, value: Any) -> Any:
    if option.default is None and value == OFF:
        return None
    if option.choices:
        check_known(name, [value], option.choices)
        return value
    try:
        if isinstance(value, bool) != (option.kind is bool):
            raise ValueError
        number = option.kind(value)
        if number != float(value) or (option.low is not None and number < option.low):
            raise ValueError
    except (TypeError, ValueError):
        kinds = {int: "a whole number", float: "a number", bool: "true or false"}
        least = f" of at least {option.low:g}" if option.low is not None else ""
        off = f", or {OFF}" if option.default is None else ""
        raise InputError(
            f"{name}={value} cannot be used. Expected {kinds[option.kind]}{least}{off}."
        ) from None
    return number
