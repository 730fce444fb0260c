"""What must be known of other data sets before their numbers are believed."""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from brainseg.experiment import Evaluation
from brainseg.files import read_json
from brainseg.report.appropriateness import by_data_set
from brainseg.report.provenance import SYNTHETIC
from brainseg.report.table import Runs

NOTE = ": synthetic data"
"""What titles end with where data are synthetic."""


def note_synthetic(evaluations: Runs) -> str:
    """`NOTE` where evaluations on another data set, by variant, are on synthetic data, else ""."""
    found = chain.from_iterable(evaluations.values())
    return NOTE if any(read_json(run.evaluation)["data"]["synthetic"] for run in found) else ""


def tell_external(runs: Runs) -> Iterator[str]:
    """Sentences on each other data set: what it is, what training knows of it, what has no truth.

    Args:
        runs: by variant, one per seed.
    """
    for label, variants in by_data_set(runs).items():
        found = {
            run.path.parents[1].name if len(members) > 1 else variant: run
            for variant, members in variants.items()
            for run in members
        }
        facts = {name: read_json(run.evaluation) for name, run in found.items()}
        told = {name: _tell_known(each) for name, each in facts.items()}
        if len(set(told.values())) == 1:
            yield f"{label}: {next(iter(told.values()))}"
        else:
            yield from (f"{label}, {name}: {text}" for name, text in told.items())
        yield from (f"{label}: {text}" for text in _tell_predicted(found))


def _tell_known(facts: Mapping[str, Any]) -> str:
    data = facts["data"]
    synthetic = f"{SYNTHETIC}; " if data["synthetic"] else ""
    images = f"{data['n']} images of {data['folder']}, {data['clusters']} of them distinct"
    bare = f"; {data['unmasked']} show a tumour that nobody outlined" if data["unmasked"] else ""
    if facts["unchecked"]:
        known = f"not known what training knows of it ({facts['unchecked']})."
    else:
        known = f"{sum(facts['left_out'].values())} that training knows are left out."
    if data["of_own_test"]:
        known += (
            f" {data['of_own_test']} are images of the run's own test split, or copies of them: "
            "that much of it is no other data."
        )
    return f"{synthetic}{images}{bare}; {known}"


def _tell_predicted(found: Mapping[str, Evaluation]) -> Iterator[str]:
    """By class, in what share of the images that nobody outlined a tumour is predicted."""
    shares: dict[str, list[str]] = {}
    for name, run in found.items():
        for class_, bare in read_json(run.metrics_of(run.modes[0]))["unmasked"].items():
            told = f"{name} {bare['predicted_share']:.1%} of {bare['n']}"
            shares.setdefault(class_, []).append(told)
    for class_, each in shares.items():
        yield f"a tumour is predicted in images of {class_} without outlines: {', '.join(each)}."
