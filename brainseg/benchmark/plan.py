"""What is to be timed, where and how often."""

from dataclasses import dataclass

from brainseg.errors import InputError, check_known
from brainseg.vocabulary import DEVICES, MODES, RUNTIMES, with_reference


@dataclass(frozen=True)
class TimingPlan:
    """What is timed of some runs; fp32 is always among the modes: the others are compared with it.

    Attributes:
        modes: as they are typed.
        devices: some of `vocabulary.DEVICES`.
        runtimes: some of `vocabulary.RUNTIMES`; `None` is all that are installed and know the
            device.
        passes: rounds that count, at least 1.
        threads: of the CPU; the physical cores where it is `None`.
        batch: images per pass.
        progress: whether to draw bars, where standard error is a terminal.

    Raises:
        InputError: something has another name, or is too small a number.
    """

    modes: tuple[str, ...] = ()
    devices: tuple[str, ...] = DEVICES
    runtimes: tuple[str, ...] | None = None
    passes: int = 500
    threads: int | None = None
    batch: int = 1
    progress: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "modes", tuple(with_reference(list(self.modes))))
        check_known("mode", self.modes, MODES)
        check_known("device", self.devices, DEVICES)
        check_known("runtime", self.runtimes or (), RUNTIMES)
        for name in ("passes", "threads", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name}={value} cannot be used. Expected at least 1.")
