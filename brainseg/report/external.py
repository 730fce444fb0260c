"""What must be known of other data sets before their numbers are believed."""

from collections.abc import Iterator, Mapping
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
    found = (read_json(run.evaluation) for members in evaluations.values() for run in members)
    return NOTE if any(facts["data"]["synthetic"] for facts in found) else ""


def tell_external(runs: Runs) -> Iterator[str]:
    """Sentences on each other data set: its images, overlap with training, and missing outlines.

    Args:
        runs: by variant, one per seed.
    """
    for label, variants in by_data_set(runs).items():
        found = {
            run.path.parents[1].name if len(members) > 1 else variant: run
            for variant, members in variants.items()
            for run in members
        }
        told = {name: _describe(read_json(run.evaluation)) for name, run in found.items()}
        if len(set(told.values())) == 1:
            yield f"{label}: {next(iter(told.values()))}"
        else:
            yield from (f"{label}, {name}: {text}" for name, text in told.items())
        yield from (f"{label}: {text}" for text in _tell_predicted(found))


def _describe(facts: Mapping[str, Any]) -> str:
    data = facts["data"]
    parts = [
        SYNTHETIC if data["synthetic"] else "",
        f"{data['n']} images of {data['folder']}, {data['clusters']} of them distinct",
        f"{data['unmasked']} with a tumour but no outline" if data["unmasked"] else "",
        f"overlap with training unknown ({facts['unchecked']})"
        if facts["unchecked"]
        else f"{sum(facts['left_out'].values())} images known from training are left out",
        f"{data['of_own_test']} are also in the run's own test split, so they are not new data"
        if data["of_own_test"]
        else "",
    ]
    return "; ".join(filter(None, parts)) + "."


def _tell_predicted(found: Mapping[str, Evaluation]) -> Iterator[str]:
    """By class, in what share of the images without an outline a tumour is predicted."""
    shares: dict[str, list[str]] = {}
    for name, run in found.items():
        for class_, bare in read_json(run.metrics_of(run.modes[0]))["unmasked"].items():
            told = f"{name} {bare['predicted_share']:.1%} of {bare['n']}"
            shares.setdefault(class_, []).append(told)
    for class_, each in shares.items():
        yield f"a tumour is predicted in images of {class_} without outlines: {', '.join(each)}."
