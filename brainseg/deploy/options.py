"""The options of quantization modes: what was chosen, what was stored, what is allowed."""

import math
from collections.abc import Collection, Mapping
from typing import Any

from brainseg.errors import InputError, check_known
from brainseg.run import Run
from brainseg.vocabulary import MODES, Option, quantized_modes

Chosen = Mapping[str, Mapping[str, Any]]
"""Mode → its options that were chosen. What is not chosen, or `None`, stays as it was last time."""

OFF = "none"
"""Typed for an option that shall be `None`."""


def check_chosen(chosen: Chosen, modes: Collection[str]) -> None:
    """Refuse what no mode takes, and what is chosen for a mode that is not made.

    Args:
        chosen: options by mode.
        modes: that are made.

    Raises:
        InputError: a mode, an option or a value cannot be used.
    """
    check_known("mode", chosen, quantized_modes())
    for mode in chosen:
        choose_options(mode, chosen)
        if (given := _given(mode, chosen)) and mode not in modes:
            raise InputError(
                f"{mode}.{next(iter(given))} was given, but {mode} is not among the modes: "
                f"{', '.join(modes) or 'none'}. Add it, or leave the option away."
            )


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
    options = chosen.get(mode) or {}
    if not isinstance(options, Mapping):
        raise InputError(
            f"{mode}={options} cannot be used. Expected options, such as {{images: 50}}."
        )
    given = {name: value for name, value in options.items() if value is not None}
    options = MODES[mode].options
    check_known(f"option of {mode}", given, options)
    return {name: _read(f"{mode}.{name}", options[name], value) for name, value in given.items()}


def _read(name: str, option: Option, value: Any) -> Any:
    if option.default is None and value == OFF:
        return None
    if option.choices:
        check_known(name, [str(value)], option.choices)
        return str(value)  # a configuration's 8 is the number
    try:
        if isinstance(value, bool) != (option.kind is bool):
            raise ValueError
        number = option.kind(value)
        low = -math.inf if option.low is None else option.low
        if number != float(value) or not low <= number <= option.high:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        kinds = {int: "a whole number", float: "a number", bool: "true or false"}
        least = f" of at least {option.low:g}" if option.low is not None else ""
        off = f", or {OFF}" if option.default is None else ""
        raise InputError(
            f"{name}={value} cannot be used. Expected {kinds[option.kind]}{least}{off}."
        ) from None
    return number
