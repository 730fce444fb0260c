"""Latency of runs, modes and runtimes, side by side in one process per device: rows and session."""

import logging
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
from brainseg.deploy.quantize import check_modes
from brainseg.environment import describe, physical_cores
from brainseg.errors import InputError
from brainseg.files import read_json, write_json
from brainseg.rows import RUNTIME, Row, new_row, read_rows, upsert_rows, with_reference
from brainseg.run import Run
from brainseg.runtime.available import (
    DEVICES,
    Unavailable,
    check_devices,
    check_runtimes,
    runtimes_on,
)
from brainseg.runtime.memory import peak_memory_mb
from brainseg.scoring.models import explain_missing
from brainseg.scoring.score import Cases, measure
from brainseg.terminal import bar

NOISY = 0.05
"""The share of the CPU that other processes may take before a timing is called noisy."""

logger = logging.getLogger(__name__)

Values = dict[str, Any]
Images = Mapping[Run, NDArray[np.uint8]]


def benchmark(
    runs: Sequence[Run],
    modes: Sequence[str],
    devices: Sequence[str] = DEVICES,
    passes: int = 500,
    *,
    runtimes: Sequence[str] | None = None,
    threads: int | None = None,
    batch: int = 1,
    warmup: int = 10,
    seed: int = 0,
    progress: bool = True,
) -> dict[Run, list[Row]]:
    """Time all runs, modes and runtimes on each device; write `deploy.json`, `benchmarks.json`.

    fp32 is always among the modes: it is what the others are compared with. `latency_ms` is from
    an array in memory to an array in memory, copies to the device included; `end_to_end_ms`, in a
    tenth of the passes and for single images only, from an image file to a mask of its size. What
    is not there gives `unavailable` rows, a file that cannot be run a `failed` one. A run that
    lacks a mode, or has it of another network, gets no row of it and a warning.

    Args:
        runs: exported and quantized in `modes`.
        modes: `fp32` and post-training modes.
        devices: `cpu`, `cuda`.
        passes: rounds that count, at least 1.
        runtimes: `onnxruntime`, `openvino`; `None` is all that is installed and knows the device.
        threads: of the CPU; the physical cores where it is `None`.
        batch: images per pass; latency is per image.
        warmup: rounds before those.
        seed: of orders, images and intervals.
        progress: whether to draw bars, where standard error is a terminal.

    Returns:
        The rows of each run: device by device, runtime by runtime, mode by mode.

    Raises:
        InputError: a mode, device or runtime has another name, there is no pass, or a run has no
            test images.
    """
    check_modes(with_reference(modes)[1:])
    check_devices(devices)
    check_runtimes(runtimes or ())
    if passes < 1:
        raise InputError(f"Expected at least 1 timed pass, found {passes}: set passes to 500.")
    threads = threads or physical_cores()
    images = {run: spread_images(run) for run in runs}
    rows: dict[Run, list[Row]] = {run: [] for run in runs}
    modes = with_reference(modes)
    for run in runs:
        for mode in modes:
            if not run.is_current(mode):
                logger.warning("Not timed: %s", explain_missing(run, mode))
    for device in devices:
        wanted = choices(runs, modes, device, runtimes_on(device, runtimes))
        opened = [
            _open(choice, images[choice.run], threads, batch)
            for choice in bar(wanted, f"Opening {len(wanted)} networks on {device}", progress)
        ]
        variants = [each for each in opened if isinstance(each, Variant)]
        timed = iter(_time(variants, images, passes, warmup, seed, progress) if variants else ())
        values = [next(timed) if isinstance(each, Variant) else each for each in opened]
        found: dict[Run, list[Row]] = defaultdict(list)
        for choice, each in zip(wanted, values, strict=True):
            found[choice.run].append(_row(choice, threads, batch, each))
        for run, own in found.items():
            upsert_rows(run, own)
            _forget(run)
            rows[run] += own
    return rows


def _open(choice: Choice, images: NDArray[np.uint8], threads: int, batch: int) -> Variant | Values:
    """The variant, or what its row says in its place."""
    try:
        return open_variant(choice, to_input(images), threads, batch)
    except Unavailable as error:
        return {"status": "unavailable", "reason": str(error)}
    except Exception as error:  # runtimes' errors have no base class of their own
        return {"status": "failed", "reason": str(error)}


def _row(choice: Choice, threads: int, batch: int, values: Values) -> Row:
    return new_row(
        choice.mode,
        device=choice.device,
        threads=threads,
        batch=batch,
        runtime=choice.runtime,
        options=choice.options,
        **values,
    )


