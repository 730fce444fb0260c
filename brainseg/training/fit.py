"""One job of a sweep: data, fit, test, export, quantize, time; skipped, resumed or refused."""

import logging
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from brainseg.data.cache import Slices
from brainseg.data.load import load_data
from brainseg.data.split import leaking_slices, split_cases
from brainseg.deploy import stages
from brainseg.deploy.environment import describe
from brainseg.errors import InputError
from brainseg.files import write_csv, write_json, write_npz, write_text
from brainseg.model.summary import summarize
from brainseg.model.unet import build_model
from brainseg.run import Run
from brainseg.training.checkpoint import AtomicCheckpointIO, History, checkpoint_callbacks
from brainseg.training.datamodule import SliceDataModule
from brainseg.training.identity import check_same, identify
from brainseg.training.module import SegmentationModule
from brainseg.training.tracking import announce, log_results, tracked

logger = logging.getLogger(__name__)


def run_job(config: Mapping[str, Any], run: Run) -> None:
    """Do what is left to do of one run.

    A finished run is left alone unless its later stages are out of date; one that was cut off
    goes on where it stopped; `force` starts over.

    Args:
        config: the resolved configuration.
        run: its directory.

    Raises:
        InputError: the data or the configuration cannot be used (the state keeps the reason), or
            the directory holds a run with another identity (it stays as it is).
    """
    if config["force"] and run.state.exists():
        _remove(run)
    state = run.read_state()
    identity = identify(config)
    _announce(config, run)
    if state.get("stage", "data") == "data":  # nothing was computed that could be of another run
        run.update_state(stage="data", status="running", reason=None, identity=identity)
        with _noted_failure(run):
            table, slices = _load(config, identity)
    else:
        noted = nullcontext() if state["status"] == "finished" else _noted_failure(run)
        with noted:
            table, slices = _load(config, identity)
        check_same(state["identity"], identity, run.path)
    with _noted_failure(run):
        if state.get("status") == "finished":
            _refresh(config, run)
        else:
            attempts = state.get("attempts", 0) + 1
            run.update_state(status="running", reason=None, attempts=attempts, identity=identity)
            _attempt(config, run, table, slices)


def _remove(run: Run) -> None:
    """Delete a run; what an interruption leaves has another name, and is no run."""
    doomed = run.path.with_name(f".{run.name}.removed")
    shutil.rmtree(doomed, ignore_errors=True)
    run.path.rename(doomed)
    shutil.rmtree(doomed)


def _load(config: Mapping[str, Any], identity: dict[str, Any]) -> tuple[pd.DataFrame, Slices]:
    """Load the data; their fingerprint becomes part of the identity."""
    table, slices = load_data(config["data"], config["split"]["seed"])
    identity["data.fingerprint"] = slices.fingerprint
    return table, slices


def _announce(config: Mapping[str, Any], run: Run) -> None:
    logger.info("\n── %s", run.path)
    if config["data"]["name"] == "phantom":
        logger.info("Synthetic data (phantoms): the numbers say nothing about patients.")
    announce(run, config["tracking"])


@contextmanager
def _noted_failure(run: Run) -> Iterator[None]:
    """Keep in the state why a run stopped."""
    try:
        yield
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
        reason = "interrupted" if interrupted else f"{type(error).__name__}: {error}"
        run.update_state(status="failed", reason=reason)
        raise


def _attempt(config: Mapping[str, Any], run: Run, table: pd.DataFrame, slices: Slices) -> None:
    """Train, or go on training, and do all that follows."""
    write_text(run.config, yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))
    with tracked(run, config) as opened:
        if not run.is_trained():
            write_json(run.environment, describe())
            _fit(config, run, slices, _write_split(config, run, table, slices), opened)
            run.update_state(stage="deploy")
        run.last.unlink(missing_ok=True)
        _deploy(config, run)
        log_results(opened, run)
    run.update_state(stage="done", status="finished", reason=None)


def _refresh(config: Mapping[str, Any], run: Run) -> None:
    """Redo the later stages of a finished run that are out of date, or newly asked for."""
    if not _deploy(config, run):
        logger.info("Finished already: nothing to do.")
        return
    with tracked(run, config, job="deploy") as opened:
        log_results(opened, run)


