"""Whether tumours look as their class should: truth and predictions side by side (III-C)."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain
from statistics import fmean
from typing import Any

from brainseg.evaluation.appropriateness import EXPECTED, compare_classes
from brainseg.experiment import Evaluation, find_evaluations
from brainseg.report.render import Table
from brainseg.report.rows import NOTHING
from brainseg.run import Run
from brainseg.vocabulary import TRUTH

COLUMNS = ("Class", "The paper says", "Measure", "Expected")

Sources = Mapping[str, list[dict[str, Any]]]
"""Rows of `measure_appropriateness` by who drew the outlines: the truth, or a variant."""

NOTE = (
    "Medians over images of the class in which something was drawn. A: area under the curve, the "
    "chance that an image of the class lies further on the expected side than one of the most "
    "similar class. ✓, ✗ or ≈: the 95 % interval of A over patients lies above, below or around "
    "0.5. No sign: patients are unknown or too few. Drawn anywhere: share of the images in which "
    "something was drawn, even in the wrong place."
)


def by_data_set(runs: Mapping[str, Sequence[Run]]) -> dict[str, dict[str, list[Evaluation]]]:
    """The evaluations of each variant's runs, by data set and then by variant.

    A data set is a folder; where two have the same name, their folders are named too.
    """
    found: dict[tuple[str, str], dict[str, list[Evaluation]]]
    found = defaultdict(lambda: defaultdict(list))
    for variant, members in runs.items():
        for run in chain.from_iterable(map(find_evaluations, members)):
            data = run.read(run.evaluation)["data"]
            found[data["name"], data["folder"]][variant].append(run)
    alike = Counter(name for name, _ in found)
    return {
        name if alike[name] == 1 else f"{name} ({folder})": dict(variants)
        for (name, folder), variants in sorted(found.items())
    }


def collect_sources(runs: Mapping[str, Sequence[Run]]) -> dict[str, list[dict[str, Any]]]:
    """What the true masks look like, and what each variant's first run predicts.

    Variants that were tested on other images than the first one come after a truth of their own.
    Empty where no image is of a class that has expectations.

    Args:
        runs: by variant, one per seed; or folders of evaluations.
    """
    sources: dict[str, list[dict[str, Any]]] = {}
    tested: list[list[dict[str, Any]]] = []
    for variant, run in ((variant, members[0]) for variant, members in runs.items() if members):
        rows = _read(run, run.float_mode())
        if not rows:
            continue
        truth = _read(run, TRUTH)  # not the ids alone: other data sets may have the same
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
    """A row per class and statement of the paper; no rows where nothing was measured."""
    sources = collect_sources(runs)
    if not sources:
        return Table(title, COLUMNS, [])
    found = {name: compare_classes(rows) for name, rows in sources.items()}
    table = []
    for class_, entries in EXPECTED.items():
        for index, entry in enumerate(entries):
            names = [class_, entry.says, entry.measure.replace("_", " "), entry.direction]
            table.append([*names, *(_cell(each[class_][index]) for each in found.values())])
        drawn = [_drawn(rows, class_) for rows in sources.values()]
        table.append([class_, NOTHING, "drawn anywhere", NOTHING, *drawn])
    return Table(title, [*COLUMNS, *found], table, [NOTE], list(found))


def _drawn(rows: Sequence[Mapping[str, Any]], class_: str) -> str:
    """In what share of the images of a class anything was drawn."""
    found = [row["detected"] for row in rows if row["class"] == class_]
    return f"{fmean(found):.1%} of {len(found)}" if found else NOTHING


def _read(run: Run, mode: str | None) -> list[dict[str, Any]]:
    file = run.appropriateness(mode) if mode else None
    return run.read(file) if file and file.exists() else []


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
