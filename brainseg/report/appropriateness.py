"""Whether tumours look as their class should: truth and predictions side by side (III-C)."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from statistics import fmean
from typing import Any

from brainseg.evaluation.appropriateness import (
    EXPECTED,
    compare_classes,
    read_appropriateness,
)
from brainseg.experiment import Evaluation, find_evaluations
from brainseg.files import read_json
from brainseg.report.render import Table
from brainseg.report.rows import NOTHING
from brainseg.run import Run
from brainseg.vocabulary import TRUTH

COLUMNS = ("Class", "The paper says", "Measure", "Expected")

Sources = Mapping[str, list[dict[str, Any]]]
"""Rows of `measure_appropriateness` by who drew the outlines: the truth, or a variant."""

NOTE = (
    "Median of what was drawn in images of the class. A: area under the curve, the chance that an "
    "image of the class lies further to the expected side than one of another class; that of the "
    "most similar class. ✓ or ✗: the 95 % interval of A over patients lies above or below 0.5; ≈: "
    "it includes 0.5; no sign: too few patients, or unknown ones."
)


def by_data_set(runs: Mapping[str, Sequence[Run]]) -> dict[str, dict[str, list[Evaluation]]]:
    """The evaluations of each variant's runs, by data set and then by variant.

    A data set is a folder; where two have the same name, their folders are named too.
    """
    found: dict[str, dict[str, list[Evaluation]]] = defaultdict(lambda: defaultdict(list))
    names: dict[str, str] = {}
    for variant, members in runs.items():
        for run in chain.from_iterable(map(find_evaluations, members)):
            data = read_json(run.evaluation)["data"]
            names[data["folder"]] = data["name"]
            found[data["folder"]][variant].append(run)
    alike = Counter(names.values())
    labels = {
        name if alike[name] == 1 else f"{name} ({folder})": folder for folder, name in names.items()
    }
    return {label: dict(found[labels[label]]) for label in sorted(labels)}


def collect_sources(runs: Mapping[str, Sequence[Run]]) -> dict[str, list[dict[str, Any]]]:
    """What the true masks look like, and what each variant's first run predicts.

    Variants that were tested on other images than the first one come after a truth of their own.
    Nothing where no image is of a class that has expectations.

    Args:
        runs: by variant, one per seed; or folders of evaluations.
    """
    firsts = {variant: members[0] for variant, members in runs.items() if members}
    sources: dict[str, list[dict[str, Any]]] = {}
    tested: list[list[dict[str, Any]]] = []
    for variant, run in firsts.items():
        mode = run.float_mode()
        if not mode or not run.appropriateness(mode).exists():
            continue
        rows = read_appropriateness(run.appropriateness(mode))
        truth = _read_truth(run)  # not the ids alone: other data sets may have the same
        if truth and truth not in tested:
            sources[f"{TRUTH} ({variant})" if tested else TRUTH] = truth
            tested.append(truth)
        sources[variant] = rows
    classes = {row["class"] for rows in sources.values() for row in rows}
    return sources if classes & EXPECTED.keys() else {}


def is_truth(source: str) -> bool:
    """Whether a name of `collect_sources` is that of true masks."""
    return source == TRUTH or source.startswith(f"{TRUTH} (")


def tabulate_appropriateness(title: str, runs: Mapping[str, Sequence[Run]]) -> Table:
    """A row per class and statement of the paper; no rows where nothing was measured.

    Args:
        title: of the table.
        runs: as in `collect_sources`.
    """
    sources = collect_sources(runs)
    if not sources:
        return Table(title, COLUMNS, [])
    found = {name: compare_classes(rows) for name, rows in sources.items()}
    rows = [
        [
            class_,
            entry.says,
            entry.measure.replace("_", " "),
            entry.direction,
            *(_cell(each[class_][index]) for each in found.values()),
        ]
        for class_, entries in EXPECTED.items()
        for index, entry in enumerate(entries)
    ]
    return Table(title, [*COLUMNS, *found], rows, [NOTE, *_tell_drawn(sources)], list(found))


def _tell_drawn(sources: Sources) -> Iterator[str]:
    """By class, in what share of its images anything was drawn."""
    for class_ in EXPECTED:
        drawn = {
            name: [row["detected"] for row in rows if row["class"] == class_]
            for name, rows in sources.items()
        }
        shares = [
            f"{name} {fmean(found):.1%} of {len(found)}" for name, found in drawn.items() if found
        ]
        if shares:
            text = f"Images of {class_} in which anything was drawn, even in the wrong place"
            yield f"{text}: {', '.join(shares)}."


def _read_truth(run: Run) -> list[dict[str, Any]]:
    file = run.appropriateness(TRUTH)
    return read_appropriateness(file) if file.exists() else []


def _cell(compared: Mapping[str, Any]) -> str:
    """The median, and how well it separates the class from the most similar one."""
    if compared["median"] is None:
        return NOTHING
    digits = 3 if compared["measure"] == "solidity" else 2  # which all lie close to 1
    median = f"{compared['median']:.{digits}f}".replace("-", "−")
    areas = {other: area for other, area in compared["auc"].items() if area is not None}
    if not areas:
        return median
    worst = min(areas, key=areas.__getitem__)
    return f"{median} (A {areas[worst]:.2f}{_sign(compared['auc_interval'][worst])})"


def _sign(interval: tuple[float, float] | None) -> str:
    if interval is None:
        return ""
    low, high = interval
    return " ✓" if low > 0.5 else " ✗" if high < 0.5 else " ≈"
