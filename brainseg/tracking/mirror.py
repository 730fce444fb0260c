"""A run's files as W&B takes them: numbers for its summary, tables, images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from brainseg.evaluation.cases import THRESHOLD
from brainseg.outline import overlay
from brainseg.row import Row
from brainseg.rows import read_rows
from brainseg.run import Run
from brainseg.vocabulary import CHECKPOINT, METRICS

if TYPE_CHECKING:  # what tracks nothing does without
    import wandb

OVERLAYS = 8
"""Sample overlays logged with a run."""

BETTER = {"speedup": "max"} | dict.fromkeys(
    ("loss", "ece", "ece_uncertain", "latency_p50_ms", "device_p50_ms", "size_mib"), "min"
)
"""Numbers that are no `METRICS` → `max` or `min`, whichever is better."""


def direction(name: str) -> str | None:
    """Whether the number called `name` should be large (`max`) or small; `None` for a mere fact."""
    if "/undefined/" in name:  # counts, under the names of metrics
        return None
    known = {metric: each.better for metric, each in METRICS.items()} | BETTER
    last = name.rpartition("/")[2]  # such as val_mean_iou or delta_mean_iou
    return next((better for ending, better in known.items() if last.endswith(ending)), None)


def summary_of(run: Run) -> dict[str, Any]:
    """The numbers of a run: `test/…` of the checkpoint, `deploy/…` of its rows."""
    metrics = run.read(run.metrics) if run.metrics.exists() else {}
    return flatten({"test": metrics}) | deploy_numbers(read_rows(run))


def deploy_numbers(rows: Sequence[Row]) -> dict[str, float]:
    """What charts need of the rows that went well.

    Returns:
        Numbers under `deploy/<device>/<runtime>/<mode>/<what>`, where `what` is `latency_p50_ms`,
        `device_p50_ms`, `passes`, `mean_iou`, `delta_mean_iou`, `size_mib` or `speedup`. The mode
        includes a precision of the runtime (`fp32_bf16`), a batch (`fp32_batch_16`), and threads
        where another row of the device and batch has more (`fp32_1_threads`).
    """
    numbers: dict[str, float] = {}
    for row in (row for row in rows if row.status == "ok"):
        alike = [each for each in rows if (each.device, each.batch) == (row.device, row.batch)]
        most = max(each.threads for each in alike)
        threads = f"{row.threads}_threads" if row.threads < most else None
        batch = f"batch_{row.batch}" if row.batch > 1 else None
        mode = "_".join(filter(None, [row.mode, row.precision, batch, threads]))
        of_row = {
            "latency_p50_ms": row.median_ms,
            "device_p50_ms": (row.device_ms or {}).get("p50"),
            "passes": row.passes,
            "mean_iou": row.mean_iou,
            "delta_mean_iou": row.delta_mean_iou,
            "size_mib": row.size_bytes and row.size_bytes / 2**20,
            "speedup": row.speedup,
        }
        place = f"deploy/{row.device}/{row.runtime}/{mode}"
        numbers |= {f"{place}/{name}": n for name, n in of_row.items() if n is not None}
    return numbers


def media_of(run: Run) -> dict[str, Callable[[], Any]]:
    """The tables and images of a run, by name; each is made when it is called.

    `deploy` holds the rows, `classes` the metrics of each class, `cases` the scores of each test
    case, and `overlays` some test cases with outlines.
    """
    media: dict[str, Callable[[], Any]] = {}
    if run.deploy.exists():
        media["deploy"] = lambda: to_table([asdict(row) for row in read_rows(run)])
    if run.metrics.exists():
        media["classes"] = lambda: class_table(run.read(run.metrics))
    if mode := run.float_mode():
        media["cases"] = lambda: to_table(run.read(run.cases(mode)))
    if run.predictions(CHECKPOINT).exists():
        media["overlays"] = partial(_overlays, run)
    return media


def class_table(metrics: Mapping[str, Any]) -> "wandb.Table":
    """The metrics of each class as a table, and those of all together as its last row."""
    rows = metrics["classes"] | {"all": metrics}
    shared = dict.fromkeys(name for row in metrics["classes"].values() for name in row)
    return to_table(
        [{"class": name} | {key: row.get(key) for key in shared} for name, row in rows.items()]
    )


def to_table(rows: Sequence[Mapping[str, Any]]) -> "wandb.Table":
    """Rows as a table; nested values are columns such as `latency_ms/p50`."""
    import wandb

    return wandb.Table(dataframe=_normalize(rows), allow_mixed_types=True)


def flatten(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Each value under the names on the way to it, joined by slashes.

    W&B takes a dot for a level of its own, and its charts cannot address it.
    """
    (flat,) = _normalize([tree]).to_dict("records")
    return {str(name): value for name, value in flat.items()}


def _normalize(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One column per value; `None` where a row has none. Lists of objects are left out."""
    frame = pd.json_normalize([dict(row) for row in rows], sep="/").astype(object)
    curves = frame.map(_holds_objects).any()
    return frame.where(frame.notna(), None).loc[:, ~curves]


def _holds_objects(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, Mapping) for item in value)


def _overlays(run: Run) -> "list[wandb.Image]":
    """Cases spread evenly over the test split: prediction and truth as outlines."""
    import wandb

    test, predictions = run.read(run.test), run.read(run.predictions(CHECKPOINT))
    ids, images, masks = test["ids"], test["images"], test["masks"]
    predicted = predictions["probabilities"] >= THRESHOLD
    chosen = np.unique(np.linspace(0, len(ids) - 1, OVERLAYS).astype(int))
    return [
        wandb.Image(overlay(images[i], predicted[i], masks[i] > 0), caption=str(ids[i]))
        for i in chosen
    ]
