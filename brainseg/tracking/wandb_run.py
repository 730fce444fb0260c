"""Weights & Biases as a mirror of a run's files; a run is the same without it."""

import logging
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from brainseg.errors import InputError
from brainseg.experiment import variant_of
from brainseg.files import write_text
from brainseg.run import Run
from brainseg.tracking.bounded import ask
from brainseg.tracking.mirror import direction, media_of, summary_of

DISABLED = "disabled"
MODES = ("offline", "online", DISABLED)
ALIASES = {"dryrun": "offline", "run": "online"}
"""Older names of W&B's, which `WANDB_MODE` may still hold."""

STEP = "epoch"
"""What curves are drawn over, in every run."""

CURVES = ("val_mean_iou", "val_tumor_iou", "val_loss", "train_loss", "lr", "images_per_second")
"""Columns of the history that dashboards draw."""

VARIANT = "variant"
"""The key of W&B's configuration that holds what the run is called; not in the run's own."""

logger = logging.getLogger(__name__)


def tracking_mode(tracking: Mapping[str, Any]) -> Any:
    """W&B's mode for the `tracking` group: `offline`, `online` or `disabled`.

    Raises:
        InputError: the mode is unknown.
    """
    if tracking["name"] == "none":
        return DISABLED
    mode = ALIASES.get(tracking["mode"], tracking["mode"])
    if mode not in MODES:
        raise InputError(
            f"tracking.mode={mode} is unknown (it defaults to WANDB_MODE). Choose from: "
            f"{', '.join(MODES)}. Or turn tracking off: tracking=none."
        )
    return mode


@contextmanager
def tracked(run: Run, config: Mapping[str, Any], job: str = "train") -> Iterator[Any]:
    """Open the W&B run of a run directory and always finish it.

    The id is kept in the directory's `wandb/`, so that a resumed training and later stages
    continue the same W&B run. Offline, each of them writes a folder of its own, and the server
    keeps the one sent last: each therefore begins with the history so far, so that the newest is
    the whole run. An exception inside finishes the W&B run with a failing exit code.

    Args:
        run: the run directory.
        config: its resolved configuration, with the group `tracking`.
        job: what is being done, for W&B.

    Yields:
        A `wandb.Run`; nothing where W&B fails or hangs, which is told, and under `tracking=none`,
        where it is not even imported.

    Raises:
        InputError: the mode is unknown.
    """
    tracking = config["tracking"]
    mode = tracking_mode(tracking)
    if mode == DISABLED:
        yield None
        return
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    run.wandb.mkdir(parents=True, exist_ok=True)
    start = partial(
        wandb.init,
        project=tracking["project"],
        entity=tracking["entity"],
        dir=run.path,
        id=_kept_id(run),
        resume="allow" if mode == "online" else None,
        name=run.name,
        group=config["experiment_name"],
        job_type=job,
        tags=[variant_of(config), config["data"]["name"], config["split"]["name"]],
        config={**config, VARIANT: variant_of(config)},
        mode=mode,
        reinit="finish_previous",
        settings=wandb.Settings(console="off", silent=True, x_disable_stats=True),
    )
    opened = ask(object(), f"starting with tracking.mode={mode}", start)
    if opened is None:
        yield None
        return
    ask(opened, "defining metrics", lambda: opened.define_metric("*", step_metric=STEP))
    ask(opened, "defining metrics", lambda: _define(opened, CURVES))
    if mode == "offline" and run.history.exists():
        for row in run.read(run.history):
            told = {key: float(value) for key, value in row.items() if value not in ("", None)}
            log_epoch(opened, told)
    try:
        yield opened
    except BaseException:
        ask(opened, "finishing", lambda: opened.finish(exit_code=1))
        raise
    ask(opened, "finishing", lambda: opened.finish(exit_code=0))


def mirror_results(run: Run, job: str) -> None:
    """Continue a run's W&B run, if it has one, with what its files hold now.

    `WANDB_MODE` wins over the mode that the run was trained with; `job` says what was done.

    Raises:
        InputError: as `tracked`.
    """
    config = run.read_config()
    tracking = config["tracking"]
    if tracking["name"] == "none" or not run.wandb.exists():
        return
    tracking["mode"] = os.environ.get("WANDB_MODE") or tracking["mode"]
    with tracked(run, config, job) as opened:
        log_results(opened, run)


def announce(run: Run, tracking: Mapping[str, Any]) -> None:
    """Log where the metrics go, and how to send an offline run."""
    mode = tracking_mode(tracking)
    if mode == "offline":
        logger.info("W&B: offline. To send the run: wandb sync %s/latest-run", run.wandb)
    elif mode == DISABLED:
        logger.info("W&B: off (tracking=none).")
    else:
        logger.info("W&B: %s, project %s.", mode, tracking["project"])


def log_epoch(opened: Any, row: Mapping[str, float]) -> None:
    """Mirror a row of the history; its epoch is the step."""
    if opened is None:
        return
    ask(opened, "logging an epoch", lambda: opened.log(dict(row), step=int(row["epoch"])))


def log_results(opened: Any, run: Run) -> None:
    """Mirror what the run's files hold: test metrics, deploy rows, tables and images."""
    if opened is None:
        return
    summary = summary_of(run)
    ask(opened, "defining metrics", lambda: _define(opened, summary))
    ask(opened, "sending the results", lambda: opened.summary.update(summary))
    if media := {name: make() for name, make in media_of(run).items()}:
        ask(opened, "sending tables and images", lambda: opened.log(media))


def _kept_id(run: Run) -> str:
    path = run.wandb / "id"
    if not path.exists():
        write_text(path, secrets.token_hex(4))
    return path.read_text().strip()


def _define(opened: Any, names: Iterable[str]) -> None:
    """Say which way is better; the summary of a curve is then its best value."""
    for name in names:
        if better := direction(name):
            opened.define_metric(name, summary=better, step_metric=STEP)
