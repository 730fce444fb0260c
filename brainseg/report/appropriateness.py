"""Whether tumours look as their class should, truth and predictions side by side (III-C)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from brainseg.evaluation.appropriateness import (
    EXPECTED,
    read_appropriateness,
    summarize_appropriateness,
)
from brainseg.files import read_json
from brainseg.report.scores import NOTHING, evaluations
from brainseg.run import TRUTH, Run

COLUMNS = ("Class", "The paper says", "Measure", "Expected")

Sources = Mapping[str, list[dict[str, Any]]]
"""Rows of `measure_appropriateness` by who drew the outlines: the truth, or a variant."""

NOTE = (
    "Median of the detected tumours of the class. A: area under the curve, the chance that an "
    "image of the class lies on the expected side of one of another class, against that other "
    "class from which it is told worse. ✓: A is above 0.5; ✗: it is not."
)


def by_data_set(runs: Mapping[str, Sequence[Run]]) -> dict[str, dict[str, list[Run]]]:
    """The evaluations of each variant's runs, by the name of the data set and then by variant."""
    found: dict[str, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for variant, members in runs.items():
        for run in chain.from_iterable(map(evaluations, members)):
            found[read_json(run.evaluation)["data"]["name"]][variant].append(run)
    return {name: dict(variants) for name, variants in sorted(found.items())}


def collect_sources(runs: Mapping[str, Sequence[Run]]) -> dict[str, list[dict[str, Any]]]:
    """What the true masks look like, and what each variant's first run predicts.

    Args:
        runs: by variant, one per seed; or folders of evaluations.
    """
    firsts = {variant: members[0] for variant, members in runs.items() if members}
    sources: dict[str, list[dict[str, Any]]] = {}
    for run in firsts.values():
        if run.appropriateness(TRUTH).exists() and TRUTH not in sources:
            rows = read_appropriateness(run.appropriateness(TRUTH))
            sources |= {TRUTH: rows} if rows else {}
    for variant, run in firsts.items():
        mode = run.float_mode()
        if mode and run.appropriateness(mode).exists():
            sources[variant] = read_appropriateness(run.appropriateness(mode))
    return sources


def tabulate_appropriateness(sources: Sources) -> tuple[list[str], list[list[str]]]:
    """A table: columns, and one row per class and thing that the paper says of it.

    The first rows tell in what share of the images a tumour was drawn at all.
    """
    found = {name: summarize_appropriateness(rows) for name, rows in sources.items()}
    rows = [
        [
            class_,
            "",
            "drawn at all",
            "",
            *(_detected(each["classes"].get(class_)) for each in found.values()),
        ]
        for class_ in EXPECTED
    ]
    for class_, entries in EXPECTED.items():
        for index, entry in enumerate(entries):
            cells = [_cell(each["expected"][class_][index]) for each in found.values()]
            measure = entry.measure.replace("_", " ")
            rows.append([class_, entry.says, measure, entry.direction, *cells])
    return [*COLUMNS, *found], rows


def _detected(described: Mapping[str, Any] | None) -> str:
    return f"{described['detected']:.1%} of {described['n']}" if described else NOTHING


def _cell(compared: Mapping[str, Any]) -> str:
    if compared["median"] is None:
        return NOTHING
    median = f"{compared['median']:.2f}".replace("-", "−")
    areas = [area for area in compared["auc"].values() if area is not None]
    if not areas:
        return median
    return f"{median} {'✓' if min(areas) > 0.5 else '✗'} (A {min(areas):.2f})"
