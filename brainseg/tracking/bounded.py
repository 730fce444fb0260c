"""What W&B is asked to do, for as long as a run can wait: it may hang, or fail."""

import logging
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from brainseg.errors import brief

Result = TypeVar("Result")

PATIENCE_S = 120
"""The longest that one request to W&B is waited for; W&B itself gives up a start after 90 s."""

logger = logging.getLogger(__name__)

_lost: list[Any] = []


def ask(opened: Any, what: str, work: Callable[[], Result]) -> Result | None:
    """Let W&B do something; where it fails or takes too long, warn once and go on without.

    Args:
        opened: the W&B run, or what stands for it before there is one. After it was lost, nothing
            is asked any more.
        what: is done, for people, such as `sending the results`.
        work: does it, in a thread of its own, which is left behind if it hangs.

    Returns:
        What `work` returns, `None` where it was lost.
    """
    if any(opened is each for each in _lost):
        return None
    done: list[Result] = []
    failed: list[Exception] = []

    def attempt() -> None:
        try:
            done.append(work())
        except Exception as error:  # W&B raises whatever it meets; the run is the same without
            failed.append(error)

    thread = threading.Thread(target=attempt, name=f"W&B: {what}", daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    if done:
        return done[0]
    _lost.append(opened)
    why = brief(failed[0]) if failed else f"no answer within {PATIENCE_S} s"
    logger.warning(
        "W&B: %s failed (%s). The run goes on without; its files hold everything. Send it "
        "later with tracking.mode=offline, or turn tracking off: tracking=none.",
        *(what, why),
    )
    return None
