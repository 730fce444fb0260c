"""What is to be timed, where and how often."""

from collections.abc import Iterable
from dataclasses import dataclass

from brainseg.environment import physical_cores
from brainseg.errors import InputError, check_known
from brainseg.vocabulary import DEVICES, EVERY, MODES, RUNTIMES, with_reference


def parse_threads(given: Iterable[int | str | None]) -> tuple[int, ...]:
    """Numbers of threads as they are typed; `all`, or nothing, stands for the physical cores.

    Raises:
        InputError: one is neither a number nor `all`.
    """
    typed = ["all" if each is None else str(each) for each in given]
    if wrong := [each for each in typed if each != "all" and not each.isdecimal()]:
        raise InputError(
            f"threads={', '.join(wrong)} cannot be used. Expected numbers, or all: "
            "--threads 1,2,all, deploy.threads=[1,2,all]."
        )
    return tuple(physical_cores() if each == "all" else int(each) for each in typed)


@dataclass(frozen=True)
class TimingPlan:
    """What is timed of some runs; fp32 is always among the modes: the others are compared with it.

    Attributes:
        modes: as they are typed.
        devices: some of `vocabulary.DEVICES`.
        runtimes: some of `vocabulary.RUNTIMES`, or `EVERY`; `None` is the usual ones that are
            installed and know the device.
        passes: the most rounds that count, at least 1; what is sure before takes no further part.
        threads: of the CPU, each number by itself; the physical cores where there is none.
        batch: images per pass.
        progress: whether to draw bars, where standard error is a terminal.

    Raises:
        InputError: something has another name, or is too small a number.
    """

    modes: tuple[str, ...] = ()
    devices: tuple[str, ...] = DEVICES
    runtimes: tuple[str, ...] | None = None
    passes: int = 500
    threads: tuple[int, ...] = ()
    batch: int = 1
    progress: bool = True

    def __post_init__(self) -> None:
        check_known("mode", self.modes, MODES)
        object.__setattr__(self, "modes", tuple(with_reference(list(self.modes))))
        threads = tuple(dict.fromkeys(self.threads)) or (physical_cores(),)
        object.__setattr__(self, "threads", threads)
        check_known("device", self.devices, DEVICES)
        check_known("runtime", self.runtimes or (), (*RUNTIMES, EVERY))
        numbers = {"passes": (self.passes,), "threads": self.threads, "batch": (self.batch,)}
        for name, values in numbers.items():
            for value in values:
                if value < 1:
                    raise InputError(f"{name}={value} cannot be used. Expected at least 1.")

    def threads_on(self, device: str) -> tuple[int, ...]:
        """The numbers of threads to time there; a GPU has no use for several."""
        return self.threads if device == "cpu" else (max(self.threads),)
