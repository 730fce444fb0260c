"""What happens to a run after training; a stage whose output is newer than its input is skipped.

The heavy libraries are imported where there is work for them: having nothing to do takes no time.
"""

from collections.abc import Sequence

from brainseg.deploy.environment import nvidia_gpus, physical_cores
from brainseg.deploy.quantize import check_modes, quantize
from brainseg.deploy.rows import (
    REFERENCE,
    RUNTIME,
    Row,
    drop_rows,
    new_row,
    read_rows,
    upsert_rows,
    with_reference,
)
from brainseg.errors import InputError
from brainseg.files import is_fresh
from brainseg.run import CHECKPOINT, Run


def prepare(run: Run, modes: Sequence[str], *, progress: bool = True) -> list[str]:
    """Score the checkpoint, export it, quantize it, score the files, and write their rows.

    Args:
        run: a trained run.
        modes: post-training modes; fp32 comes first in any case.
        progress: whether to draw bars, where standard error is a terminal.

    Returns:
        What was done, a short phrase each; empty where everything was up to date.

    Raises:
        InputError: a mode has another name, or the run lacks what training leaves.
    """
    check_modes(with_reference(modes)[1:])
    if not run.best.exists():
        raise InputError(f"{run.path} has no {run.best.name}: train it first, or to its end.")
    return _score_checkpoint(run, progress) + [
        done for mode in with_reference(modes) for done in _prepare_mode(run, mode, progress)
    ]


def time_missing(
    run: Run,
    modes: Sequence[str],
    devices: Sequence[str],
    *,
    passes: int = 500,
    threads: int | None = None,
    progress: bool = True,
) -> list[str]:
    """Time all modes on each device on which one of them has not been timed since it was made.

    All modes, because ratios hold within one session. Several runs that are to be compared with
    each other go into one call of `benchmark`.

    Returns:
        What was done, a short phrase each; empty where there was nothing to time.

    Raises:
        InputError: a device has another name, or the run has no test images.
    """
    missing = untimed(run, modes, devices, passes=passes, threads=threads)
    if not missing:
        return []
    from brainseg.deploy.benchmark import benchmark

    again = [device for device in devices if device in {device for _, device in missing}]
    rows = benchmark([run], modes, again, passes, threads=threads, progress=progress)
    places = [f"{row['mode']} on {row['device']}" for row in rows]
    return [
        f"timed {place}" if row["status"] == "ok" else f"{place}: {row['status']}"
        for place, row in zip(places, rows, strict=True)
    ]


def untimed(
    run: Run,
    modes: Sequence[str],
    devices: Sequence[str],
    *,
    passes: int = 500,
    threads: int | None = None,
) -> list[tuple[str, str]]:
    """The modes and devices, fp32 included, that were not timed with at least so many passes.

    What failed, or has no device, is settled too; but once there is a GPU, it gets another chance.
    """
    threads = threads or physical_cores()
    settled = {
        (row["mode"], row["device"])
        for row in read_rows(run)
        if _is_settled(row, passes)
        and (row["runtime"], row["batch"], row["threads"]) == (RUNTIME, 1, threads)
        and run.onnx(row["mode"]).exists()
        and is_fresh(run.deploy, run.onnx(row["mode"]))
    }
    return [
        (mode, device)
        for device in devices
        for mode in with_reference(modes)
        if (mode, device) not in settled
    ]


def _is_settled(row: Row, passes: int) -> bool:
    if row["status"] == "unavailable":
        return not nvidia_gpus()
    return row["status"] == "failed" or (row["passes"] or 0) >= passes


def _score_checkpoint(run: Run, progress: bool) -> list[str]:
    if is_fresh(run.metrics, run.best) and is_fresh(run.cases(CHECKPOINT), run.best):
        return []
    from brainseg.deploy.score import score_checkpoint

    score_checkpoint(run, progress=progress)
    return ["scored the checkpoint"]


def _prepare_mode(run: Run, mode: str, progress: bool) -> list[str]:
    done = []
    if not is_fresh(run.onnx(mode), run.best if mode == REFERENCE else run.onnx(REFERENCE)):
        drop_rows(run, mode)  # first: a row that exists then always belongs to the file
        _make(run, mode)
        done.append(f"made {run.onnx(mode).name}")
    if not is_fresh(run.cases(mode), run.onnx(mode)):
        from brainseg.deploy.score import score

        score(run, mode, progress=progress)
        done.append(f"scored {mode}")
    described = any(row["mode"] == mode for row in read_rows(run))
    if not (described and is_fresh(run.deploy, run.cases(mode))):
        drop_rows(run, mode)
        _describe(run, mode)
        done.append(f"wrote the row of {mode}")
    return done


def _make(run: Run, mode: str) -> None:
    if mode == REFERENCE:
        from brainseg.deploy.export import export

        export(run)
    else:
        quantize(run, mode)


def _describe(run: Run, mode: str) -> None:
    """Write what a row holds before it was timed."""
    from brainseg.deploy.score import measure
    from brainseg.deploy.session import open_session

    session = open_session(run.onnx(mode))
    values = measure(run, mode, session)
    upsert_rows(run, [new_row(mode, device="cpu", threads=session.threads, **values)])