def _time(
    variants: Sequence[Variant],
    images: Images,
    passes: int,
    warmup: int,
    seed: int,
    progress: bool,
) -> list[Values]:
    """The values of each variant's row; their runs get a record of the session."""
    first, device = variants[0], variants[0].choice.device
    callables = [*variants, first.twin()]
    rng, count = np.random.default_rng(seed), max(len(each.images) for each in variants)
    started = datetime.now(UTC)
    time_rounds(callables, range(warmup), count, rng)
    load = OtherLoad()
    rounds = bar(range(passes), f"Timing {len(variants)} variants on {device}", progress)
    *times, twin = time_rounds(callables, rounds, count, rng) / first.batch
    other_cpu_share = load.share()
    control, interval = ratio(times[0], twin, rng)
    name = f"{device}-{started:%Y%m%dT%H%M%S.%f}"
    session = {
        "started_at": started.isoformat(timespec="seconds"),
        "device": device,
        "threads": first.session.threads,
        "batch": first.batch,
        "passes": passes,
        "warmup": warmup,
        "seed": seed,
        "variants": [each.choice.name() | {"got": each.session.got} for each in variants],
        "control": {**first.choice.name(), "ratio": control, "interval": interval},
        "other_cpu_share": other_cpu_share,
        "environment": describe(),
    }
    for run in {each.choice.run for each in variants}:
        write_json(run.benchmarks, _sessions(run) | {name: session})
    compared = _compare(variants, times, rng)
    from_files = _time_from_files(variants, images, max(1, passes // 10), rng, progress)
    shared = {"passes": passes, "session": name, "noisy": other_cpu_share > NOISY}
    latencies = [{"latency_ms": summarize_latency(milliseconds)} for milliseconds in times]
    timed = [
        latency | end_to_end | speedups | shared
        for latency, end_to_end, speedups in zip(latencies, from_files, compared, strict=True)
    ]
    return _measure(variants, timed, progress)


def _time_from_files(
    variants: Sequence[Variant],
    images: Images,
    passes: int,
    rng: np.random.Generator,
    progress: bool,
) -> list[Values]:
    """`end_to_end_ms` of each variant, in rounds of its own; nothing where images come in batches.

    Test images are stored at the network's size, so that resizing takes no part of it.
    """
    if variants[0].batch > 1:
        return [{} for _ in variants]
    with tempfile.TemporaryDirectory() as folder:
        files = {
            run: write_images(images[run], Path(folder) / str(index))
            for index, run in enumerate({each.choice.run: None for each in variants})
        }
        users = [FromFiles(each.session, files[each.choice.run]) for each in variants]
        count = max(map(len, files.values()))
        time_rounds(users, range(1), count, rng)
        rounds = bar(range(passes), f"Timing {len(variants)} variants from files", progress)
        times = time_rounds(users, rounds, count, rng)
    return [{"end_to_end_ms": summarize_latency(milliseconds)} for milliseconds in times]


def _compare(
    variants: Sequence[Variant], times: Sequence[NDArray[np.float64]], rng: np.random.Generator
) -> list[Values]:
    """How much faster each variant is than fp32 of the same run: in its runtime, in onnxruntime.

    Nothing where that fp32 took no part, or failed.
    """
    pairs = [(each.choice, of) for each, of in zip(variants, times, strict=True)]
    references = {(each.run, each.runtime): of for each, of in pairs if each.is_reference}
    compared: list[Values] = []
    for choice, of in pairs:
        values: Values = {}
        own, common = (references.get((choice.run, name)) for name in (choice.runtime, RUNTIME))
        if own is not None:
            values["speedup"], values["speedup_interval"] = ratio(own, of, rng)
        if common is not None:
            values["speedup_vs_reference"], _ = ratio(common, of, rng)
        compared.append(values)
    return compared


def _measure(variants: Sequence[Variant], timed: Sequence[Values], progress: bool) -> list[Values]:
    """The values of each row with what was timed; where the output is no probability, it failed.

    Scores are compared with fp32 of the same run and runtime, which comes before the others.
    """
    references: dict[tuple[Run, str], Cases] = {}
    measured: list[Values] = []
    scoring = bar(variants, f"Scoring {len(variants)} variants", progress)
    for variant, values in zip(scoring, timed, strict=True):
        choice, session = variant.choice, variant.session
        place = choice.run, choice.runtime
        try:
            found, cases = measure(
                choice.run, choice.mode, session, references.get(place), progress=False
            )
        except InputError as error:
            measured.append({"status": "failed", "reason": str(error)})
            continue
        if choice.is_reference:
            references[place] = cases
        peak = {"peak_memory_mb": peak_memory_mb(session, variant.batch)}
        measured.append(found | peak | values)
    return measured


def _sessions(run: Run) -> Values:
    return read_json(run.benchmarks) if run.benchmarks.exists() else {}


def _forget(run: Run) -> None:
    """Remove the sessions that no row names any more."""
    known, named = _sessions(run), {row["session"] for row in read_rows(run)}
    if known.keys() - named:
        write_json(run.benchmarks, {name: known[name] for name in known if name in named})
