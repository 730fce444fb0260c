"""Metrics of runs as the cells of tables."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from brainseg.experiment import find_evaluations
from brainseg.files import read_json
from brainseg.report.rows import NOTHING
from brainseg.run import Run
from brainseg.terminal import widen

COLUMNS = (
    *("Class", "Images", "Patients", "Mean IoU", "Tumour IoU", "Dice", "Dice per patient"),
    *("HD95, px", "Detected", "False positives"),
)


def score_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    """Cells under `COLUMNS`: of all images first, then of each class.

    Args:
        metrics: the content of a `metrics.json`.
    """
    everything = {"all": metrics, **metrics["classes"]}
    return [[name, *_cells(values)] for name, values in everything.items()]


def external_rows(run: Run) -> list[list[str]]:
    """Cells under `Data`, `Mode` and `COLUMNS` of what was found on other data sets.

    Classes are told apart for the first mode of each data set only.
    """
    rows = []
    for found in find_evaluations(run):
        facts = read_json(found.evaluation)
        for mode in found.modes:
            scores = score_rows(read_json(found.metrics_of(mode)))
            shown = scores if mode == found.modes[0] else scores[:1]
            rows += [[facts["data"]["name"], mode, *cells] for cells in shown]
    return rows


def show_evaluation(found: Run) -> None:
    """Print what an evaluation found, and where it is."""
    facts, console = read_json(found.evaluation), widen(Console())
    for mode in facts["modes"]:
        metrics = read_json(found.metrics_of(mode))
        drawn = Table(
            box=box.SIMPLE_HEAD, padding=0, title=Text(f"{mode} on {facts['data']['name']}")
        )
        for name in COLUMNS:
            drawn.add_column(
                name.replace(" ", "\n"),
                justify="right" if name != "Class" else "left",
                overflow="fold",
            )
        for row in score_rows(metrics):
            drawn.add_row(*map(Text, map(_break, row)))
        console.print(drawn)
        for name, bare in metrics["unmasked"].items():
            share, n = bare["predicted_share"], bare["n"]
            console.print(
                f"{name}, without outlines: tumour predicted in {share:.1%} of {n} images"
            )
    console.print(f"Evaluation: {found.path}", soft_wrap=True, markup=False)


def _break(cell: str) -> str:
    """A value and its interval in narrow lines."""
    value, *interval = cell.split(" (")
    return "\n(".join([value, *(ends.replace("–", "–\n") for ends in interval)])


def with_interval(metrics: Mapping[str, Any], name: str, form: str = ".3f") -> str:
    """A metric with its interval over patients, in a format for numbers."""
    value, interval = metrics.get(name), metrics.get(f"{name}_interval")
    if value is None:
        return NOTHING
    ends = f" ({interval[0]:{form}}–{interval[1]:{form}})" if interval else ""
    return f"{value:{form}}{ends}"


def _cells(metrics: Mapping[str, Any]) -> list[str]:
    shown = metrics["n_tumor"] > 0
    return [
        str(metrics["n"]),
        str(metrics["n_patients"] or NOTHING),
        # Without a tumour, IoU tells no more than whether there is a false positive anywhere.
        *(with_interval(metrics, name) if shown else NOTHING for name in ("mean_iou", "tumor_iou")),
        with_interval(metrics, "dice"),
        with_interval(metrics, "patient_dice"),
        with_interval(metrics, "hd95_px", ".1f"),
        with_interval(metrics, "detection_rate", ".1%"),
        with_interval(metrics, "false_positive_rate", ".1%"),
    ]
