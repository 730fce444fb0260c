"""What is told where Hydra, OmegaConf or the system refuses what was typed."""

import re
from traceback import walk_tb

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from brainseg.errors import brief, explain
from brainseg.training.keys import describe_unknown


def explain_refusal(error: BaseException) -> str | None:
    """What to tell a user of an error in what was typed; `None` of an error in the program."""
    if isinstance(error, ValueError) and "null byte" in str(error):
        return "No name holds the character NUL. Take it out of the overrides."
    if isinstance(error, ValueError) and str(error).startswith("Config group override must be"):
        return f"{error} Expected the name of a choice, such as loss=bce."
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return explain(error) or _of_the_parser(error)
    cause = error.__cause__
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and (unknown := _unknown(cause)):
        return unknown
    told = [str(error), str(cause) if isinstance(cause, OmegaConfBaseException) else ""]
    lines = [line.strip() for text in told for line in text.splitlines()]
    return "\n  ".join(line for line in lines if line and not line.startswith("object_type="))


def _of_the_parser(error: BaseException) -> str | None:
    """The message of an error that Hydra or OmegaConf did not mean to raise."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    package = frames[-1].f_globals.get("__name__", "").partition(".")[0] if frames else ""
    if not isinstance(error, Exception) or package not in ("hydra", "omegaconf", "antlr4"):
        return None
    return f"Hydra cannot read the overrides ({brief(error)}). Look for a value of the wrong kind."


def _unknown(error: OmegaConfBaseException) -> str | None:
    """The message of a key that is not there, without Hydra's advice to add it."""
    parent = error.parent_node
    if parent is None or not error.full_key:
        return None
    known = OmegaConf.to_container(parent._get_root(), resolve=False, throw_on_missing=False)
    assert isinstance(known, dict)
    shown = {str(key): value for key, value in known.items() if key != "hydra"}
    return describe_unknown(re.sub(r"^hydra\.", "", str(error.full_key)), shown)
