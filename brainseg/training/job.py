"""One job of a sweep: data, fit, test, export, quantize; skipped, resumed or refused."""

import gc
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from brainseg.data.cache import Slices
from brainseg.data.describe import describe_data
from brainseg.data.leakage import COLUMNS as LEAK_COLUMNS
from brainseg.data.load import divide, load_data
from brainseg.data.parts import write_part, write_split
from brainseg.environment import describe
from brainseg.errors import in_words
from brainseg.files import discard, write_csv, write_json
from brainseg.interrupt import is_stopping
from brainseg.lock import locked
from brainseg.model.registry import build_network, check_network
from brainseg.run import INTERRUPTED, Run, Stage
from brainseg.terminal import has_bars, spent
from brainseg.tracking.wandb_run import announce, log_epoch, log_results, tracked
from brainseg.training.fit import fit, make_trainer
from brainseg.training.identity import check_same, identify
from brainseg.training.mend import add_fingerprint, mend_trained, write_config
from brainseg.training.modes import prepare_modes
from brainseg.training.state import has_begun, read_state
from brainseg.vocabulary import NEGATIVE

TELLING_AUC = 0.9
"""Area under the curve from which a user is told of the source shortcut."""

Watch = Callable[[dict[str, Any]], Any]

logger = logging.getLogger(__name__)


class Pruned(Exception):  # noqa: N818 (nothing went wrong)
    """A training was ended early, because others were better at the same epoch."""


def run_job(config: Mapping[str, Any], run: Run, watch: Watch = lambda row: None) -> None:
    """Do what is left to do of one run.

    A finished run is left alone unless its later stages are out of date; one that was cut off
    goes on where it stopped; `force` starts over, unless what it starts is refused.

    Args:
        config: the resolved configuration.
        run: its directory.
        watch: called with each row of its history; it may end the training with `Pruned`.

    Raises:
        InputError: the data or the configuration cannot be used (the state keeps the reason), the
            directory holds a run with another identity (it stays as it is), or another process is
            working on it.
    """
    logger.info("\n── %s", run.path)
    if config["data"]["name"] == "phantom":
        logger.info("Synthetic data (phantoms): the numbers say nothing about patients.")
    announce(run, config["tracking"])
    if config["force"] and has_begun(run):
        with locked(run.path):
            _check_usable(config)
            discard(run.path)
    with locked(run.path):
        _go_on(config, run, watch)


def _check_usable(config: Mapping[str, Any]) -> None:
    """Refuse here what would be refused before the first step of a training."""
    table, slices = load_data(config["data"], config["split"]["seed"])
    divide(table, slices, config["split"], config["data"]["duplicates"], lambda leaks: None)
    model = dict(config["model"])
    if model.get("weights") == "imagenet":
        model["weights"] = "none"  # downloading takes time
    check_network(build_network(model), config["data"]["image_size"])
    make_trainer(config["trainer"])


def _go_on(config: Mapping[str, Any], run: Run, watch: Watch) -> None:
    """Load the data, check that the run is the same, and do what is left."""
    state, identity = read_state(run), identify(config)
    stage = run.stage
    finished = state.get("status") == "finished"
    if stage == Stage.data:
        run.update_state(stage=stage, status="running", reason=None, identity=identity)
    with nullcontext() if finished else _noted_failure(run), spent("data"):
        table, slices = load_data(config["data"], config["split"]["seed"])
    identity["data.fingerprint"] = slices.fingerprint
    if stage != Stage.data:  # before, nothing was computed that could be of another run
        check_same(add_fingerprint(state["identity"], run, table, slices), identity, run.path)
    with _noted_failure(run):
        if finished or run.is_trained():
            mend_trained(config, run, partial(_write_split, config, table, slices))
        if finished:
            _refresh(config, run)
        else:
            attempts = state.get("attempts", 0) + 1
            run.update_state(status="running", reason=None, attempts=attempts, identity=identity)
            _attempt(config, run, table, slices, watch)


@contextmanager
def _noted_failure(run: Run) -> Iterator[None]:
    """Keep in the state why a run stopped."""
    try:
        yield
    except BaseException as error:
        reason = in_words(error)
        if is_stopping() or isinstance(error, KeyboardInterrupt | SystemExit):
            reason = INTERRUPTED
        run.update_state(status="failed", reason=reason)
        raise


