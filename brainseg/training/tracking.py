"""Weights & Biases as a mirror of a run's files; a run is the same without it."""

import logging
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import wandb

from brainseg.deploy.overlay import overlay
from brainseg.errors import InputError
from brainseg.evaluation.cases import THRESHOLD
from brainseg.files import read_csv, read_json, write_text
from brainseg.run import CHECKPOINT, Run

DISABLED = "disabled"
OVERLAYS = 8
"""Sample overlays logged with a run."""

logger = logging.getLogger(__name__)


def tracking_mode(tracking: Mapping[str, Any]) -> Any:
    """W&B's mode for the `tracking` group: `offline`, `online` or `disabled`."""
    return DISABLED if tracking["name"] == "none" else tracking["mode"]


@contextmanager
def tracked(run: Run, config: Mapping[str, Any], job: str = "train") -> Iterator[Any]:
    """Open the W&B run of a run directory and always finish it.

    The id is kept in the directory's `wandb/`, so that a resumed training and later stages
    continue the same W&B run. Offline each of them writes a folder of its own, and the server takes
    the one sent last: so each begins with the history so far, and the latest is the whole run. An
    exception inside finishes the W&B run with a failing exit code.

    Args:
        run: the run directory.
        config: its resolved configuration, with the group `tracking`.
        job: what is being done, for the log.

    Yields:
        A `wandb.Run`; under `tracking=none` one that does nothing.

    Raises:
        InputError: W&B does not know the mode, or its server cannot be reached.
    """
    tracking = config["tracking"]
    mode = tracking_mode(tracking)
    os.environ.setdefault("WANDB_SILENT", "true")
    if mode != DISABLED:
        run.wandb.mkdir(parents=True, exist_ok=True)
    try:
        opened = wandb.init(
            project=tracking["project"],
            entity=tracking["entity"],
            dir=run.path,
            id=_kept_id(run) if mode != DISABLED else None,
            resume="allow" if mode == "online" else None,
            name=run.name,
            group=config["experiment_name"],
            job_type=job,
            tags=[config["model"]["attention"]],
            config=dict(config),
            mode=mode,
            reinit="finish_previous",
            settings=wandb.Settings(console="off", silent=True, x_disable_stats=True),
        )
    except (wandb.Error, ValueError) as error:
        raise InputError(
            f"W&B could not start with tracking.mode={mode}: {error} Use tracking.mode=offline and "
            "sync later, or tracking=none."
        ) from error
    _define_metrics(opened)
    if mode == "offline" and run.history.exists():
        for row in read_csv(run.history):
            log_epoch(opened, {key: float(value) for key, value in row.items() if value})
    try:
        yield opened
    except BaseException:
        opened.finish(exit_code=1)
        raise
    opened.finish(exit_code=0)


def announce(run: Run, tracking: Mapping[str, Any]) -> None:
    """Say where the metrics go, and how an offline run is sent later."""
    mode = tracking_mode(tracking)
    if mode == "offline":
        logger.info("W&B: offline. To send it later: wandb sync %s/latest-run", run.wandb)
    elif mode == DISABLED:
        logger.info("W&B: off (tracking=none).")
    else:
        logger.info("W&B: %s, project %s.", mode, tracking["project"])


def log_epoch(opened: Any, row: Mapping[str, float]) -> None:
    """Mirror a row of the history, under its epoch as the step."""
    opened.log(dict(row), step=int(row["epoch"]))


def log_results(opened: Any, run: Run) -> None:
    """Mirror what the run's files hold: test metrics, deploy rows and sample overlays."""
    if run.metrics.exists():
        metrics = read_json(run.metrics)
        opened.summary.update({f"test/{key}": value for key, value in _flat(metrics)})
    if run.deploy.exists():
        opened.log({"deploy": deploy_table(read_json(run.deploy))})
    if run.predictions(CHECKPOINT).exists():
        opened.log({"overlays": _overlays(run)})


def deploy_table(rows: Sequence[Mapping[str, Any]]) -> wandb.Table:
    """The rows of `deploy.json` as a table; nested values are flattened with dots."""
    flat = [dict(_flat(row)) for row in rows]
    columns: list[str | int] = list(dict.fromkeys(key for row in flat for key in row))
    return wandb.Table(
        columns=columns,
        data=[[row.get(str(key)) for key in columns] for row in flat],
        allow_mixed_types=True,
    )


def _kept_id(run: Run) -> str:
    path = run.wandb / "id"
    if not path.exists():
        write_text(path, secrets.token_hex(4))
    return path.read_text().strip()


def _define_metrics(opened: Any) -> None:
    for name in ("val_mean_iou", "val_tumor_iou"):
        opened.define_metric(name, summary="max")
    for name in ("train_loss", "val_loss"):
        opened.define_metric(name, summary="min")


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


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value) if isinstance(value, list) else value
