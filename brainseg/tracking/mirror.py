"""A run's files as W&B takes them: numbers for its summary, tables, images."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import wandb

from brainseg.evaluation.cases import THRESHOLD, read_cases
from brainseg.files import read_json
from brainseg.outline import overlay
from brainseg.rows import Row, read_rows
from brainseg.run import Run
from brainseg.vocabulary import CHECKPOINT

OVERLAYS = 8
"""Sample overlays logged with a run."""

MAXIMISE = ("mean_iou", "tumor_iou", "dice", "detection_rate", "speedup")
MINIMISE = ("loss", "hd95_px", "false_positive_rate", "ece", "ece_uncertain")
COSTS = ("latency_p50_ms", "size_mib")
"""How the names of numbers end that should be large, or small."""


def direction(name: str) -> str | None:
    """`max` or `min`, whichever is better for the number called `name`; `None` for a mere fact."""
    if "/undefined/" in name:  # counts, under the names of metrics
        return None
    last = name.rpartition("/")[2]
    if last.endswith(MAXIMISE):
        return "max"
    return "min" if last.endswith((*MINIMISE, *COSTS)) else None


def summary_of(run: Run) -> dict[str, Any]:
    """The numbers of a run: `test/…` of the checkpoint, `deploy/…` of its rows."""
    metrics = read_json(run.metrics) if run.metrics.exists() else {}
    return {f"test/{key}": value for key, value in flatten(metrics)} | deploy_numbers(
        read_rows(run)
    )


def deploy_numbers(rows: Sequence[Row]) -> dict[str, float]:
    """What charts need of the rows at batch 1 that went well.

    Returns:
        Numbers under `deploy/<device>/<runtime>/<mode>/<what>`, where `what` is `latency_p50_ms`,
        `mean_iou`, `delta_mean_iou`, `size_mib` or `speedup`. The mode names a precision of the
        runtime (`fp32_bf16`), and the threads where another row of the device has more.
    """
    usual: dict[str, int] = {}
    for row in rows:
        usual[row["device"]] = max(usual.get(row["device"], 0), row["threads"])
    return {
        f"deploy/{row['device']}/{row['runtime']}/{_mode(row, usual)}/{what}": value
        for row in rows
        if row["status"] == "ok" and row["batch"] == 1
        for what, value in _numbers(row).items()
        if value is not None
    }


def media_of(run: Run) -> dict[str, Callable[[], Any]]:
    """The tables and images of a run, by name; each is made when it is called.

    `deploy` holds the rows, `classes` the metrics of each class, `cases` the scores of each test
    case, and `overlays` some test cases with outlines.
    """
    media: dict[str, Callable[[], Any]] = {}
    if run.deploy.exists():
        media["deploy"] = lambda: to_table(read_rows(run))
    if run.metrics.exists():
        media["classes"] = lambda: class_table(read_json(run.metrics))
    mode = run.float_mode()
    if mode:
        media["cases"] = lambda: to_table(read_cases(run.cases(mode)))
    if run.predictions(CHECKPOINT).exists():
        media["overlays"] = partial(_overlays, run)
    return media


def class_table(metrics: Mapping[str, Any]) -> wandb.Table:
    """The metrics of each class as a table, and those of all together as its last row."""
    classes = metrics["classes"]
    shared = {name for row in classes.values() for name in row}
    overall = {name: value for name, value in metrics.items() if name in shared}
    return to_table([{"class": name} | row for name, row in [*classes.items(), ("all", overall)]])


def to_table(rows: Sequence[Mapping[str, Any]]) -> wandb.Table:
    """Rows as a table; nested values are columns such as `latency_ms/p50`."""
    flat = [dict(flatten(row)) for row in rows]
    columns: list[str | int] = list(dict.fromkeys(key for row in flat for key in row))
    return wandb.Table(
        columns=columns,
        data=[[row.get(str(key)) for key in columns] for row in flat],
        allow_mixed_types=True,
    )


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each value with the names on the way to it, joined by slashes.

    W&B takes a dot for a level of its own, and its charts cannot address it. Lists of numbers have
    their positions as names; lists of objects, such as the points of a curve, are left out.
    """
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}/")
        elif isinstance(value, list):
            if not any(isinstance(item, Mapping) for item in value):
                yield from ((f"{prefix}{key}/{at}", item) for at, item in enumerate(value))
        else:
            yield f"{prefix}{key}", value


def _mode(row: Row, usual: Mapping[str, int]) -> str:
    parts = [row["mode"], *filter(None, [(row["options"] or {}).get("precision")])]
    if row["threads"] < usual[row["device"]]:
        parts.append(f"{row['threads']}_threads")
    return "_".join(parts)


def _numbers(row: Row) -> dict[str, float | None]:
    return {
        "latency_p50_ms": (row["latency_ms"] or {}).get("p50"),
        "mean_iou": row["mean_iou"],
        "delta_mean_iou": row["delta_mean_iou"],
        "size_mib": row["size_bytes"] and row["size_bytes"] / 2**20,
        "speedup": row["speedup"],
    }


def _overlays(run: Run) -> list[wandb.Image]:
    """Cases spread evenly over the test split: prediction and truth as contours."""
    with np.load(run.test) as test, np.load(run.predictions(CHECKPOINT)) as predictions:
        ids, images, masks = test["ids"], test["images"], test["masks"]
        probabilities = predictions["probabilities"]
    chosen = np.unique(np.linspace(0, len(ids) - 1, OVERLAYS).astype(int))
    return [
        wandb.Image(
            overlay(images[i], probabilities[i] >= THRESHOLD, masks[i] > 0), caption=str(ids[i])
        )
        for i in chosen
    ]
