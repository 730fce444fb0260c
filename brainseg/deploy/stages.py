"""What happens to a run after training; a stage whose output is newer than its input is skipped.

The heavy libraries are imported where there is work for them: having nothing to do takes no time.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from brainseg.deploy.quantize import MODES, check_modes, is_quantized, quantize
from brainseg.environment import nvidia_gpus, physical_cores
from brainseg.errors import InputError
from brainseg.files import is_fresh
from brainseg.rows import (
    REFERENCE,
    Row,
    drop_rows,
    new_row,
    quantization_options,
    read_rows,
    upsert_rows,
    with_reference,
)
from brainseg.run import Run
from brainseg.runtime.available import (
    DEVICES_OF,
    check_devices,
    check_runtimes,
    is_installed,
    runtimes_on,
)
from brainseg.vocabulary import CHECKPOINT


def prepare(
    run: Run,
    modes: Sequence[str],
    options: Mapping[str, Any] | None = None,
    *,
    progress: bool = True,
) -> list[str]:
    """Score the checkpoint, export it, quantize it, score the files, and write their rows.

    Args:
        run: a trained run.
        modes: post-training modes; fp32 comes first in any case.
        options: of the modes, as `quantize` takes them; what was made with others is made again.
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
        done
        for mode in with_reference(modes)
        for done in _prepare_mode(run, mode, options or {}, progress)
    ]


def time_missing(
    run: Run,
    modes: Sequence[str],
    devices: Sequence[str],
    *,
    passes: int = 500,
    runtimes: Sequence[str] | None = None,
    threads: int | None = None,
    progress: bool = True,
) -> list[str]:
    """`time_together` for one run.

    Returns:
        What was done, a short phrase each; empty where there was nothing to time.

    Raises:
        InputError: a device or runtime has another name, or the run has no test images.
    """
    return time_together(
        [run],
        modes,
        devices,
        passes=passes,
        runtimes=runtimes,
        threads=threads,
        progress=progress,
    )[run]


def time_together(
    runs: Sequence[Run],
    modes: Sequence[str],
    devices: Sequence[str],
    *,
    passes: int = 500,
    runtimes: Sequence[str] | None = None,
    threads: int | None = None,
    progress: bool = True,
) -> dict[Run, list[str]]:
    """Time all runs on each device on which something of them has not been timed as it is now.

    All runs, modes and runtimes, because ratios hold within one session.

    Args:
        runs: prepared in `modes`.
        modes: post-training modes; fp32 comes first in any case.
        devices: `cpu`, `cuda`.
        passes: that every timing must have at least.
        runtimes: as `benchmark` takes them.
        threads: of the CPU; the physical cores where it is `None`.
        progress: whether to draw bars, where standard error is a terminal.

    Returns:
        What was done with each run, a short phrase each; empty where there was nothing to time.

    Raises:
        InputError: a device or runtime has another name, or a run has no test images.
    """
    done: dict[Run, list[str]] = {run: [] for run in runs}
    missing = {
        device
        for run in runs
        for _, _, device in untimed(
            run, modes, devices, passes=passes, runtimes=runtimes, threads=threads
        )
    }
    for device in devices:
        if device in missing:
            from brainseg.benchmark.benchmark import benchmark

            timed = benchmark(
                runs,
                modes,
                [device],
                passes,
                runtimes=runtimes,
                threads=threads,
                progress=progress,
            )
            for run, rows in timed.items():
                done[run] += map(_tell, rows)
    return done


