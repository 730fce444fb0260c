"""Latency of runs, modes and runtimes, side by side in one process per device: rows and session."""

import logging
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainseg.benchmark.plan import TimingPlan
from brainseg.benchmark.timing import OtherLoad, ratio, summarize_latency, time_rounds
from brainseg.benchmark.variant import (
    Choice,
    FromFiles,
    Variant,
    choices,
    open_variant,
    spread_images,
    write_images,
)
from brainseg.data.parts import to_input
from brainseg.environment import describe, physical_cores
from brainseg.errors import InputError
from brainseg.experiment import explain_missing
from brainseg.files import read_json, write_json
from brainseg.rows import Row, read_rows, upsert_rows
from brainseg.run import Run
from brainseg.runtime.memory import peak_memory_mb
from brainseg.runtime.session import Unavailable
from brainseg.scoring.measure import measure
from brainseg.terminal import bar
from brainseg.vocabulary import REFERENCE_RUNTIME

NOISY = 0.05
"""The share of the CPU that other processes may take before a timing is called noisy."""

WARMUP = 10
"""Rounds before those that count."""

SEED = 0
"""Of orders, images and intervals."""

logger = logging.getLogger(__name__)

Values = dict[str, Any]
Images = Mapping[Run, NDArray[np.uint8]]


def benchmark(runs: Sequence[Run], plan: TimingPlan) -> dict[Run, list[Row]]:
    """Time all runs, modes and runtimes on each device; write `deploy.json`, `benchmarks.json`.

    `latency_ms` is from an array in memory to an array in memory, copies to the device included;
    `end_to_end_ms`, in a tenth of the passes and for single images only, from an image file to a
    mask of its size. What the machine lacks gives `unavailable` rows, a file that cannot be run a
    `failed` one. A run that lacks a mode, or has it of another checkpoint, gets no row of it and a
    warning.

    Args:
        runs: exported and quantized.
        plan: what is timed.

    Returns:
        The rows of each run: device by device, runtime by runtime, mode by mode.

    Raises:
        InputError: a run has no test images.
    """
    images = {run: spread_images(run) for run in runs}
    rows: dict[Run, list[Row]] = {run: [] for run in runs}
    for run in runs:
        for mode in plan.modes:
            if not run.is_current(mode):
                logger.warning("Not timed: %s", explain_missing(run, mode))
    for device in plan.devices:
        for run, own in _benchmark_on(device, runs, plan, images).items():
            upsert_rows(run, own)
            _forget_sessions(run)
            rows[run] += own
    return rows


def _benchmark_on(
    device: str, runs: Sequence[Run], plan: TimingPlan, images: Images
) -> dict[Run, list[Row]]:
    wanted = choices(runs, plan, device)
    threads = plan.threads or physical_cores()
    opened = [
        _open(choice, images[choice.run], threads, plan.batch)
        for choice in bar(wanted, f"Opening {len(wanted)} networks on {device}", plan.progress)
    ]
    variants = [each for each in opened if isinstance(each, Variant)]
    timed = iter(_time(variants, images, plan) if variants else ())
    rows: dict[Run, list[Row]] = {run: [] for run in runs}
    for choice, each in zip(wanted, opened, strict=True):
        values = next(timed) if isinstance(each, Variant) else each
        row = Row(
            mode=choice.mode,
            options=choice.options,
            runtime=choice.runtime,
            device=device,
            batch=plan.batch,
            threads=threads,
            **values,
        )
        rows[choice.run].append(row)
    return rows


def _open(choice: Choice, images: NDArray[np.uint8], threads: int, batch: int) -> Variant | Values:
    """The variant, or what its row says in its place."""
    try:
        return open_variant(choice, to_input(images), threads, batch)
    except Unavailable as error:
        return {"status": "unavailable", "reason": str(error)}
    except Exception as error:  # runtimes' errors have no base class of their own
        return {"status": "failed", "reason": str(error)}


