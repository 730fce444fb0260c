"""What happens to a run after training; what is current by content is left alone.

The heavy libraries are imported where there is work for them: having nothing to do takes no time.
"""

import logging
from collections.abc import Sequence
from functools import cache, partial
from typing import TYPE_CHECKING

from brainseg.content.read import is_deployed
from brainseg.deploy.options import Chosen, check_chosen, is_made_with
from brainseg.errors import InputError, check_known
from brainseg.files import write_json
from brainseg.row import Row
from brainseg.rows import drop_rows, read_rows, set_aside, upsert_rows
from brainseg.run import SCORED, Run
from brainseg.scoring.kept import files_of, home_of, network_scored
from brainseg.terminal import spent
from brainseg.vocabulary import (
    CHECKPOINT,
    MODES,
    REFERENCE,
    REFERENCE_RUNTIME,
    quantized_modes,
    with_reference,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from brainseg.runtime.session import Session


logger = logging.getLogger(__name__)


def prepare(
    run: Run, modes: Sequence[str], chosen: Chosen | None = None, *, progress: bool = True
) -> list[str]:
    """Score the checkpoint, export it, quantize it, score the files, and write their rows.

    The checkpoint is built once, and each file opened once, if there is work for it.

    Args:
        run: a trained run.
        modes: to prepare; fp32 comes first in any case.
        chosen: options of the modes; a file made with others is made again.
        progress: whether to draw bars, where standard error is a terminal.

    Returns:
        What was done, a short phrase each; empty where everything was up to date.

    Raises:
        InputError: a mode or an option has another name, or the run lacks what training leaves.

    A damaged file that is made here is made again. Where the checkpoint is lost, the
    exported networks are used instead.
    """
    chosen = chosen or {}
    check_known("mode", modes, MODES)
    check_chosen(chosen, modes)
    for part in run.path.glob(".model.*"):  # written when an earlier command was killed
        part.unlink()
    done = _remove_damaged(run)
    network = cache(partial(_load_network, run))
    done += (_adopt if run.has_checkpoint() else _restore_record)(run, network)
    if run.has_checkpoint():
        _describe_network(run, network)
        done += _score_checkpoint(run, network, progress)
    elif run.is_current(REFERENCE):
        logger.warning(
            "%s is missing or damaged: the exported networks are used instead. Only another "
            "training (force=true) makes it again.",
            run.best,
        )
    else:
        raise InputError(
            f"{run.best} is missing or damaged, and so are the exported networks: train it "
            "first, or to its end; a finished run again, with force=true."
        )
    for mode in with_reference(modes):
        done += _prepare_mode(run, mode, chosen, network, progress)
    return done


def _remove_damaged(run: Run) -> list[str]:
    """Remove the damaged files that are made again here; what was timed is put aside.

    Those that need the checkpoint stay where it is lost too.
    """
    damaged = {file for file in run.find_damage() if run.evaluations not in file.parents}
    doomed = {file for file in damaged if is_deployed(file)}
    if not run.has_checkpoint():
        doomed -= {run.model, *files_of(run, CHECKPOINT)}
    for mode in (CHECKPOINT, *MODES):
        if doomed & {*files_of(run, mode)}:
            run.cases(mode).unlink(missing_ok=True)  # without it, the mode is not scored
    done = []
    for file in sorted(doomed):
        name = file.relative_to(run.path)
        if file in (run.deploy, run.benchmarks):
            done.append(f"put {name}, which was damaged, aside as {set_aside(file).name}")
        else:
            file.unlink(missing_ok=True)
            done.append(f"removed {name}, which was damaged")
    return done


def _describe_network(run: Run, network: "Callable[[], nn.Sequential]") -> None:
    if run.model.exists():
        return
    from brainseg.model.registry import part_names
    from brainseg.model.summary import summarize

    config, built = run.read_config(), network()[0]
    names = part_names(config["model"], built)
    write_json(run.model, summarize(built, config["data"]["image_size"], names))


def _adopt(run: Run, network: "Callable[[], nn.Sequential]") -> list[str]:
    """Take an older run's files over, or forget those of another checkpoint."""
    if not run.onnx(REFERENCE).exists():
        return []
    if not run.is_recorded():
        from brainseg.deploy.adopt import adopt

        if adopt(run):
            return []
    restored = _restore_record(run, network)
    if not run.is_recorded():
        _forget(run, REFERENCE)
        for file in (*map(run.onnx, MODES), run.cases(CHECKPOINT)):
            file.unlink(missing_ok=True)
    return restored


def _load_network(run: Run) -> "nn.Sequential":
    from brainseg.model.checkpoint import load_network

    return load_network(run)


def _score_checkpoint(
    run: Run, network: "Callable[[], nn.Sequential]", progress: bool
) -> list[str]:
    made = (run.attention, run.appropriateness(CHECKPOINT))
    if home_of(run, CHECKPOINT) and all(file.exists() for file in made):
        return []
    from brainseg.scoring.score import score_checkpoint

    with spent("scoring"):
        score_checkpoint(run, network(), progress=progress)
    return ["scored the checkpoint"]


def _prepare_mode(
    run: Run,
    mode: str,
    chosen: Chosen,
    network: "Callable[[], nn.Sequential]",
    progress: bool,
) -> list[str]:
    session = cache(partial(_open, run, mode))
    done = []
    if not (run.is_current(mode) if mode == REFERENCE else is_made_with(run, mode, chosen)):
        with spent("export and quantization"):
            _make(run, mode, chosen, network, session)
        done.append(f"made {run.onnx(mode).name}")
    if not home_of(run, mode):
        from brainseg.scoring.score import score_mode

        with spent("scoring"):
            score_mode(run, mode, _open_on_gpu(run, mode) or session(), progress=progress)
        done.append(f"scored {mode}")
    hashed = run.hash_network(mode)
    if not any((row.mode, row.network) == (mode, hashed) for row in read_rows(run)):
        drop_rows(run, [mode])
        _describe(run, mode, session())
        done.append(f"wrote the row of {mode}")
    if any(row.mode == mode and row.lacks_tost for row in read_rows(run)):
        from brainseg.scoring.changes import complete

        done += [f"compared {mode} with {REFERENCE}"] if complete(run, mode) else []
    return done


def _open(run: Run, mode: str) -> "Session":
    from brainseg.runtime.open import open_session

    return open_session(run.onnx(mode))


def _open_on_gpu(run: Run, mode: str) -> "Session | None":
    """A session to score `mode` in, where there is a GPU that runs all of it."""
    from brainseg.runtime.open import may_be_had, open_session

    if not (MODES[mode].on_gpu and may_be_had(REFERENCE_RUNTIME, "cuda")):
        return None
    try:
        return open_session(run.onnx(mode), "cuda")
    except InputError:  # a GPU that does not start, or is full: the CPU scores it
        return None


def _known_networks(run: Run, mode: str) -> set[str | None]:
    """The SHA-256 of each network in `mode` that was scored or timed."""
    return {network_scored(run, mode), *(row.network for row in read_rows(run) if row.mode == mode)}


def _restore_record(run: Run, network: "Callable[[], nn.Sequential]") -> list[str]:
    """Write the lost record of an export that is, as its scores or rows tell, what it was.

    Where the checkpoint is there, it must compute the same.
    """
    hashed, record = run.hash_network(REFERENCE), run.made(REFERENCE)
    if record.exists() or hashed is None or hashed not in _known_networks(run, REFERENCE):
        return []
    rows = [row for row in read_rows(run) if row.network == hashed]
    parity = next((row.parity for row in rows if row.parity is not None), None)
    if run.has_checkpoint():
        from brainseg.deploy.export import PARITY_LIMIT, check_parity

        parity = check_parity(run, network(), _open(run, REFERENCE))
        if parity > PARITY_LIMIT:
            return []
    run.note_made(REFERENCE, options={}, parity=parity)
    return [f"wrote {record.name} again"]


def _forget(run: Run, mode: str) -> None:
    """Remove rows and scores of a file that is another one now, and of those made from it."""
    changing = with_reference(quantized_modes()) if mode == REFERENCE else [mode]
    drop_rows(run, changing)
    for each in changing:
        cases = [run.cases(each, part) for part in SCORED]
        for file in cases:
            file.unlink(missing_ok=True)
        for file in (*cases, run.predictions(each)):
            for elsewhere in run.path.glob(f"scores/*/{file.name}"):
                elsewhere.unlink()


def _make(
    run: Run,
    mode: str,
    chosen: Chosen,
    network: "Callable[[], nn.Sequential]",
    session: "Callable[[], Session]",
) -> None:
    """Make the file of `mode`; scores and rows stay where it is the same one again."""
    known = _known_networks(run, mode)
    if mode == REFERENCE:
        from brainseg.deploy.export import check_parity, export

        run.made(mode).unlink(missing_ok=True)  # it tells of another file than is about to come
        export(run, network())
        if run.hash_network(mode) not in known:
            _forget(run, mode)  # before the record: until then, nothing is current
        run.note_made(mode, options={}, parity=check_parity(run, network(), session()))
    else:
        from brainseg.deploy.quantize import quantize

        quantize(run, mode, chosen)
        if run.hash_network(mode) not in known:
            _forget(run, mode)


def _describe(run: Run, mode: str, session: "Session") -> None:
    """Write what a row holds before it was timed."""
    from brainseg.scoring.measure import measure

    values = measure(run, mode, session)
    options = run.read_made(mode).get("options", {})
    row = Row(mode=mode, options=options, device="cpu", threads=session.threads, **values)
    upsert_rows(run, [row])
