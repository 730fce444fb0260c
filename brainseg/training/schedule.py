"""How the learning rate changes: torch's schedules, with the settings of the group `schedule`."""

import inspect
import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from brainseg.errors import InputError, brief, check_known

SCHEDULES: dict[str, type[OneCycleLR] | type[ReduceLROnPlateau]] = {
    "one_cycle": OneCycleLR,
    "plateau": ReduceLROnPlateau,
}
"""Name → torch's class, whose arguments are the settings."""

OURS = frozenset(
    {
        *("self", "optimizer", "max_lr", "total_steps", "epochs", "steps_per_epoch", "last_epoch"),
        *("mode", "threshold_mode", "verbose"),
    }
)
"""Arguments of theirs that are no settings."""

TRIED = 20
"""Steps of a trial."""


def make_schedule(
    optimizer: Optimizer, settings: Mapping[str, Any], lr: float, steps: int
) -> OneCycleLR | ReduceLROnPlateau:
    """The schedule of a fit.

    Args:
        optimizer: whose rate it changes.
        settings: the configuration's `schedule`.
        lr: the highest rate.
        steps: of the whole training.
    """
    options = {key: value for key, value in settings.items() if key != "name"}
    if settings["name"] == "plateau":
        # As Keras counts: it lowers the rate in epoch `patience` without a gain of 1e-4, torch
        # in the one after, and torch's threshold is relative by default.
        patience = max(options.pop("patience") - 1, 0)
        return ReduceLROnPlateau(
            optimizer, mode="max", patience=patience, threshold_mode="abs", **options
        )
    return OneCycleLR(optimizer, max_lr=lr, total_steps=steps + 1, **options)


def check_schedule(settings: Mapping[str, Any], lr: float) -> None:
    """Try a schedule for some steps.

    Raises:
        InputError: torch does not take a setting, or the rate does not stay a number of 0 or more.
    """
    check_known("schedule", [settings["name"]], SCHEDULES)
    taken = inspect.signature(SCHEDULES[settings["name"]]).parameters.keys() - OURS
    check_known("setting of schedule", settings.keys() - {"name"}, sorted(taken))
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=lr)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no step of the optimiser comes before the schedule's
            schedule = make_schedule(optimizer, settings, lr, TRIED)
            for _ in range(TRIED):
                schedule.step(0.0) if isinstance(schedule, ReduceLROnPlateau) else schedule.step()
                if not 0 <= (rate := float(optimizer.param_groups[0]["lr"])) < math.inf:
                    raise ValueError(f"the rate becomes {rate}")
    except Exception as error:  # torch raises whatever it meets in a value of another type
        typed = " ".join(f"schedule.{key}={settings[key]}" for key in settings if key != "name")
        raise InputError(
            f"schedule={settings['name']} does not take {typed} ({brief(error)}). Expected what "
            f"torch's {SCHEDULES[settings['name']].__name__} takes."
        ) from error