def untimed(
    run: Run,
    modes: Sequence[str],
    devices: Sequence[str],
    *,
    passes: int = 500,
    runtimes: Sequence[str] | None = None,
    threads: int | None = None,
) -> list[tuple[str, str, str]]:
    """What was not timed with at least so many passes: mode (fp32 included), runtime, device.

    What failed or could not be had is settled too; but a GPU or a runtime that is there by now
    gets its chance.

    Raises:
        InputError: a device or runtime has another name.
    """
    check_devices(devices)
    check_runtimes(runtimes or ())
    threads = threads or physical_cores()
    settled = {
        (row["mode"], row["runtime"], row["device"])
        for row in read_rows(run)
        if _is_settled(row, passes)
        and (row["batch"], row["threads"]) == (1, threads)
        and "precision" not in row["options"]  # comes with fp32 in the same runtime
        and run.onnx(row["mode"]).exists()
        and is_fresh(run.deploy, run.onnx(row["mode"]))
    }
    wanted = [
        (mode, runtime, device)
        for device in devices
        for runtime in runtimes_on(device, runtimes)
        for mode in with_reference(modes)
    ]
    return [each for each in wanted if each not in settled]


def _is_settled(row: Row, passes: int) -> bool:
    if row["status"] == "failed" or (row["passes"] or 0) >= passes:
        return True
    return not _may_be_had(row["runtime"], row["device"])


def _may_be_had(runtime: str, device: str) -> bool:
    known = device in DEVICES_OF[runtime] and is_installed(runtime)
    return known and (device == "cpu" or bool(nvidia_gpus()))


def _tell(row: Row) -> str:
    precision = row["options"].get("precision")
    mode = f"{row['mode']} ({precision})" if precision else row["mode"]
    place = f"{mode} with {row['runtime']} on {row['device']}"
    return f"timed {place}" if row["status"] == "ok" else f"{place}: {row['status']}"


def _score_checkpoint(run: Run, progress: bool) -> list[str]:
    made = (run.metrics, run.cases(CHECKPOINT), run.attention, run.appropriateness(CHECKPOINT))
    if all(is_fresh(file, run.best) for file in made):
        return []
    from brainseg.scoring.score import score_checkpoint

    score_checkpoint(run, progress=progress)
    return ["scored the checkpoint"]


def _prepare_mode(run: Run, mode: str, options: Mapping[str, Any], progress: bool) -> list[str]:
    done = []
    if not _is_made(run, mode, options):
        _forget(run, mode)  # first: what exists then always belongs to the file
        _make(run, mode, options)
        done.append(f"made {run.onnx(mode).name}")
    scores = (run.cases(mode, "val"), run.cases(mode), run.metrics_of(mode))
    if not all(is_fresh(file, run.onnx(mode)) for file in scores):
        from brainseg.scoring.score import score

        score(run, mode, progress=progress)
        done.append(f"scored {mode}")
    described = any(row["mode"] == mode for row in read_rows(run))
    if not (described and is_fresh(run.deploy, run.cases(mode))):
        drop_rows(run, [mode])
        _describe(run, mode)
        done.append(f"wrote the row of {mode}")
    return done


def _is_made(run: Run, mode: str, options: Mapping[str, Any]) -> bool:
    if mode == REFERENCE:
        return run.is_current(mode)
    return is_quantized(run, mode, options)


def _forget(run: Run, mode: str) -> None:
    """Remove rows and scores of a file that is about to change, and of those made from it."""
    changing = [REFERENCE, *MODES] if mode == REFERENCE else [mode]
    drop_rows(run, changing)
    for each in changing:
        for part in ("val", "test"):
            run.cases(each, part).unlink(missing_ok=True)


def _make(run: Run, mode: str, options: Mapping[str, Any]) -> None:
    if mode == REFERENCE:
        from brainseg.deploy.export import export

        export(run)
    else:
        quantize(run, mode, options)


def _describe(run: Run, mode: str) -> None:
    """Write what a row holds before it was timed."""
    from brainseg.evaluation.cases import read_cases
    from brainseg.runtime.session import open_session
    from brainseg.scoring.score import measure

    session = open_session(run.onnx(mode))
    reference = None if mode == REFERENCE else read_cases(run.cases(REFERENCE))
    values, _ = measure(run, mode, session, reference)
    options = quantization_options(run, mode)
    row = new_row(mode, device="cpu", threads=session.threads, options=options, **values)
    upsert_rows(run, [row])
