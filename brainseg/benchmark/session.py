"""One timing session: variants side by side in one process on one device, and what it found."""

import logging
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from brainseg.benchmark.plan import TimingPlan
from brainseg.benchmark.rounds import Timed, time_until_sure
from brainseg.benchmark.timing import OtherLoad, summarize_latency, time_rounds
from brainseg.benchmark.variant import Choice, FromFiles, OnDevice, Variant, write_images
from brainseg.environment import describe
from brainseg.errors import InputError
from brainseg.files import write_json
from brainseg.rows import read_sessions
from brainseg.run import Run
from brainseg.terminal import bar
from brainseg.vocabulary import REFERENCE_RUNTIME

NOISY = 0.05
"""The share of the CPU or GPU that other processes may take before a timing is called noisy."""

SEED = 0
"""Of orders, images and intervals."""

FROM_FILES = 10
"""One pass from file to mask, and one without copies, for each so many that count; at most 50."""

WARMUP, WARMUP_SECONDS = 10, 2.0
"""Passes before those that count, and what they may take per network where some are slow."""

logger = logging.getLogger(__name__)

Values = dict[str, Any]
Images = Mapping[Run, NDArray[np.uint8]]
Group = tuple[Run, int, str]


@dataclass(frozen=True)
class Timings:
    """What a timing session found.

    Attributes:
        values: what the row of each variant that was timed to its end says of times.
        interrupted: whether the user stopped it.
    """

    values: Mapping[Choice, Values]
    interrupted: bool


def references(choices: Sequence[Choice]) -> list[int]:
    """Index of what each is compared with: plain fp32 of its run and threads.

    In its own runtime, and that itself in the reference's; what finds neither, with itself.
    """
    baselines = _baselines(choices)

    def reference(index: int) -> int:
        choice = choices[index]
        runtime = REFERENCE_RUNTIME if choice.is_baseline else choice.runtime
        return baselines.get(_group(choice, runtime), index)

    return [reference(index) for index in range(len(choices))]


def warm_up(variants: Sequence[Variant], progress: bool) -> list[float]:
    """Milliseconds of a pass of each variant, in turns as they are timed later; the median.

    Each pass finds the weights of others in the caches: alone it would look faster than it is.
    """
    rng, count = np.random.default_rng(SEED), max(len(each.images) for each in variants)
    end = time.monotonic() + WARMUP_SECONDS * len(variants)
    rounds = takewhile(lambda number: number < 2 or time.monotonic() < end, range(WARMUP))
    shown = bar(rounds, f"Warming up {len(variants)} networks", progress, WARMUP)
    times = time_rounds(variants, shown, count, rng)
    return np.median(times, axis=1).tolist()


def time_session(
    variants: Sequence[Variant], most: Sequence[int], images: Images, plan: TimingPlan
) -> Timings:
    """Time variants until their ratios are sure; their runs get a record of the session.

    Args:
        variants: opened, of one device.
        most: passes of each.
        images: of each run, to be written as files.
        plan: what was asked for.
    """
    choices = [each.choice for each in variants]
    rng, started = np.random.default_rng(SEED), datetime.now(UTC)
    load, share = OtherLoad(choices[0].device), None
    twin = _open_twin(variants[0])
    timed = _time([*variants, *twin], most, plan, rng)
    more: list[Values] = [{} for _ in variants]
    interrupted = timed.interrupted
    try:
        share = load.share()
        if not interrupted:
            for found in (
                _time_from_files(variants, most, images, plan, rng),
                _time_on_device(variants, most, plan, rng),
            ):
                more = [before | after for before, after in zip(more, found, strict=True)]
    except KeyboardInterrupt:
        interrupted = True
    name = f"{choices[0].device}-{started:%Y%m%dT%H%M%S.%f}"
    if timed.complete[: len(variants)].any():
        record: Values = {
            "started_at": started.isoformat(timespec="seconds"),
            "other_cpu_share": share,
            "control": _control(variants[0].choice, timed, rng) if twin else None,
            **_describe(variants, plan),
        }
        for run in {each.run for each in choices}:
            write_json(run.benchmarks, read_sessions(run) | {name: record})
    compared = _compare(choices, timed, rng)
    shared = {"session": name, "noisy": None if share is None else share > NOISY}
    values = {}
    for index in np.flatnonzero(timed.complete[: len(variants)]).tolist():
        times = timed.of(index) / plan.batch
        own = {"latency_ms": summarize_latency(times), "passes": len(times)}
        values[choices[index]] = own | more[index] | compared[index] | shared
    return Timings(values, interrupted)