def _time(variants: Sequence[Variant], images: Images, plan: TimingPlan) -> list[Values]:
    """The values of each variant's row; their runs get a record of the session."""
    first, device = variants[0], variants[0].choice.device
    callables = [*variants, first.twin()]
    rng, count = np.random.default_rng(SEED), max(len(each.images) for each in variants)
    started = datetime.now(UTC)
    time_rounds(callables, range(WARMUP), count, rng)
    load = OtherLoad()
    text = f"Timing {len(variants)} variants on {device}"
    rounds = bar(range(plan.passes), text, plan.progress)
    *times, twin = time_rounds(callables, rounds, count, rng) / first.batch
    other_cpu_share = load.share()
    control, interval = ratio(times[0], twin, rng)
    name = f"{device}-{started:%Y%m%dT%H%M%S.%f}"
    session = {
        "started_at": started.isoformat(timespec="seconds"),
        "device": device,
        "threads": first.session.threads,
        "batch": first.batch,
        "passes": plan.passes,
        "warmup": WARMUP,
        "seed": SEED,
        "variants": [each.choice.name() | {"got": each.session.got} for each in variants],
        "control": {**first.choice.name(), "ratio": control, "interval": interval},
        "other_cpu_share": other_cpu_share,
        "environment": describe(),
    }
    for run in {each.choice.run for each in variants}:
        write_json(run.benchmarks, _sessions(run) | {name: session})
    compared = _compare(variants, times, rng)
    from_files = _time_from_files(variants, images, plan, rng)
    shared = {"passes": plan.passes, "session": name, "noisy": other_cpu_share > NOISY}
    latencies = [{"latency_ms": summarize_latency(milliseconds)} for milliseconds in times]
    timed = [
        latency | end_to_end | speedups | shared
        for latency, end_to_end, speedups in zip(latencies, from_files, compared, strict=True)
    ]
    scoring = bar(variants, f"Scoring {len(variants)} variants", plan.progress)
    return [_measure(variant, values) for variant, values in zip(scoring, timed, strict=True)]


def _time_from_files(
    variants: Sequence[Variant], images: Images, plan: TimingPlan, rng: np.random.Generator
) -> list[Values]:
    """`end_to_end_ms` of each variant, in rounds of its own; nothing where images come in batches.

    Test images are stored at the network's size, so that resizing takes no part of it.
    """
    if plan.batch > 1:
        return [{} for _ in variants]
    with tempfile.TemporaryDirectory() as folder:
        files = {
            run: write_images(images[run], Path(folder) / str(index))
            for index, run in enumerate({each.choice.run: None for each in variants})
        }
        users = [FromFiles(each.session, files[each.choice.run]) for each in variants]
        count = max(map(len, files.values()))
        time_rounds(users, range(1), count, rng)
        text = f"Timing {len(variants)} variants from files"
        rounds = bar(range(max(1, plan.passes // 10)), text, plan.progress)
        times = time_rounds(users, rounds, count, rng)
    return [{"end_to_end_ms": summarize_latency(milliseconds)} for milliseconds in times]


def _compare(
    variants: Sequence[Variant], times: Sequence[NDArray[np.float64]], rng: np.random.Generator
) -> list[Values]:
    """How much faster each variant is than fp32 of the same run: in its runtime, in onnxruntime.

    Nothing where that fp32 took no part, or failed.
    """
    pairs = [(each.choice, of) for each, of in zip(variants, times, strict=True)]
    baselines = {(each.run, each.runtime): of for each, of in pairs if each.is_baseline}
    compared: list[Values] = []
    for choice, of in pairs:
        values: Values = {}
        own, common = (
            baselines.get((choice.run, name)) for name in (choice.runtime, REFERENCE_RUNTIME)
        )
        if own is not None:
            values["speedup"], values["speedup_interval"] = ratio(own, of, rng)
        if common is not None:
            values["speedup_vs_reference"], _ = ratio(common, of, rng)
        compared.append(values)
    return compared


def _measure(variant: Variant, timed: Values) -> Values:
    """The values of a row with what was timed; where the output is no probability, it failed."""
    choice, session = variant.choice, variant.session
    try:
        found, before = measure(choice.run, choice.mode, session, progress=False)
    except InputError as error:
        return {"status": "failed", "reason": str(error)}
    same = before and (before.threads, before.batch) == (session.threads, variant.batch)
    peak = before.peak_memory_mb if before and same else None
    peak = peak or peak_memory_mb(session, variant.batch)
    return found | timed | {"peak_memory_mb": peak}


def _sessions(run: Run) -> Values:
    return read_json(run.benchmarks) if run.benchmarks.exists() else {}


def _forget_sessions(run: Run) -> None:
    """Remove the sessions that no row names any more."""
    known, named = _sessions(run), {row.session for row in read_rows(run)}
    if known.keys() - named:
        write_json(run.benchmarks, {name: known[name] for name in known if name in named})
