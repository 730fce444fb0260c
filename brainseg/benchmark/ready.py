"""Which runs can be timed: one with a damaged file does not keep the others from it."""

import logging
from collections.abc import Sequence

from brainseg.errors import InputError
from brainseg.rows import set_aside
from brainseg.run import Run
from brainseg.vocabulary import MODES

logger = logging.getLogger(__name__)


def choose_ready(runs: Sequence[Run]) -> tuple[list[Run], dict[Run, str]]:
    """The runs whose files a timing can rely on, and what is wrong with the others.

    Damaged rows and sessions, which a timing makes again, are put aside, and that is told.
    """
    ready, failed = [], {}
    for run in runs:
        damage = run.find_damage()
        needed = (run.state, run.config, run.val, run.test, run.scored, *map(run.made, MODES))
        if told := [damage[file] for file in needed if file in damage]:
            failed[run] = " ".join(told)
            continue
        for file in damage.keys() & {run.deploy, run.benchmarks}:
            aside = set_aside(file).name
            logger.warning(
                "%s It is put aside as %s, and what is timed now is written anew.",
                *(damage[file], aside),
            )
        ready.append(run)
    return ready, failed


def require_ready(runs: Sequence[Run]) -> list[Run]:
    """Those runs that can be timed; the others are named.

    Raises:
        InputError: there is none.
    """
    ready, failed = choose_ready(runs)
    for why in failed.values():
        logger.warning("Not timed: %s", why)
    if failed and not ready:
        raise InputError("None of these runs can be timed.")
    return ready