def _baselines(choices: Sequence[Choice]) -> dict[Group, int]:
    """Index of plain fp32 of each run, number of threads and runtime."""
    plain = [index for index, choice in enumerate(choices) if choice.is_baseline]
    return {_group(choices[index], choices[index].runtime): index for index in plain}


def _group(choice: Choice, runtime: str) -> Group:
    return choice.run, choice.threads, runtime


def _open_twin(first: Variant) -> list[Variant]:
    """The control: the first variant once more, where there is room for it."""
    try:
        twin = first.twin()
    except InputError as error:
        logger.warning("There is no A/A control: %s", error)
        return []
    twin(0)
    return [twin]


def _time(
    variants: Sequence[Variant], most: Sequence[int], plan: TimingPlan, rng: np.random.Generator
) -> Timed:
    """The variants, of which one more than `most` is the twin of the first."""
    text = f"Timing {len(most)} networks on {variants[0].choice.device}"
    count = max(len(each.images) for each in variants)
    compared = references([each.choice for each in variants[: len(most)]])
    twins = len(variants) - len(most)
    limits = [*most, *[plan.passes] * twins]
    with closing(cast(Any, iter(bar(range(max(limits)), text, plan.progress)))) as rounds:
        return time_until_sure(variants, [*compared, *[0] * twins], limits, rounds, count, rng)


def _describe(variants: Sequence[Variant], plan: TimingPlan) -> Values:
    """The record of the session, but for what was found."""
    return {
        "device": variants[0].choice.device,
        "threads": sorted({each.choice.threads for each in variants}),
        "batch": plan.batch,
        "passes": plan.passes,
        "seed": SEED,
        "variants": [each.choice.name() | {"got": each.session.got} for each in variants],
        "environment": describe(),
    }


def _control(first: Choice, timed: Timed, rng: np.random.Generator) -> Values:
    """How many times faster the first variant is than itself."""
    ratio, interval = timed.ratio(0, len(timed.complete) - 1, rng)
    return first.name() | {"ratio": ratio, "interval": interval}


def _compare(choices: Sequence[Choice], timed: Timed, rng: np.random.Generator) -> list[Values]:
    """How much faster each variant is than fp32 of the same run: in its runtime, in onnxruntime.

    Nothing where that fp32 took no part, or failed.
    """
    baselines = _baselines(choices)
    compared: list[Values] = []
    for index, choice in enumerate(choices):
        values: Values = {}
        own, common = (
            baselines.get(_group(choice, name)) for name in (choice.runtime, REFERENCE_RUNTIME)
        )
        if timed.complete[index] and own is not None:
            values["speedup"], values["speedup_interval"] = timed.ratio(own, index, rng)
        if timed.complete[index] and common is not None:
            values["speedup_vs_reference"], _ = timed.ratio(common, index, rng)
        compared.append(values)
    return compared


def _time_from_files(
    variants: Sequence[Variant],
    most: Sequence[int],
    images: Images,
    plan: TimingPlan,
    rng: np.random.Generator,
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
        times = _time_again(users, most, max(map(len, files.values())), "from files", plan, rng)
    return [{"end_to_end_ms": summarize_latency(each)} for each in times]


def _time_on_device(
    variants: Sequence[Variant], most: Sequence[int], plan: TimingPlan, rng: np.random.Generator
) -> list[Values]:
    """`device_ms` of each variant, in rounds of its own; nothing on a CPU."""
    if variants[0].session.run_on_device is None:
        return [{} for _ in variants]
    users = [OnDevice(each.session) for each in variants]
    times = _time_again(users, most, 1, "without copies", plan, rng)
    return [{"device_ms": summarize_latency(each / plan.batch)} for each in times]


def _time_again(
    users: Sequence[Callable[[int], Any]],
    most: Sequence[int],
    count: int,
    how: str,
    plan: TimingPlan,
    rng: np.random.Generator,
) -> list[NDArray[np.float64]]:
    """Milliseconds of each in a part of its passes, after one that does not count."""
    time_rounds(users, range(1), count, rng)
    passes = [max(1, each // FROM_FILES) for each in most]
    rounds = bar(range(max(passes)), f"Timing {len(users)} networks {how}", plan.progress)
    with closing(cast(Any, iter(rounds))) as counted:
        timed = time_until_sure(users, range(len(users)), passes, counted, count, rng)
    if timed.interrupted:
        raise KeyboardInterrupt
    return [timed.of(index) for index in range(len(users))]