def _deploy(config: Mapping[str, Any], run: Run) -> list[str]:
    deploy = config["deploy"]
    return [
        *stages.prepare(run, deploy["modes"]),
        *stages.time_missing(run, deploy["modes"], deploy["devices"], passes=deploy["passes"]),
    ]


def _write_split(
    config: Mapping[str, Any], run: Run, table: pd.DataFrame, slices: Slices
) -> pd.Series:
    """Split the cases; write `split.csv`, and the test slices for all that comes later."""
    parts = split_cases(table, config["split"]["name"], config["split"]["seed"])
    _warn_of_leaks(table, parts)
    table = table.assign(split=parts, patient=table["patient"].fillna(""))
    columns = ["id", "class", "patient", "split"]
    rows = table.rename(columns=str)[columns].to_dict("records")
    write_csv(run.split, [{str(k): v for k, v in row.items()} for row in rows], columns)
    test = np.flatnonzero(parts == "test")
    write_npz(
        run.test,
        ids=table["id"].to_numpy(str)[test],
        classes=table["class"].to_numpy(str)[test],
        patients=table["patient"].to_numpy(str)[test],
        images=slices.images[test],
        masks=slices.masks[test],
    )
    return parts


def _warn_of_leaks(table: pd.DataFrame, parts: pd.Series) -> None:
    flatters = "The test scores will flatter the network; split=patient does not do this."
    leaking, of = leaking_slices(table, parts), int((parts == "test").sum())
    if leaking:
        seen = "%d of %d test slices show patients who are also in training or validation. %s"
        logger.warning(seen, leaking, of, flatters)
    elif table.loc[table["class"] != "notumor", "patient"].isna().any():
        unseen = "Patients are unknown, so nobody can tell how many of %d test slices leak. %s"
        logger.warning(unseen, of, flatters)


def _fit(
    config: Mapping[str, Any], run: Run, slices: Slices, parts: pd.Series, opened: Any
) -> None:
    settings, data = config["trainer"], config["data"]
    torch.manual_seed(config["seed"])
    network = build_model(**config["model"])
    write_json(run.model, summarize(network, data["image_size"]))
    module = SegmentationModule(
        network.to(memory_format=torch.channels_last),
        config["loss"]["name"],
        config["optim"]["lr"],
        config["schedule"],
        config["seed"],
    )
    datamodule = SliceDataModule(slices, parts, data["batch_size"], data["workers"], config["seed"])
    run.update_state(stage="train")
    for part in run.best.parent.glob(".*.ckpt"):  # written when an earlier attempt was killed
        part.unlink()
    trainer = _make_trainer(settings, run, opened)
    resumed = str(run.last) if run.last.exists() else None
    if resumed:
        logger.info("Resuming after a cut-off: %s", run.last)
    with warnings.catch_warnings():
        # Lightning advises more workers, and notes that the checkpoint folder is not empty.
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        trainer.fit(module, datamodule, ckpt_path=resumed)


def _make_trainer(settings: Mapping[str, Any], run: Run, opened: Any) -> pl.Trainer:
    try:
        return pl.Trainer(
            max_epochs=settings["max_epochs"],
            accelerator=settings["accelerator"],
            devices=settings["devices"],
            precision=choose_precision(settings["precision"], settings["accelerator"]),
            callbacks=[
                RichProgressBar(leave=False),
                History(run, on_row=opened.log),
                *checkpoint_callbacks(run, settings["early_stopping"]),
            ],
            plugins=[AtomicCheckpointIO()],
            logger=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
    except (MisconfigurationException, ValueError) as error:
        raise InputError(
            f"Lightning does not accept these trainer.* settings: {error} Expected, for a machine "
            "without GPU: trainer.accelerator=cpu trainer.devices=1 trainer.precision=auto."
        ) from error


def choose_precision(asked: str, accelerator: str) -> Any:
    """Lightning's precision for `trainer.precision`; `auto` is bf16 where the device has it."""
    if asked != "auto":
        return asked
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(False) else "32-true"
    return "bf16-mixed" if torch.cpu._is_avx512_bf16_supported() else "32-true"
