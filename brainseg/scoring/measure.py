"""What a row of `deploy.json` says of an opened network, but for its timings."""

from typing import Any

from brainseg.row import Row
from brainseg.rows import read_rows
from brainseg.run import Run, place_name
from brainseg.runtime.placement import find_placement
from brainseg.runtime.session import Session
from brainseg.scoring.changes import CHANGES, compare
from brainseg.scoring.kept import source_of
from brainseg.scoring.score import place_of, score_mode
from brainseg.scoring.scores import Scores
from brainseg.vocabulary import REFERENCE

PLACED = ("placement", "kernels", "memcpy_nodes")


def measure(run: Run, mode: str, session: Session, *, progress: bool = True) -> dict[str, Any]:
    """Values of a row that need no clock: size, placement, loading, parity, accuracy.

    What is known of this very file, runtime, device and precision is not found out again.

    Args:
        run: that the network belongs to.
        mode: of the network.
        session: that runs it.
        progress: whether to draw bars, where standard error is a terminal.

    Raises:
        InputError: the output is no probability.
    """
    network = run.hash_network(mode, session.runtime)
    before = next((row for row in read_rows(run) if _is_about(row, network, session)), None)
    scores = score_mode(run, mode, session, progress=progress)
    placed = (
        {name: getattr(before, name) for name in PLACED}
        if before and before.placement
        else find_placement(session)
    )
    place = place_of(session)
    source = source_of(run, mode, place)
    baseline = None if before and before.tost else _baseline(run, mode, session)
    changes = compare(baseline, scores) if baseline else {}
    return {
        "network": network,
        "got": session.got,
        "scores_from": source if source != place else None,
        "size_bytes": session.path.stat().st_size,
        "load_ms": session.load_ms,
        "parity": _parity(run, session) if mode == REFERENCE else None,
        **placed,
        **scores.values(),
        **({name: getattr(before, name) for name in CHANGES} if before else {}),
        **changes,
    }


def _is_about(row: Row, network: str | None, session: Session) -> bool:
    place = (session.runtime, session.device, session.precision)
    return row.network == network and (row.runtime, row.device, row.precision) == place


def _baseline(run: Run, mode: str, session: Session) -> Scores | None:
    """The scores of fp32 in the same place, as far as they are known and not those of `session`."""
    if mode == REFERENCE and session.precision is None:
        return None
    place = place_name(session.runtime, session.device)
    return Scores.read(run, REFERENCE, place) if source_of(run, REFERENCE, place) else None


def _parity(run: Run, session: Session) -> float | None:
    """That of the export, which older versions wrote into the file itself."""
    made = run.read_made(REFERENCE, session.runtime)
    known = made.get("parity", session.metadata.get("parity"))
    return None if known is None else float(known)
