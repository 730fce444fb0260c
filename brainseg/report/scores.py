"""Metrics of runs as the cells of tables."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from brainseg import vocabulary
from brainseg.report.render import Table, to_rich
from brainseg.report.rows import NOTHING
from brainseg.report.table import Runs, name_runs
from brainseg.run import Run
from brainseg.terminal import widen
from brainseg.vocabulary import CHECKPOINT

NOTE = (
    "In brackets: 95 % bootstrap intervals over patients. There is no interval with fewer than 8 "
    "patients, with unknown patients, or if all images have the same value. With few patients, "
    "intervals are slightly too narrow. HD95 of an empty prediction is the image's diagonal."
)


def score_columns() -> list[str]:
    """The columns of `score_rows`."""
    return ["Class", "Images", "Patients", *_shown().values()]


def score_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    """Cells under `score_columns` of a `metrics.json`: all images first, then each class."""
    everything = {"all": metrics, **metrics["classes"]}
    return [[name, *_cells(values)] for name, values in everything.items()]


def score_table(runs: Runs, mode: str = CHECKPOINT) -> Table:
    """Scores of every run in a mode on its test split, by class."""
    files = [(name, run, run.metrics_of(mode)) for name, run in name_runs(runs)]
    scored = [(name, run.read(file)) for name, run, file in files if file.exists()]
    rows = [[name, *row] for name, metrics in scored for row in score_rows(metrics)]
    what = "the checkpoint in PyTorch" if mode == CHECKPOINT else f"`model.{mode}.onnx`"
    columns, note = ["Variant", *score_columns()], f"Scores of {what}. {NOTE}"
    return Table("Scores by class", columns, rows, [note], columns[2:])


def show_evaluation(found: Run) -> None:
    """Print what an evaluation found, and where it is."""
    facts, console = found.read(found.evaluation), widen(Console())
    for mode in facts["modes"]:
        metrics = found.read(found.metrics_of(mode))
        rows = [list(map(_break, row)) for row in score_rows(metrics)]
        notes = [
            f"{name}, no outlines: tumour predicted in {bare['predicted_share']:.1%} of "
            f"{bare['n']} images"
            for name, bare in metrics.get("unmasked", {}).items()
        ]
        columns = [name.replace(" ", "\n") for name in score_columns()]
        title = f"{mode} on {facts['data']['name']}"
        console.print(to_rich(Table(title, columns, rows, notes, columns[1:])))
    console.print(f"Evaluation: {found.path}", soft_wrap=True, markup=False)


def _shown() -> dict[str, str]:
    """Metric → its column."""
    labels = {name: metric.label for name, metric in vocabulary.METRICS.items()}
    return labels | {"patient_dice": "Dice per patient"}


def _break(cell: str) -> str:
    """A value and its interval in narrow lines."""
    value, *interval = cell.split(" (")
    return "\n(".join([value, *(ends.replace("–", "–\n") for ends in interval)])


def with_interval(metrics: Mapping[str, Any], name: str) -> str:
    """A metric with its interval over patients."""
    value, interval = metrics.get(name), metrics.get(f"{name}_interval")
    form = ".1%" if name.endswith("_rate") else ".1f" if name.endswith("_px") else ".3f"
    if value is None:
        return NOTHING
    ends = f" ({interval[0]:{form}}–{interval[1]:{form}})" if interval else ""
    return f"{value:{form}}{ends}"


def _cells(metrics: Mapping[str, Any]) -> list[str]:
    # Without a tumour, IoU only shows whether there is a false positive anywhere.
    void = () if metrics["n_tumor"] else ("mean_iou", "tumor_iou")
    return [
        str(metrics["n"]),
        str(metrics["n_patients"] or NOTHING),
        *(NOTHING if name in void else with_interval(metrics, name) for name in _shown()),
    ]
