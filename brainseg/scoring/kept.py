"""The scores that a run keeps: of which network, and where they were computed (`scored.json`).

With the hashes of what was written, so that damage is found: scores that changed are none.

A mode has one set of scores with all that `record` writes, computed where it was scored first: its
home. Elsewhere it has cases of its own, or those of its home where predictions agree.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from brainseg.files import write_json
from brainseg.run import SCORED, Run, place_name, runtime_of
from brainseg.vocabulary import CHECKPOINT, REFERENCE_RUNTIME, TRUTH

USUAL_HOME = place_name(REFERENCE_RUNTIME, "cpu")
"""That of scores of which nobody noted where they were computed."""


def files_of(run: Run, mode: str) -> list[Path]:
    """What is written where `mode` is scored first."""
    written = [run.metrics_of(mode), run.predictions(mode), run.appropriateness(mode)]
    if mode == CHECKPOINT:
        return [*written, run.cases(mode), run.attention, run.appropriateness(TRUTH)]
    return [*written, *(run.cases(mode, part) for part in SCORED)]


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
        return None if _is_noting(run, mode) else USUAL_HOME
    same = noted["network"] == run.hash_network(mode) or _is_lost(run, mode)
    return noted["place"] if same and _is_whole(run, files_of(run, mode), noted) else None


def _is_noting(run: Run, mode: str) -> bool:
    """Whether what made a network would have noted its scores, so that they were cut off."""
    if mode == CHECKPOINT:
        return "files" in run.read_state() and not _is_lost(run, mode)
    return "network" in run.read_made(mode)


def network_scored(run: Run, mode: str) -> str | None:
    """SHA-256 of the network whose scores are kept as those of `mode`, `None` where none are."""
    noted = _read(run).get(mode)
    return noted["network"] if noted else None


def _is_lost(run: Run, mode: str) -> bool:
    """Whether nobody can score the checkpoint again."""
    return mode == CHECKPOINT and not run.has_checkpoint()


def _is_whole(run: Run, files: Sequence[Path], noted: Mapping[str, Any]) -> bool:
    """Whether files are as they were written; older versions did not note that."""
    return "files" not in noted or run.hash_files(files) == noted["files"]


def source_of(run: Run, mode: str, place: str) -> str | None:
    """Where the scores that hold for `mode` in `place` were computed; `None` where none do."""
    home = home_of(run, mode)
    if place == home:
        return home
    noted = _read(run).get(f"{place}/{mode}")
    if noted is None or noted["network"] != run.hash_network(mode, runtime_of(place)):
        return None
    if noted["place"] == place:
        there = all(run.cases(mode, part, place).exists() for part in SCORED)
        return place if there and _is_whole(run, _own_files(run, mode, place), noted) else None
    return home if noted["place"] == home else None


def _own_files(run: Run, mode: str, place: str) -> list[Path]:
    """What is written where `mode` has scores of its own in a place that is not its home."""
    return [*(run.cases(mode, part, place) for part in SCORED), run.predictions(mode, place)]


def note_scored(run: Run, mode: str, place: str = USUAL_HOME) -> None:
    """Record that `place` is the home of the scores of `mode`, of the network as it is."""
    _note(run, mode, mode, place, files_of(run, mode))


def note_scored_in(run: Run, mode: str, place: str, source: str) -> None:
    """Record that in `place`, which is not its home, `mode` has the scores computed in `source`."""
    own = _own_files(run, mode, place) if source == place else []
    _note(run, f"{place}/{mode}", mode, source, own)


def _read(run: Run) -> dict[str, dict[str, Any]]:
    """Network and place of each set of scores; those of earlier versions have only a network."""
    noted = run.read(run.scored) if run.scored.exists() else {}
    return {
        key: {"network": each, "place": key.partition("/")[0] if "/" in key else USUAL_HOME}
        if isinstance(each, str)
        else each
        for key, each in noted.items()
    }


def _note(run: Run, key: str, mode: str, place: str, files: Sequence[Path]) -> None:
    network = run.hash_network(mode, runtime_of(key if "/" in key else place))
    noted = {"network": network, "place": place, "files": run.hash_files(files)}
    write_json(run.scored, _read(run) | {key: noted})
