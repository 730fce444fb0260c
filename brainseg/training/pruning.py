"""A trial of `hydra/sweeper=optuna` while it trains: it ends early where others were better."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from brainseg.files import read_csv
from brainseg.run import Run
from brainseg.training.job import Pruned
from brainseg.training.module import MONITORED


def open_study(experiment: Path, startup_trials: int) -> optuna.Study:
    """The trials of an experiment; a new list where there is none.

    Several processes may add to its file, also over NFS.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name="tuning",
        storage=JournalStorage(JournalFileBackend(str(experiment / "tuning.journal"))),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=startup_trials),
        direction="maximize",
        load_if_exists=True,
    )


def best_score(run: Run) -> float:
    """The score on validation that a run is known by: that of its best epoch."""
    return max(float(row[MONITORED]) for row in read_csv(run.history))


def watch(run: Run, number: int, startup_trials: int) -> Callable[[Mapping[str, Any]], None]:
    """What is to be called with each row of a trial's history.

    It raises `Pruned` where the best score so far is below the median that others had.
    """
    study = open_study(run.experiment, startup_trials)
    known = study.get_trials(deepcopy=False)[number]
    trial = optuna.Trial(study, known._trial_id)
    scores = dict(known.intermediate_values)  # those before an interruption

    def tell(row: Mapping[str, Any]) -> None:
        epoch = int(row["epoch"])
        if epoch not in scores:
            scores[epoch] = max([row[MONITORED], *scores.values()])
            trial.report(scores[epoch], epoch)
        if trial.should_prune():
            raise Pruned(
                f"{MONITORED} {scores[epoch]:.4f} after epoch {epoch + 1} is below the median of "
                "the other trials"
            )

    return tell
