"""An experiment's dashboard on a W&B server, or, without one, what waits in the runs' folders."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import fmean
from typing import Any

import wandb
from rich.console import Console

from brainseg.errors import InputError
from brainseg.experiment import find_experiment, find_runs
from brainseg.files import read_csv, read_json, write_json
from brainseg.run import Run
from brainseg.tracking.mirror import media_of, summary_of
from brainseg.tracking.offline import describe_offline, is_sent, latest_offline, sync_command

SERVER_TIMEOUT_S = 10
KEPT = "dashboard.json"
"""In the experiment's `report/`: the addresses of its dashboard."""

CONTENT = {"workspace": ("sections", "settings", "runset_settings"), "report": ("blocks",)}
"""What is renewed of a workspace or report that is there already."""


def dashboard(experiment: Path) -> None:
    """Make the dashboard of an experiment and print where it is.

    Where that fails, print what the latest offline folder of each run holds, and how to send it.

    Raises:
        InputError: as `make_dashboard`.
    """
    runs = find_runs(experiment)
    try:
        lines = make_dashboard(experiment)
    except InputError:
        _show(describe_offline(runs))
        raise
    _show(lines)


def make_dashboard(experiment: Path) -> list[str]:
    """Save a workspace and a report of an experiment's runs on the server that has them.

    Another call renews both at their addresses, which `report/dashboard.json` keeps.

    Args:
        experiment: folder of runs of one W&B project and group.

    Returns:
        Lines for people: the addresses, and what has not been sent.

    Raises:
        InputError: `wandb-workspaces` is not installed, the runs were not tracked, no server can
            be reached, or it does not have the runs.
    """
    runs = find_tracked(experiment)
    panels, where = _panels(), _where(runs)
    with _told(runs):
        api = _connect()
        entity, project, group = where
        entity = entity or api.settings["entity"] or api.default_entity
        target = panels.Target(entity, project, group)
        _check_sent(api, target, runs)
        keys = logged_keys(runs)
        made = {
            "workspace": panels.workspace(target, keys),
            "report": panels.report(target, keys, headline(runs)),
        }
        return _save(experiment, made) + _unsent(runs)


def find_tracked(experiment: Path) -> list[Run]:
    """The runs of an experiment that W&B knows.

    Raises:
        InputError: the folder is missing, holds no run, is a run itself, or none was tracked.
    """
    runs = find_experiment(experiment)
    tracked = [run for run in runs if run.config.exists() and run.wandb.exists()]
    if not tracked:
        raise InputError(
            f"No run in {experiment} was tracked: expected a folder wandb/ in one of its "
            f"{len(runs)}. Train with tracking=wandb (the default); tracking=none leaves nothing."
        )
    return tracked


def logged_keys(runs: Sequence[Run]) -> list[str]:
    """The names under which W&B has the curves, numbers, tables and images of `runs`."""
    names: dict[str, None] = {}
    for run in runs:
        history = read_csv(run.history) if run.history.exists() else []
        names |= dict.fromkeys(name for row in history[:1] for name in row)
        numbers = (name for name, value in summary_of(run).items() if value is not None)
        names |= dict.fromkeys([*numbers, *media_of(run)])
    return list(names)


def headline(runs: Sequence[Run]) -> list[str]:
    """What the runs are, and what they came to: paragraphs."""
    scores: dict[str, list[float]] = defaultdict(list)
    data, splits = set(), set()
    for run in runs:
        config, score = run.read_config(), summary_of(run).get("test/mean_iou")
        data.add(config["data"]["name"])
        splits.add(config["split"]["name"])
        scores[config["model"]["attention"]] += [] if score is None else [score]
    text = [f"{len(runs)} runs. Data: {_list(data)}. Split: {_list(splits)}."]
    if means := [f"{name} {fmean(of):.4f} ({len(of)})" for name, of in scores.items() if of]:
        text.append(
            f"Mean IoU on the test split, mean of the runs (how many): {', '.join(means)}. "
            "`brainseg report` tells which of these differences the patients support."
        )
    if "phantom" in data:
        text.append("Synthetic data (phantoms): the numbers say nothing about patients.")
    return text


def _show(lines: Sequence[str]) -> None:
    console = Console()
    for line in lines:
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def _list(names: set[str]) -> str:
    return ", ".join(sorted(names))


def _panels() -> Any:
    """The module that describes dashboards; it needs an extra, and time to import."""
    try:
        from brainseg.tracking import panels
    except ImportError as error:
        raise InputError(
            f"A dashboard needs wandb-workspaces, which is not installed ({error}). Install it: "
            "pip install 'brainseg[dashboard]'"
        ) from error
    return panels


def _where(runs: Sequence[Run]) -> tuple[str | None, str, str]:
    """Entity (`None`: the user's own), project and group of the runs."""
    configs = [run.read_config() for run in runs]
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


def _connect() -> Any:
    os.environ.setdefault("WANDB_SILENT", "true")  # neither lines nor a question of its own
    return wandb.Api(timeout=SERVER_TIMEOUT_S)


@contextmanager
def _told(runs: Sequence[Run]) -> Iterator[None]:
    """Turn what goes wrong with the server into one message."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # W&B's own, the transport's, bare ones of wandb-workspaces
        raise InputError(
            "The dashboard was not made: expected a W&B server that knows you and takes it, found: "
            f"{str(error).rstrip('.')}. Log in with `wandb login` (WANDB_BASE_URL=… for a server "
            f"of your own), send the runs ({sync_command(runs)}), and repeat this command."
        ) from error


def _check_sent(api: Any, target: Any, runs: Sequence[Run]) -> None:
    place = f"{target.entity}/{target.project}"
    if not len(api.runs(place, filters={"group": target.group}, per_page=1)):
        raise InputError(
            f"The dashboard was not made: expected {len(runs)} runs of the group {target.group} "
            f"in {place}, found none. Send them: {sync_command(runs)}"
        )


def _unsent(runs: Sequence[Run]) -> list[str]:
    waiting = [folder for run in runs if (folder := latest_offline(run)) and not is_sent(folder)]
    if not waiting:
        return []
    return [f"Runs with something that was not sent yet: {len(waiting)}. {sync_command(runs)}"]


def _save(experiment: Path, made: dict[str, Any]) -> list[str]:
    path = experiment / "report" / KEPT
    kept = read_json(path) if path.exists() else {}
    saved = {name: _renewed(it, kept.get(name), CONTENT[name]) for name, it in made.items()}
    urls = {name: it.save().url for name, it in saved.items()}
    write_json(path, urls)
    return [f"{name.capitalize()}: {url}" for name, url in urls.items()]


def _renewed(made: Any, url: str | None, content: Sequence[str]) -> Any:
    """What is at `url` with the content of `made`; `made` itself where there is nothing."""
    if url is None:
        return made
    with suppress(Exception):  # deleted by hand, or on another server: then there is a new one
        kept = type(made).from_url(url)
        for name in content:
            setattr(kept, name, getattr(made, name))
        return kept
    return made
