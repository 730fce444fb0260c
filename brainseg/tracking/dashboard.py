"""An experiment's dashboard on a W&B server."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import fmean
from typing import Any

import wandb

from brainseg.errors import InputError
from brainseg.experiment import find_experiment, variant_of
from brainseg.files import read_json, write_json
from brainseg.run import Run
from brainseg.tracking.mirror import media_of, summary_of
from brainseg.tracking.unsent import describe_unsent
from brainseg.tracking.wandb_run import VARIANT

SERVER_TIMEOUT_S = 10
KEPT = "dashboard.json"
"""In the experiment's `report/`: the addresses of its dashboard."""

CONTENT = {"workspace": ("sections", "settings", "runset_settings"), "report": ("blocks",)}
"""What is renewed in a workspace or report that exists."""


def dashboard(experiment: Path) -> None:
    """Make the dashboard of an experiment, see `make_dashboard`, and print where it is."""
    for line in make_dashboard(experiment):
        print(line)


def make_dashboard(experiment: Path) -> list[str]:
    """Save a workspace and a report of an experiment's runs on the server that has them.

    Calling it again renews both; `report/dashboard.json` keeps their addresses.

    Args:
        experiment: folder of runs of one W&B project and group.

    Returns:
        Lines for people: the addresses, and which runs have not been sent.

    Raises:
        InputError: `wandb-workspaces` is not installed, the runs were not tracked, no server can
            be reached, or it does not have the runs. Where runs wait to be sent, it says how.
    """
    runs = _find_tracked(experiment)
    try:
        from brainseg.tracking import panels  # takes time to import
    except ImportError as error:
        raise InputError(
            f"A dashboard requires wandb-workspaces, which is not installed ({error}). Install it: "
            "pip install wandb-workspaces"
        ) from error
    configs = [run.read_config() for run in runs]
    entity, project, group = _find_place(configs)
    attention = all(config["model"].get("attention") for config in configs)
    with _explained(runs):
        os.environ.setdefault("WANDB_SILENT", "true")  # neither lines nor a question of its own
        api = wandb.Api(timeout=SERVER_TIMEOUT_S)
        entity = entity or api.settings["entity"] or api.default_entity
        if not len(api.runs(f"{entity}/{project}", filters={"group": group}, per_page=1)):
            raise InputError(
                f"No dashboard: {entity}/{project} has no runs of the group {group}. "
                f"{describe_unsent(runs) or 'All runs have been sent, but to another server.'}"
            )
        variant = "model.attention" if attention else VARIANT
        target = panels.Target(str(entity), project, group, variant)
        keys = logged_keys(runs)
        made = {
            "workspace": panels.workspace(target, keys),
            "report": panels.report(target, keys, headline(runs)),
        }
        saved = _save(experiment, made)
    return [*saved, *filter(None, [describe_unsent(runs)])]


def _find_tracked(experiment: Path) -> list[Run]:
    """The runs of an experiment that W&B knows."""
    runs = find_experiment(experiment)
    tracked = [run for run in runs if run.config.exists() and run.wandb.exists()]
    if not tracked:
        raise InputError(
            f"No run in {experiment} was tracked: none of {len(runs)} has a folder wandb/. Train "
            "with tracking=wandb (the default)."
        )
    return tracked


def logged_keys(runs: Sequence[Run]) -> list[str]:
    """The names under which W&B has the curves, numbers, tables and images of `runs`."""
    names: dict[str, None] = {}
    for run in runs:
        history = run.read(run.history) if run.history.exists() else []
        numbers = [name for name, value in summary_of(run).items() if value is not None]
        names |= dict.fromkeys([*(history[0] if history else []), *numbers, *media_of(run)])
    return list(names)


def headline(runs: Sequence[Run]) -> list[str]:
    """What the runs are and how they score: paragraphs."""
    configs = [run.read_config() for run in runs]
    data, splits = (sorted({of[group]["name"] for of in configs}) for group in ("data", "split"))
    text = [f"{len(runs)} runs. Data: {', '.join(data)}. Split: {', '.join(splits)}."]
    scores: dict[str, list[float]] = defaultdict(list)
    for run, config in zip(runs, configs, strict=True):
        if (score := summary_of(run).get("test/mean_iou")) is not None:
            scores[variant_of(config)].append(score)
    if scores:
        means = ", ".join(f"{name} {fmean(of):.4f} ({len(of)})" for name, of in scores.items())
        text.append(
            f"Mean IoU on the test split, averaged over runs (number of runs): {means}. "
            "`brainseg report` shows which of these differences are significant."
        )
    if "phantom" in data:
        text.append("Synthetic data (phantoms): the numbers say nothing about patients.")
    return text


def _find_place(configs: Sequence[dict[str, Any]]) -> tuple[Any, str, str]:
    """Entity (`None`: the user's own), project and group of the runs."""
    found = {
        (of["tracking"]["entity"], of["tracking"]["project"], of["experiment_name"])
        for of in configs
    }
    if len(found) > 1:
        names = ", ".join("/".join(filter(None, one)) for one in sorted(found, key=str))
        raise InputError(
            f"Expected runs of one W&B project and experiment, found {names}. Give the folder of "
            "one experiment."
        )
    return found.pop()


@contextmanager
def _explained(runs: Sequence[Run]) -> Iterator[None]:
    """Turn whatever goes wrong with the server into one message."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # W&B's own, the transport's, bare ones of wandb-workspaces
        raise InputError(
            f"No dashboard: no W&B server accepted it ({str(error).rstrip('.')}). Log in with "
            "`wandb login` (WANDB_BASE_URL=… for your own server) and repeat this command. "
            f"{describe_unsent(runs) or 'All runs have been sent.'}"
        ) from error


def _save(experiment: Path, made: dict[str, Any]) -> list[str]:
    """Save what was made, in place of what was saved before."""
    path = experiment / "report" / KEPT
    urls = read_json(path) if path.exists() else {}
    for name, new in made.items():
        saved = new
        with suppress(Exception):  # none yet, deleted by hand, or on another server: a new one
            kept = type(new).from_url(urls[name])
            for part in CONTENT[name]:
                setattr(kept, part, getattr(new, part))
            saved = kept
        urls[name] = saved.save().url
    write_json(path, urls)
    return [f"{name.capitalize()}: {url}" for name, url in urls.items()]
