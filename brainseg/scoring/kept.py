"""The scores that a run keeps: of which network, and where they were computed (`scored.json`).

A mode has one set of scores with all that `record` writes, computed where it was scored first: its
home. Elsewhere it has cases of its own, or those of its home where predictions agree.
"""

from typing import Any

from brainseg.files import read_json, write_json
from brainseg.run import SCORED, Run, place_name
from brainseg.vocabulary import CHECKPOINT, REFERENCE_RUNTIME

USUAL_HOME = place_name(REFERENCE_RUNTIME, "cpu")
"""That of scores of which nobody noted where they were computed."""


def home_of(run: Run, mode: str) -> str | None:
    """Where `mode` was scored first, `None` where the network as it is was not.

    Scores of a brainseg that did not record of what they are, are taken as they are.
    """
    parts = ("test",) if mode == CHECKPOINT else SCORED
    files = [*(run.cases(mode, part) for part in parts), run.metrics_of(mode)]
    if not all(file.exists() for file in files):
        return None
    noted = _read(run).get(mode)
    if noted is None:
        return None if "network" in run.read_made(mode) else USUAL_HOME
    return noted["place"] if noted["network"] == run.hash_network(mode) else None


def source_of(run: Run, mode: str, place: str) -> str | None:
    """Where the scores that hold for `mode` in `place` were computed; `None` where none do."""
    home = home_of(run, mode)
    if place == home:
        return home
    noted = _read(run).get(f"{place}/{mode}")
    if noted is None or noted["network"] != run.hash_network(mode):
        return None
    if noted["place"] == place:
        there = all(run.cases(mode, part, place).exists() for part in SCORED)
        return place if there else None
    return home if noted["place"] == home else None


def note_scored(run: Run, mode: str, place: str = USUAL_HOME) -> None:
    """Record that `place` is the home of the scores of `mode`, of the network as it is."""
    _note(run, mode, mode, place)


def note_scored_in(run: Run, mode: str, place: str, source: str) -> None:
    """Record that in `place`, which is not its home, `mode` has the scores computed in `source`."""
    _note(run, f"{place}/{mode}", mode, source)


def _read(run: Run) -> dict[str, dict[str, Any]]:
    """Network and place of each set of scores; those of earlier versions have only a network."""
    noted = read_json(run.scored) if run.scored.exists() else {}
    return {
        key: {"network": each, "place": key.partition("/")[0] if "/" in key else USUAL_HOME}
        if isinstance(each, str)
        else each
        for key, each in noted.items()
    }


def _note(run: Run, key: str, mode: str, place: str) -> None:
    noted = {key: {"network": run.hash_network(mode), "place": place}}
    write_json(run.scored, _read(run) | noted)
