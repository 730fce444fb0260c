"""The names of runtimes and devices, and which pairs of them there are; none is imported here."""

from collections.abc import Sequence
from importlib.util import find_spec

from brainseg.errors import InputError

DEVICES_OF = {"onnxruntime": ("cpu", "cuda"), "openvino": ("cpu",)}
"""Runtime → the devices on which brainseg uses it."""

RUNTIMES = tuple(DEVICES_OF)
DEVICES = ("cpu", "cuda")


class Unavailable(InputError):  # noqa: N818 (a state of the machine, which becomes a row)
    """A runtime or device was asked for and not got; the message is the reason."""


def check_devices(devices: Sequence[str]) -> None:
    """Refuse a device that is not one of `DEVICES`.

    Raises:
        InputError: it lists those that there are.
    """
    _check("device", devices, DEVICES)


def check_runtimes(runtimes: Sequence[str]) -> None:
    """Refuse a runtime that is not one of `RUNTIMES`.

    Raises:
        InputError: it lists those that there are.
    """
    _check("runtime", runtimes, RUNTIMES)


def is_installed(runtime: str) -> bool:
    """Whether `runtime` can be imported; finding out does not import it."""
    return find_spec(runtime) is not None


def runtimes_on(device: str, runtimes: Sequence[str] | None = None) -> list[str]:
    """The runtimes to use on a device.

    Args:
        device: one of `DEVICES`.
        runtimes: all of these, where they are named: one that cannot be had is answered with the
            reason. `None`: all that are installed and know the device.
    """
    if runtimes is not None:
        return list(dict.fromkeys(runtimes))
    return [name for name in RUNTIMES if device in DEVICES_OF[name] and is_installed(name)]


def _check(what: str, given: Sequence[str], known: Sequence[str]) -> None:
    if unknown := set(given) - set(known):
        raise InputError(
            f"Unknown {what} {', '.join(sorted(unknown))}. Choose from: {', '.join(known)}."
        )
