"""A network of the user's own: any `nn.Module` that gives one logit per pixel."""

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from brainseg.errors import InputError, brief


def build_own(*, target: str, args: Mapping[str, Any] | None = None) -> nn.Module:
    """An instance of a class that maps images N×1×H×W in [0, 1] to logits N×1×H×W.

    Args:
        target: `package.module.Class`.
        args: arguments of the class.

    Raises:
        InputError: the class cannot be imported, is no `torch.nn.Module`, or refuses `args`.
    """
    network = import_network(target)
    try:
        return network(**args or {})
    except Exception as error:  # it is the user's code
        raise InputError(
            f"model.target={target} does not take model.args={dict(args or {})} ({brief(error)})."
        ) from error


def import_network(target: str) -> type[nn.Module]:
    """Import a class, and call nothing of it.

    That it is a network is checked here, so that a configuration cannot call anything else. The
    current folder is searched after all others.

    Raises:
        InputError: it cannot be imported, or is no subclass of `torch.nn.Module`.
    """
    module, _, name = target.rpartition(".")
    if not module:
        raise InputError(f"model.target={target}: expected package.module.Class, with a dot.")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    importlib.invalidate_caches()
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # importing runs the user's code
        raise InputError(
            f"model.target={target} cannot be imported ({brief(error)}). {module} must lie in the "
            f"current folder ({here}), be installed, or be found through PYTHONPATH."
        ) from error
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise InputError(
            f"model.target={target} is no subclass of torch.nn.Module. Expected a class that maps "
            "images N×1×H×W to one logit per pixel."
        )
    return found