def _attempt(
    config: Mapping[str, Any], run: Run, table: pd.DataFrame, slices: Slices, watch: Watch
) -> None:
    """Train, or go on training, and do all that follows."""
    parts = None
    if not run.is_trained():
        # Both say on what the run is trained: they are written together, and stay after training.
        write_config(config, run)
        write_json(run.environment, describe())
        with spent("data"):
            parts = _write_split(config, table, slices, run)
    with tracked(run, config) as opened:
        if parts is not None:
            start = partial(run.update_state, stage=Stage.train)
            with spent("fitting"):
                fit(config, run, slices, parts, start, partial(_tell_epoch, config, opened, watch))
            # Lightning's trainer goes now: a Ctrl-C while its finalizer runs would be swallowed.
            gc.collect()
            run.update_state(stage=Stage.deploy, files=run.hash_trained())
        for state in (run.previous, run.last):
            state.unlink(missing_ok=True)
        _deploy(config, run)
        with spent("W&B"):
            log_results(opened, run)
    run.update_state(stage=Stage.done, status="finished", reason=None)


def _tell_epoch(config: Mapping[str, Any], opened: Any, watch: Watch, row: dict[str, Any]) -> None:
    """Mirror a row of the history; log it where no bar shows it; hand it on."""
    log_epoch(opened, row)
    if not has_bars():
        logger.info(
            "epoch %d/%d  val_mean_iou %.3f  %.0f images/s",
            *(row["epoch"] + 1, config["trainer"]["max_epochs"]),
            *(row["val_mean_iou"], row["images_per_second"]),
        )
    watch(row)


def _write_split(
    config: Mapping[str, Any], table: pd.DataFrame, slices: Slices, run: Run
) -> pd.Series:
    """Split the cases; write `split.csv`, and what later stages need of the data."""
    leaks: list[dict[str, Any]] = []
    try:
        parts = divide(table, slices, config["split"], config["data"]["duplicates"], leaks.extend)
    finally:
        write_csv(run.leaks, leaks, LEAK_COLUMNS)
    facts = describe_data(table, slices, parts, leaks)
    write_json(run.data, facts)
    _describe_split(table, facts, random=config["split"]["name"] == "random")
    table = table.assign(patient=table["patient"].fillna(""))
    write_split(run.split, table, parts)
    for part, file in (("val", run.val), ("test", run.test)):
        write_part(file, table, slices, np.flatnonzero(parts == part))
    return parts


def _describe_split(table: pd.DataFrame, facts: Mapping[str, Any], *, random: bool) -> None:
    """Log what the parts hold, and what makes the numbers look better than they are."""
    counted = {part: sum(classes.values()) for part, classes in facts["images"].items()}
    logger.info("Slices: %s.", ", ".join(f"{part} {n}" for part, n in sorted(counted.items())))
    if random and facts["leaking_patients"]:
        logger.warning(
            "%d of %d test slices show patients who are also in training or validation. The test "
            "scores will flatter the network; split=patient does not do this.",
            *(facts["leaking_patients"], counted["test"]),
        )
    elif table.loc[table["class"] != NEGATIVE, "patient"].isna().any():
        logger.warning(
            "Patients are unknown, so nobody can tell how many of %d test slices show one who is "
            "also in training or validation. The test scores may flatter the network.",
            counted["test"],
        )
    if facts["images"]["test"].keys() == {NEGATIVE}:
        logger.warning("The test split shows no tumour: only its false positives mean something.")
    if (facts["shortcut_auc"] or 0) > TELLING_AUC:
        logger.warning(
            "Border and histogram alone tell the slices without tumour from the others (area under "
            "the curve %.3f): the network may learn their source instead. See docs/data.md.",
            facts["shortcut_auc"],
        )


def _refresh(config: Mapping[str, Any], run: Run) -> None:
    """Redo the later stages of a finished run that are out of date, or newly asked for."""
    if not _deploy(config, run):
        logger.info("Finished already: nothing to do.")
        return
    with tracked(run, config, job="deploy") as opened:
        log_results(opened, run)


def _deploy(config: Mapping[str, Any], run: Run) -> list[str]:
    return prepare_modes(run, config["deploy"]["modes"], config["deploy"].get("options"))
