"""`hydra/sweeper=optuna`: a sweep whose jobs Optuna chooses, by their score on validation.

Its trials are runs like all others. What they found is in `tuning.journal`, in the experiment's
folder: the same command goes on from there.
"""

import json
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.trial import FrozenTrial, TrialState

from brainseg.data.dataset import derive_seed
from brainseg.errors import InputError
from brainseg.lock import locked
from brainseg.training.identity import IDENTITY
from brainseg.training.pruning import best_score, open_study
from brainseg.training.sweep import Outcome, gather

DONE = (TrialState.COMPLETE, TrialState.PRUNED)

logger = logging.getLogger(__name__)


@dataclass
class TunerSettings:
    """The group `hydra/sweeper` with `optuna`.

    Attributes:
        n_trials: how many there shall be in the end, those of earlier commands included.
        at_once: how many are chosen together; as many as the launcher runs, where it says that.
        startup_trials: the first ones are drawn at random, and none of them is stopped early.
        seed: of what is drawn.
        params: settings and the values to choose from, as on the command line.
        trial: tells a job which one it is.
    """

    _target_: str = ""
    n_trials: int = 20
    at_once: int | None = None
    startup_trials: int = 5
    seed: int = 0
    params: dict[str, Any] = field(default_factory=dict)
    trial: int | None = None


class Tuner(Sweeper):
    """Asks Optuna for trials, has the launcher run them, and tells Optuna what came out."""

    def __init__(self, **settings: Any) -> None:
        self.settings = TunerSettings(**settings)

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        """Keep what Hydra has composed."""
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run trials until there are `n_trials`, beginning with those that were interrupted.

        Raises:
            InputError: the folder holds the trials of another search, or another process is working
                on it.
        """
        assert self.config is not None
        params = [f"{key}={value}" for key, value in self.settings.params.items()]
        fixed, space = parse_space(params + arguments)
        folder = Path(self.config.output_dir) / self.config.experiment_name
        with locked(folder):
            self._search(folder, fixed, space)

    def _search(self, folder: Path, fixed: list[str], space: dict[str, BaseDistribution]) -> None:
        assert self.config is not None
        assert self.launcher is not None
        study = open_study(folder, self.settings.startup_trials)
        _check_same(study, fixed, space, folder)
        at_once = self.settings.at_once or max(1, self.config.hydra.launcher.get("n_jobs", 1))
        started, failed = 0, 0
        while chosen := self._choose(study, space, at_once, failed):
            alike: dict[tuple[str, ...], list[FrozenTrial]] = defaultdict(list)
            for trial in chosen:  # two may be the same run, which one job makes
                alike[tuple(_as_overrides(trial, space))].append(trial)
            jobs = [
                [*fixed, *values, f"hydra.sweeper.trial={trials[0].number}"]
                for values, trials in alike.items()
            ]
            self.launcher.launch(jobs, initial_job_idx=started)
            outcomes = gather()[-len(jobs) :]
            for trials, outcome in zip(alike.values(), outcomes, strict=True):
                failed += sum(_tell(study, trial, outcome) for trial in trials)
            started += len(jobs)
        _describe(study, folder)

    def _choose(
        self, study: optuna.Study, space: dict[str, BaseDistribution], at_once: int, failed: int
    ) -> list[FrozenTrial]:
        """The next trials; first those that an interruption left without an end."""
        begun = [trial for trial in study.get_trials() if trial.state == TrialState.RUNNING]
        for trial in begun:
            if trial.params.keys() != space.keys():  # its choice was interrupted
                study.tell(trial.number, state=TrialState.FAIL)
        chosen = [trial for trial in begun if trial.params.keys() == space.keys()][:at_once]
        done = len(study.get_trials(deepcopy=False, states=DONE)) + failed
        missing = self.settings.n_trials - done - len(chosen)
        numbers = [self._ask(study, space) for _ in range(min(missing, at_once - len(chosen)))]
        return chosen + [study.get_trials()[number] for number in numbers]

    def _ask(self, study: optuna.Study, space: dict[str, BaseDistribution]) -> int:
        """A new trial, drawn with a seed of its own: after an interruption none is drawn twice."""
        seed = derive_seed(self.settings.seed, len(study.get_trials(deepcopy=False)))
        startup = self.settings.startup_trials
        study.sampler = optuna.samplers.TPESampler(n_startup_trials=startup, seed=seed)
        return study.ask(space).number


def parse_space(overrides: Sequence[str]) -> tuple[list[str], dict[str, BaseDistribution]]:
    """Overrides that stay, and what to choose from for each of the others.

    `a,b`, `choice(…)`, `range(…)`, `int(interval(1,8))` and `tag(log,interval(1e-4,1e-2))`; of
    several for one key the last counts.
    """
    parsed = {
        one.get_key_element(): one
        for one in OverridesParser.create().parse_overrides(list(overrides))
    }
    fixed = [one.input_line for one in parsed.values() if not one.is_sweep_override()]
    space = {key: _distribution(one) for key, one in parsed.items() if one.is_sweep_override()}
    return [line for line in fixed if line], space


def _distribution(override: Override) -> BaseDistribution:
    value: Any = override.value()
    if override.is_interval_sweep():
        kind = IntDistribution if isinstance(value.start, int) else FloatDistribution
        return kind(value.start, value.end, log="log" in value.tags)
    return CategoricalDistribution(list(override.sweep_string_iterator()))


def _as_overrides(trial: FrozenTrial, space: dict[str, BaseDistribution]) -> list[str]:
    """What a trial sets; numbers have three digits, which name its run."""
    values = {key: trial.params[key] for key in space}
    return [
        f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in values.items()
    ]


def _check_same(
    study: optuna.Study, fixed: list[str], space: dict[str, BaseDistribution], folder: Path
) -> None:
    """Refuse to mix the trials of two searches, which cannot be compared."""
    described = {key: distribution_to_json(value) for key, value in space.items()}
    search = json.dumps([sorted(filter(_makes_a_run, fixed)), described], sort_keys=True)
    if study.user_attrs.setdefault("search", search) != search:
        raise InputError(
            f"{folder} holds the trials of a search with other settings. Repeat that command, or "
            "choose another experiment_name."
        )
    study.set_user_attr("search", search)


def _makes_a_run(override: str) -> bool:
    """Whether runs with and without an override are different ones."""
    part, _, key = override.lstrip("+~").partition("=")[0].partition(".")
    return part == "experiment" or (part in IDENTITY and key not in IDENTITY[part])


def _tell(study: optuna.Study, trial: FrozenTrial, outcome: Outcome) -> bool:
    """Tell what came out of a trial, and return whether it failed."""
    if outcome.failure or not outcome.run:
        study.tell(trial.number, state=TrialState.FAIL)
        return True
    if outcome.pruned:
        study.tell(trial.number, state=TrialState.PRUNED)
    else:
        study.tell(trial.number, best_score(outcome.run))
    return False


def _describe(study: optuna.Study, folder: Path) -> None:
    trials = study.get_trials(deepcopy=False, states=DONE)
    if not any(trial.state == TrialState.COMPLETE for trial in trials):
        return
    best = study.best_trial
    pruned = sum(trial.state == TrialState.PRUNED for trial in trials)
    logger.info(
        "\nBest of %d trials in %s (%d stopped early), on validation: val_mean_iou %.4f with %s",
        *(len(trials), folder, pruned, study.best_value),
        " ".join(_as_overrides(best, best.distributions)),
    )
