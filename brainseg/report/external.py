"""Results on other data sets, and what must be known of those before they are believed."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from brainseg.experiment import Evaluation, find_evaluations
from brainseg.report.appropriateness import by_data_set
from brainseg.report.provenance import SYNTHETIC
from brainseg.report.render import Table
from brainseg.report.scores import NOTE as SCORES_NOTE
from brainseg.report.scores import score_columns, score_rows
from brainseg.report.table import Runs, name_runs
from brainseg.run import Run

NOTE = ": synthetic data"
"""What titles end with where data are synthetic."""


def note_synthetic(evaluations: Runs) -> str:
    """`NOTE` where evaluations on another data set, by variant, are on synthetic data, else ""."""
    found = (run.read(run.evaluation) for members in evaluations.values() for run in members)
    return NOTE if any(facts["data"]["synthetic"] for facts in found) else ""


def external_table(runs: Runs) -> Table:
    """Scores of every run on other data sets; by class for the first mode of each data set.

    Under it stand the images of each data set, their overlap with training, and what is predicted
    where outlines are missing.
    """
    rows = [[name, *row] for name, run in name_runs(runs) for row in _rows_of(run)]
    columns = ["Variant", "Data", "Mode", *score_columns()]
    notes = [SCORES_NOTE, *_tell(runs)] if rows else []
    return Table("On other data", columns, rows, notes, columns[4:])


def _rows_of(run: Run) -> Iterator[list[str]]:
    for found in find_evaluations(run):
        name = found.read(found.evaluation)["data"]["name"]
        for mode in found.modes:
            scores = score_rows(found.read(found.metrics_of(mode)))
            shown = scores if mode == found.modes[0] else scores[:1]
            yield from ([name, mode, *cells] for cells in shown)


def _tell(runs: Runs) -> Iterator[str]:
    for label, variants in by_data_set(runs).items():
        found = {run.path.parents[1].name: run for run in chain.from_iterable(variants.values())}
        told: dict[str, list[str]] = defaultdict(list)
        for name, run in found.items():
            told[_describe(run.read(run.evaluation))].append(name)
        for text, names in told.items():
            whose = f" ({', '.join(names)})" if len(told) > 1 else ""
            yield f"{label}{whose}: {text}"
        yield from (f"{label}: {text}" for text in _tell_predicted(found))


def _describe(facts: Mapping[str, Any]) -> str:
    data = facts["data"]
    parts = [
        SYNTHETIC if data["synthetic"] else "",
        f"{data['n']} images of {data['folder']}, {data['clusters']} of them distinct",
        f"{data['unmasked']} with a tumour but no outline" if data["unmasked"] else "",
        f"overlap with training unknown ({facts['unchecked']})"
        if facts["unchecked"]
        else f"{sum(facts['left_out'].values())} images known from training left out",
        f"{data['of_own_test']} are also in the run's own test split, so they are not new data"
        if data["of_own_test"]
        else "",
    ]
    return "; ".join(filter(None, parts)) + "."


def _tell_predicted(found: Mapping[str, Evaluation]) -> Iterator[str]:
    """By class, in what share of the images without an outline a tumour is predicted."""
    shares: dict[str, list[str]] = defaultdict(list)
    for name, run in found.items():
        metrics = run.read(run.metrics_of(run.modes[0]))
        for class_, bare in metrics.get("unmasked", {}).items():
            shares[class_].append(f"{name} {bare['predicted_share']:.1%} of {bare['n']}")
    for class_, each in shares.items():
        yield f"tumour predicted in images of {class_} without outlines: {', '.join(each)}."
