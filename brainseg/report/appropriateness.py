"""Whether tumours look as their class should, truth and predictions side by side (III-C)."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from brainseg.evaluation.appropriateness import (
    EXPECTED,
    compare_classes,
    read_appropriateness,
)
from brainseg.experiment import Evaluation, find_evaluations
from brainseg.files import read_json
from brainseg.report.rows import NOTHING
from brainseg.run import Run
from brainseg.vocabulary import TRUTH

COLUMNS = ("Class", "The paper says", "Measure", "Expected")

Sources = Mapping[str, list[dict[str, Any]]]
"""Rows of `measure_appropriateness` by who drew the outlines: the truth, or a variant."""

NOTE = (
    "Median of what was drawn in images of the class. A: area under the curve, the chance that an "
    "image of the class lies on the expected side of one of another class, against that other "
    "class from which it is told worse. ✓ or ✗: the 95 % interval of A over patients lies above or "
    "below 0.5; ≈: it does not tell; no sign: too few patients, or unknown ones."
)


def by_data_set(runs: Mapping[str, Sequence[Run]]) -> dict[str, dict[str, list[Evaluation]]]:
    """The evaluations of each variant's runs, by data set and then by variant.

    A data set is a folder; it is named by its last part where no other one is called so.
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
        folder: name if alike[name] == 1 else f"{name} ({folder})" for folder, name in names.items()
    }
    order = sorted(found, key=labels.__getitem__)
    return {labels[folder]: dict(found[folder]) for folder in order}


def collect_sources(runs: Mapping[str, Sequence[Run]]) -> dict[str, list[dict[str, Any]]]:
    """What the true masks look like, and what each variant's first run predicts.

    Variants that were tested on other images than the first one come after a truth of their own.
    There is nothing where no image is of a class that something is expected of.

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


def tabulate_appropriateness(sources: Sources) -> tuple[list[str], list[list[str]]]:
    """A table: columns, and one row per class and thing that the paper says of it."""
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
    return [*COLUMNS, *found], rows


def tell_drawn(sources: Sources) -> list[str]:
    """By class, in what share of its images something was drawn at all."""
    sentences = []
    for class_ in EXPECTED:
        drawn = {
            name: [row["detected"] for row in rows if row["class"] == class_]
            for name, rows in sources.items()
        }
        shares = [
            f"{name} {sum(found) / len(found):.1%} of {len(found)}"
            for name, found in drawn.items()
            if found
        ]
        if shares:
            sentences.append(
                f"Something was drawn in images of {class_}, be it in the wrong place: "
                f"{', '.join(shares)}."
            )
    return sentences


def _read_truth(run: Run) -> list[dict[str, Any]]:
    file = run.appropriateness(TRUTH)
    return read_appropriateness(file) if file.exists() else []


def _cell(compared: Mapping[str, Any]) -> str:
    """The median, and how the class is told from the one that is most like it."""
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
