"""How long a benchmark will take at most, said before it begins."""

from collections.abc import Sequence
from dataclasses import dataclass

PROCESS_SECONDS, LOADS = 1.5, 2
"""What a row takes beside its passes, where its memory and placement are to be found out: a process
of its own, and how often the file is opened again."""

CASE_SECONDS = 0.004
"""What scoring takes per image beside the network."""


@dataclass(frozen=True)
class Estimate:
    """Seconds that the rest of a benchmark on a device takes at most.

    Attributes:
        timing: rounds, from arrays and from files.
        scoring: images of what is to be scored whole.
        looking: at memory and placement.
    """

    timing: float
    scoring: float
    looking: float

    def __str__(self) -> str:
        total = self.timing + self.scoring + self.looking
        return (
            f"at most {spell(total)} (timing {spell(self.timing)}, scoring {spell(self.scoring)}, "
            f"memory and placement {spell(self.looking)})"
        )


def estimate(
    milliseconds: Sequence[float],
    passes: Sequence[int],
    to_score: Sequence[int],
    load_ms: Sequence[float],
) -> Estimate:
    """What the warm-up says.

    Args:
        milliseconds: of a pass of each thing that is timed, the control among them.
        passes: the most of each.
        to_score: images that each is to be scored on.
        load_ms: of each whose memory and placement are to be found out.
    """
    seconds = [each / 1e3 for each in milliseconds]
    from_files = sum(each * max(1, most // 10) for each, most in zip(seconds, passes, strict=True))
    return Estimate(
        timing=sum(each * most for each, most in zip(seconds, passes, strict=True)) + from_files,
        scoring=sum(
            (each + CASE_SECONDS) * images for each, images in zip(seconds, to_score, strict=True)
        ),
        looking=sum(PROCESS_SECONDS + LOADS * each / 1e3 for each in load_ms),
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
