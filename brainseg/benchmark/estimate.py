"""How long a benchmark will take at most, said before it begins."""

from collections.abc import Sequence
from dataclasses import dataclass

PROCESS_SECONDS, LOADS = 1.5, 2
"""What a row takes beside its passes, where its memory and placement are to be found out: a process
of its own, and how often the file is opened again."""

CASE_SECONDS = 0.004
"""What scoring takes per image beside the network."""


@dataclass(frozen=True)
class Work:
    """What is still to be done for a row.

    Attributes:
        milliseconds: of a pass.
        passes: the most that count.
        others: passes in other rounds: from files, without copies.
        images: to be scored.
        per_pass: images in a pass that is timed; one is scored at a time.
        load_ms: of opening its file, where its memory and placement are to be found out.
    """

    milliseconds: float
    passes: int
    others: int = 0
    images: int = 0
    per_pass: int = 1
    load_ms: float | None = None


@dataclass(frozen=True)
class Estimate:
    """Seconds that the rest of a benchmark on a device takes at most.

    Attributes:
        timing: rounds of all kinds.
        scoring: images of what is to be scored whole.
        looking: at memory and placement.
    """

    timing: float
    scoring: float
    looking: float

    def __str__(self) -> str:
        total = self.timing + self.scoring + self.looking
        return (
            f"at most about {spell(total)} from here (timing {spell(self.timing)}, scoring "
            f"{spell(self.scoring)}, memory and placement {spell(self.looking)})"
        )


def estimate(works: Sequence[Work]) -> Estimate:
    """What the rest takes, the control included."""
    return Estimate(
        timing=sum(each.milliseconds / 1e3 * (each.passes + each.others) for each in works),
        scoring=sum(
            (each.milliseconds / 1e3 / each.per_pass + CASE_SECONDS) * each.images for each in works
        ),
        looking=sum(
            PROCESS_SECONDS + LOADS * each.load_ms / 1e3
            for each in works
            if each.load_ms is not None
        ),
    )


def spell(seconds: float) -> str:
    """As people say it: `8 s`, `2 min 10 s`, `1 h 5 min`."""
    whole = max(1, round(seconds)) if seconds > 0 else 0
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
