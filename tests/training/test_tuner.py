"""Optuna as sweeper: what it chooses from, what it is told, and how an interrupted search goes on.

The launcher is replaced: a job's score follows from its learning rate.
"""

import logging
import math
from pathlib import Path

import optuna
import pytest
from omegaconf import OmegaConf

from brainseg.errors import InputError
from brainseg.files import write_csv
from brainseg.lock import locked
from brainseg.run import Run
from brainseg.training import tuner
from brainseg.training.job import Pruned
from brainseg.training.pruning import open_study, watch
from brainseg.training.sweep import Outcome
from brainseg.training.tuner import Tuner, parse_space

SPACE = ["optim.lr=tag(log,interval(1e-4,1e-1))", "loss=bce,bce_dice", "seed=3"]


def score(rate: float) -> float:
    """Best at a rate of 1e-2, as validation would say."""
    return 1 - abs(math.log10(rate) + 2) / 4


class Launcher:
    """Leaves the outcomes that jobs would leave; `broken` ones fail, an `interrupted` one stops."""

    def __init__(self, folder: Path, broken: tuple[int, ...] = (), interrupted: int | None = None):
        self.folder, self.broken, self.interrupted = folder, broken, interrupted
        self.launched: list[dict[str, str]] = []

    def launch(self, jobs, initial_job_idx):
        self.outcomes = []
        for overrides in jobs:
            values = dict(override.split("=", 1) for override in overrides)
            self.launched.append(values)
            number = int(values["hydra.sweeper.trial"])
            if number == self.interrupted:
                raise KeyboardInterrupt
            run = Run(self.folder / f"trial{number}")
            found = score(float(values["optim.lr"]))
            rows = [{"val_mean_iou": found - 0.1}, {"val_mean_iou": found}]
            write_csv(run.history, rows, ["val_mean_iou"])
            failure = "broken" if number in self.broken else None
            self.outcomes.append(Outcome(failure=failure, path=str(run.path)))


def search(folder: Path, monkeypatch, arguments=SPACE, launcher=None, **settings) -> Launcher:
    launcher = launcher or Launcher(folder)
    sweeper = Tuner(**({"n_trials": 12, "startup_trials": 4} | settings))
    launching = {"hydra": {"launcher": {}}, "output_dir": str(folder), "experiment_name": "tune"}
    sweeper.config, sweeper.launcher = OmegaConf.create(launching), launcher
    monkeypatch.setattr(tuner, "gather", lambda: launcher.outcomes)
    sweeper.sweep(list(arguments))
    return launcher


def trials(folder: Path) -> list[optuna.trial.FrozenTrial]:
    return open_study(folder / "tune", 4).get_trials()


def test_what_stays_and_what_is_chosen_from():
    fixed, space = parse_space(
        [
            "optim.lr=1e-3",
            *SPACE,
            "trainer.max_epochs=int(interval(2,5))",
            "+model.width=range(1,4)",
        ]
    )
    assert fixed == ["seed=3"]
    assert space == {
        "optim.lr": optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True),
        "loss": optuna.distributions.CategoricalDistribution(["bce", "bce_dice"]),
        "trainer.max_epochs": optuna.distributions.IntDistribution(2, 5),
        "+model.width": optuna.distributions.CategoricalDistribution(["1", "2", "3"]),
    }


def test_the_search_finds_what_is_best_on_validation(tmp_path, monkeypatch, caplog):
    with caplog.at_level(logging.INFO, "brainseg"):
        launcher = search(tmp_path, monkeypatch, n_trials=25)
    assert len(launcher.launched) == 25
    assert all(values["seed"] == "3" for values in launcher.launched)
    found = max(score(float(values["optim.lr"])) for values in launcher.launched)
    assert found > 0.9
    assert f"Best of 25 trials in {tmp_path / 'tune'} (0 stopped early)" in caplog.text
    assert f"val_mean_iou {found:.4f} with optim.lr=" in caplog.text


def test_an_interrupted_search_goes_on_with_the_interrupted_trial(tmp_path, monkeypatch):
    launcher = Launcher(tmp_path, interrupted=5)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, monkeypatch, launcher=launcher)
    again = search(tmp_path, monkeypatch)
    assert again.launched[0] == launcher.launched[-1]  # the same values, so the same run
    undisturbed = search(tmp_path / "undisturbed", monkeypatch)
    assert launcher.launched[:5] + again.launched == undisturbed.launched
    assert {trial.state for trial in trials(tmp_path)} == {optuna.trial.TrialState.COMPLETE}
    assert not search(tmp_path, monkeypatch).launched  # there is nothing left
    assert len(search(tmp_path, monkeypatch, n_trials=13).launched) == 1


def test_a_failed_trial_is_replaced_by_the_next_command(tmp_path, monkeypatch):
    launcher = search(tmp_path, monkeypatch, launcher=Launcher(tmp_path, broken=(1, 2)))
    assert len(launcher.launched) == 12
    assert len(search(tmp_path, monkeypatch).launched) == 2


def test_trials_are_chosen_together(tmp_path, monkeypatch):
    numbers = []
    launch = Launcher.launch

    def counted(self, jobs, initial_job_idx):
        numbers.append((len(jobs), initial_job_idx))
        launch(self, jobs, initial_job_idx)

    monkeypatch.setattr(Launcher, "launch", counted)
    search(tmp_path, monkeypatch, at_once=5)
    assert numbers == [(5, 0), (5, 5), (2, 10)]


def test_equal_choices_are_one_job(tmp_path, monkeypatch):
    launcher = search(tmp_path, monkeypatch, ["optim.lr=1e-2,1e-3"], n_trials=8, at_once=4)
    chosen = [values["optim.lr"] for values in launcher.launched]
    assert len(chosen) <= 4  # at most both, in each of two rounds
    assert [trial.value for trial in trials(tmp_path)] == [
        score(float(trial.params["optim.lr"])) for trial in trials(tmp_path)
    ]


def test_another_search_or_another_process_in_the_folder_is_refused(tmp_path, monkeypatch):
    search(tmp_path, monkeypatch)
    search(tmp_path, monkeypatch, [*SPACE, "tracking=none", "data.root=moved"])  # the same
    for other in ("trainer.max_epochs=9", "experiment=paper", "+model.args.width=2"):
        with pytest.raises(InputError, match="a search with other settings"):
            search(tmp_path, monkeypatch, [*SPACE, other])
    with (
        locked(tmp_path / "tune"),
        pytest.raises(InputError, match="worked on by"),
    ):
        search(tmp_path, monkeypatch)


def row(epoch: int, score: float) -> dict[str, float]:
    return {"epoch": epoch, "val_mean_iou": score}


def test_a_trial_below_the_median_ends_early(tmp_path):
    study = open_study(tmp_path, 2)
    for scores in ([0.5, 0.7], [0.6, 0.8]):
        number = study.ask().number
        tell = watch(Run(tmp_path / "run"), number, 2)
        for epoch, value in enumerate(scores):
            tell(row(epoch, value))
        study.tell(number, max(scores))
    number = study.ask().number
    tell = watch(Run(tmp_path / "run"), number, 2)
    tell(row(0, 0.56))
    resumed = watch(Run(tmp_path / "run"), number, 2)
    resumed(row(0, 0.1))  # of an epoch that is known
    with pytest.raises(Pruned, match=r"val_mean_iou 0.6000 after epoch 2 is below the median"):
        resumed(row(1, 0.6))
    assert study.get_trials()[number].intermediate_values == {0: 0.56, 1: 0.6}
