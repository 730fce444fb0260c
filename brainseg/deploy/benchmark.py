"""Latency of runs and modes, side by side in one process: rows, and the session they came from."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from brainseg.deploy.environment import describe, physical_cores
from brainseg.deploy.quantize import check_modes
from brainseg.deploy.rows import (
    REFERENCE,
    RUNTIME,
    Row,
    new_row,
    read_rows,
    upsert_rows,
    with_reference,
)
from brainseg.deploy.score import measure
from brainseg.deploy.session import Unavailable, check_devices
from brainseg.deploy.timing import OtherLoad, ratio, summarize_latency, time_rounds
from brainseg.deploy.variant import Variant, open_variant
from brainseg.errors import InputError
from brainseg.files import read_json, write_json
from brainseg.run import Run

DEVICES = ("cpu", "cuda")

NOISY = 0.05
"""The share of the CPU that other processes may take before a timing is called noisy."""

Values = dict[str, Any]


def benchmark(
    runs: Sequence[Run],
    modes: Sequence[str],
    devices: Sequence[str] = DEVICES,
    passes: int = 500,
    *,
    threads: int | None = None,
    batch: int = 1,
    warmup: int = 10,
    seed: int = 0,
    progress: bool = True,
) -> list[Row]:
    """Time all runs in all modes on each device; write their `deploy.json` and `benchmarks.json`.

    fp32 is always among the modes: it is what the others are compared with. Times are end to end,
    from an array in memory to an array in memory, copies to the device included. A device that is
    not there gives `unavailable` rows, a file that cannot be run a `failed` one.

    Args:
        runs: exported and quantized in `modes`.
        modes: `fp32` and post-training modes.
        devices: `cpu`, `cuda`.
        passes: rounds that count, at least 1.
        threads: of the CPU; the physical cores where it is `None`.
        batch: images per pass; latency is per image.
        warmup: rounds before those.
        seed: of orders, images and intervals.
        progress: whether to draw a bar, where standard error is a terminal.

    Returns:
        The rows: device by device, run by run, mode by mode.

    Raises:
        InputError: a mode or device has another name, there is no pass, or a run has no test
            images.
    """
    check_modes(with_reference(modes)[1:])
    check_devices(devices)
    if passes < 1:
        raise InputError(f"Expected at least 1 timed pass, found {passes}: set passes to 500.")
    threads = threads or physical_cores()
    wanted = [(run, mode) for run in runs for mode in with_reference(modes)]
    rows: list[Row] = []
    for device in devices:
        try:
            opened = [open_variant(run, mode, device, threads, batch) for run, mode in wanted]
        except Unavailable as error:
            values: list[Values] = [{"status": "unavailable", "reason": str(error)}] * len(wanted)
        else:
            variants = [each for each in opened if isinstance(each, Variant)]
            timed = iter(_time(variants, passes, warmup, seed, progress) if variants else ())
            values = [
                next(timed) if isinstance(each, Variant) else {"status": "failed", "reason": each}
                for each in opened
            ]
        found = [
            (run, new_row(mode, device=device, threads=threads, batch=batch, **each))
            for (run, mode), each in zip(wanted, values, strict=True)
        ]
        for run in runs:
            upsert_rows(run, [row for owner, row in found if owner == run])
            _forget(run)
        rows += [row for _, row in found]
    return rows


def _time(
    variants: Sequence[Variant], passes: int, warmup: int, seed: int, progress: bool
) -> list[Values]:
    """The values of each variant's row; their runs get a record of the session."""
    first, device = variants[0], variants[0].session.device
    callables = [*variants, first.twin()]
    rng, console = np.random.default_rng(seed), Console(stderr=True)
    rounds = track(
        range(passes),
        f"Timing {len(variants)} variants on {device}",
        console=console,
        transient=True,
        disable=not (progress and console.is_terminal),
    )
    started = datetime.now(UTC)
    time_rounds(callables, range(warmup), len(first.images), rng)
    load = OtherLoad()
    *times, twin = time_rounds(callables, rounds, len(first.images), rng) / first.batch
    other_cpu_share = load.share()
    control, interval = ratio(times[0], twin, rng)
    name = f"{device}-{started:%Y%m%dT%H%M%S.%f}"
    session = {
        "started_at": started.isoformat(timespec="seconds"),
        "runtime": RUNTIME,
        "device": device,
        "threads": first.session.threads,
        "batch": first.batch,
        "passes": passes,
        "warmup": warmup,
        "seed": seed,
        "variants": [_name(each) for each in variants],
        "control": {**_name(first), "ratio": control, "interval": interval},
        "other_cpu_share": other_cpu_share,
        "environment": describe(),
    }
    for run in {each.run for each in variants}:
        write_json(run.benchmarks, _sessions(run) | {name: session})
    compared = _speedups(variants, times, rng)
    shared = {"passes": passes, "session": name, "noisy": other_cpu_share > NOISY}
    return [
        measure(each.run, each.mode, each.session, progress=progress)
        | {"latency_ms": summarize_latency(milliseconds)}
        | speedup
        | shared
        for each, milliseconds, speedup in zip(variants, times, compared, strict=True)
    ]


def _speedups(
    variants: Sequence[Variant], times: Sequence[NDArray[np.float64]], rng: np.random.Generator
) -> list[Values]:
    """How much faster each variant is than fp32 of the same run; nothing where that failed."""
    pairs = list(zip(variants, times, strict=True))
    references = {each.run: of for each, of in pairs if each.mode == REFERENCE}
    names = ("speedup", "speedup_interval")
    return [
        dict(zip(names, ratio(references[each.run], of, rng), strict=True))
        if each.run in references
        else {}
        for each, of in pairs
    ]


def _name(variant: Variant) -> Values:
    return {"run": str(variant.run.path), "mode": variant.mode}


def _sessions(run: Run) -> Values:
    return read_json(run.benchmarks) if run.benchmarks.exists() else {}


def _forget(run: Run) -> None:
    """Remove the sessions that no row names any more."""
    known, named = _sessions(run), {row["session"] for row in read_rows(run)}
    if known.keys() - named:
        write_json(run.benchmarks, {name: known[name] for name in known if name in named})
