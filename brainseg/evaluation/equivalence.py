"""Whether a change is shown to be small, rather than only not shown to be there.

That no difference is found proves little: with few patients none ever is. Two one-sided tests
(TOST) ask the other way round, whether other patients may show a change below -margin or above
+margin (Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987, p. 657). At 5 %
each, both exclude it exactly where the 90 % interval of the change lies within ±margin. The lower
test alone asks whether more than the margin is lost: non-inferiority (Piaggio et al., JAMA 308,
2012, p. 2594).
"""

from collections.abc import Sequence
from enum import StrEnum

TOST_LEVEL = 0.90
"""Coverage of the interval with which two one-sided tests at 5 % are made."""

MARGIN = 0.0004
"""Change of mean IoU that does not matter, unless the user says otherwise: what the paper's best
variant lost."""

DIGITS = 9
"""To which ends are rounded: a change of exactly the margin is within it, whatever floats make."""


class Verdict(StrEnum):
    """What two one-sided tests tell of a change, as a reader is told it."""

    equivalent = "equivalent"
    not_worse = "not worse"
    worse = "worse"
    not_shown = "not shown"


def equivalent_within(interval: Sequence[float]) -> float:
    """The smallest margin at which both one-sided tests pass, from the ends of the interval."""
    return max(abs(end) for end in interval)


def is_not_worse(interval: Sequence[float], margin: float) -> bool:
    """Whether a loss of more than `margin` is excluded (non-inferiority); a gain is no matter."""
    return round(interval[0], DIGITS) >= -margin


def judge(interval: Sequence[float] | None, margin: float) -> Verdict | None:
    """What the tests tell of a change.

    Args:
        interval: lower and upper end at `TOST_LEVEL`, of a number of which more is better.
        margin: the largest change that does not matter, not negative.

    Returns:
        `equivalent` where both tests pass, `not_worse` where only a loss is excluded, `worse` where
        a loss of less than the margin is excluded, otherwise `not_shown`. `None` without interval.
    """
    if interval is None:
        return None
    if is_not_worse(interval, margin):
        small = round(equivalent_within(interval), DIGITS) <= margin
        return Verdict.equivalent if small else Verdict.not_worse
    return Verdict.worse if interval[1] < -margin else Verdict.not_shown
