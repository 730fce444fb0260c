"""The readers of volumes, and the options of each layout as its reader declares them."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_type_hints

from brainseg.data.layouts.dicom import read_dicom
from brainseg.data.layouts.lgg import read_lgg
from brainseg.data.layouts.nifti import read_nifti
from brainseg.data.layouts.volume import Cut
from brainseg.data.mask import parse_labels
from brainseg.errors import InputError, check_known
from brainseg.vocabulary import TUMORS

READERS: dict[str, Callable[..., list[Cut]]] = {
    "nifti": read_nifti,
    "lgg": read_lgg,
    "dicom": read_dicom,
}
"""Layouts of volumes; their keyword arguments are the layout's options."""


def option_types(layout: str) -> dict[str, Any]:
    """The options of a layout, with their types; `patient_pattern` belongs to all."""
    if layout not in READERS:
        return {"labels": Sequence[float] | None, "patient_pattern": str}
    reader = READERS[layout]
    types = get_type_hints(reader)
    taken = inspect.signature(reader).parameters.values()
    own = [each.name for each in taken if each.kind is inspect.Parameter.KEYWORD_ONLY]
    return {name: types[name] for name in own} | {"patient_pattern": str}


def split_options(typed: Sequence[str] | None) -> dict[str, str]:
    """Take options apart that were typed as `planes=axial`.

    Raises:
        InputError: one is not of the form `name=value`, or stands twice.
    """
    options: dict[str, str] = {}
    for text in typed or ():
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise InputError(f"Expected an option as name=value; found {text}.")
        if name in options:
            raise InputError(f"The option {name} is given twice: {options[name]} and {value}.")
        options[name] = value
    return options


def check_options(layout: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a layout, as typed or from a configuration, in the types of its reader.

    Raises:
        InputError: one is unknown, or its value is not of its type.
    """
    types = option_types(layout)
    check_known(f"{layout} option", given, types)
    options = {name: _convert(name, value, types[name]) for name, value in given.items()}
    if "tumor" in options:
        check_known("tumor", [options["tumor"]], TUMORS)
    return options


def _convert(name: str, value: Any, kind: Any) -> Any:
    convert, expected = KINDS[kind]
    try:
        return convert(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"Expected {name} as {expected}; found {value!r}.") from error


def _to_text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
        raise ValueError
    return str(value)


def _to_whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError
    return int(value)


def _to_texts(value: Any) -> list[str]:
    if isinstance(value, str):
        value = [part.strip() for part in value.strip("[]").split(",")]
    return [_to_text(part) for part in (value if isinstance(value, Sequence) else [value])]


KINDS: dict[Any, tuple[Callable[[Any], Any], str]] = {
    **dict.fromkeys((str, str | None), (_to_text, "text")),
    **dict.fromkeys((int, int | None), (_to_whole, "a whole number")),
    str | Sequence[str]: (_to_texts, "names with commas between"),
    Sequence[str] | None: (_to_texts, "names with commas between"),
    Sequence[float] | None: (parse_labels, "numbers with commas between"),
}
"""For each type that readers declare: what converts a value, and what is expected of it."""
