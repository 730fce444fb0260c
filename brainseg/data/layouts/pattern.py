"""Regular expressions that users give: for file names, and for the patient in them."""

import re

from brainseg.data.case import OnProblem, Problem
from brainseg.errors import InputError


def compile_pattern(name: str, pattern: str, flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    """Compile the regular expression of the option `name`.

    Raises:
        InputError: it is invalid.
    """
    try:
        return re.compile(pattern, flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise InputError(f"{name}={pattern!r} is not a regular expression: {error}.") from error


def match_patient(
    name: str, pattern: str | None, on_problem: OnProblem, path: str | None = None
) -> str | None:
    """The first group of a regular expression in a name, else in a path, from the start of each.

    `None` without a pattern or match.

    Raises:
        InputError: the pattern is not a regular expression.
    """
    if pattern is None:
        return None
    compiled = compile_pattern("data.patient_pattern", pattern)
    for each in filter(None, (name, path)):
        match = compiled.match(each)
        if match and match.groups() and match.group(1):
            return match.group(1)
    message = (
        f"data.patient_pattern={pattern!r} finds no patient in the name {name!r}"
        f"{f' or the path {path!r}' if path not in (None, name) else ''}. Expected a regular "
        "expression with one group, such as '(.+)_[0-9]+'."
    )
    on_problem(Problem("label", name, message))
    return None
