"""Whose slice it is, from a name."""

import re

from brainseg.data.case import OnProblem, Problem
from brainseg.errors import InputError


def match_patient(name: str, pattern: str | None, on_problem: OnProblem) -> str | None:
    """The first group of a regular expression in a name; `None` without a pattern.

    `on_problem` is told where the pattern is none, or finds nothing.
    """
    if pattern is None:
        return None
    try:
        match = re.match(pattern, name)
    except re.error as error:
        raise InputError(
            f"data.patient_pattern={pattern!r} is no regular expression: {error}."
        ) from error
    if match is None or not match.groups():
        message = (
            f"data.patient_pattern={pattern!r} finds no patient in the name {name!r}. Expected a "
            "regular expression with one group, such as '(.+)_[0-9]+'."
        )
        on_problem(Problem("label", name, message))
        return None
    return match.group(1)
