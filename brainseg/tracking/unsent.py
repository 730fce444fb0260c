"""Offline folders of W&B that wait in the runs, and the command that sends them."""

from collections.abc import Sequence
from shlex import quote

from brainseg.run import Run


def is_unsent(run: Run) -> bool:
    """Whether the newest offline folder of a run, which holds all of it, waits for `wandb sync`."""
    folders = [path.parent for path in run.wandb.glob("offline-run-*/run-*.wandb")]
    newest = max(folders, default=None)  # the names begin with the time
    return newest is not None and not any(newest.glob("run-*.wandb.synced"))


def describe_unsent(runs: Sequence[Run]) -> str | None:
    """The names of the runs that wait and how to send them; `None` where none does."""
    waiting = [run for run in runs if is_unsent(run)]
    if not waiting:
        return None
    names = ", ".join(run.name for run in waiting)
    return (
        f"Not sent to W&B yet: {len(waiting)} of {len(runs)} runs ({names}). "
        f"Send them: {sync_command(waiting)}"
    )


def sync_command(runs: Sequence[Run]) -> str:
    """What sends the newest offline folder of each run in the experiments of `runs`."""
    experiments = dict.fromkeys(quote(str(run.experiment)) for run in runs)
    return " ".join(["wandb sync", *(f"{path}/*/wandb/latest-run" for path in experiments)])
