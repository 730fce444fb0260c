"""Latency and accuracy of runs, modes and runtimes on each device, as rows of `deploy.json`."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import compress
from typing import Any

from brainseg.benchmark.estimate import Work, estimate
from brainseg.benchmark.plan import TimingPlan
from brainseg.benchmark.rounds import limits
from brainseg.benchmark.session import (
    FROM_FILES,
    Images,
    Timings,
    Values,
    references,
    time_session,
    warm_up,
)
from brainseg.benchmark.variant import Choice, Variant, choices, open_variant, spread_images
from brainseg.data.parts import read_test, read_val, to_input
from brainseg.errors import in_words
from brainseg.experiment import explain_missing
from brainseg.files import write_json
from brainseg.interrupt import settle
from brainseg.row import Row
from brainseg.rows import read_rows, read_sessions, upsert_rows
from brainseg.run import Run
from brainseg.runtime.memory import peak_memory_mb
from brainseg.runtime.session import Unavailable
from brainseg.scoring.measure import measure
from brainseg.scoring.score import is_settled, place_of, score_mode
from brainseg.terminal import bar

logger = logging.getLogger(__name__)


def benchmark(runs: Sequence[Run], plan: TimingPlan) -> dict[Run, list[Row]]:
    """Time all runs, modes and runtimes on each device; write `deploy.json`, `benchmarks.json`.

    `latency_ms` is from an array in memory to an array in memory, copies to the device included;
    `device_ms` without these copies, `end_to_end_ms` from an image file to a mask of its size: both
    in a tenth of the passes, the latter for single images only. What the machine lacks gives
    `unavailable` rows, a file that cannot be run a `failed` one. A run that lacks a mode, or has it
    of another checkpoint, gets no row of it and a warning. How long it takes at most is said before
    scoring and timing begin; Ctrl-C keeps the rows that are complete.

    Args:
        runs: exported and quantized.
        plan: what is timed.

    Returns:
        The rows of each run: device by device, runtime by runtime, mode by mode.

    Raises:
        InputError: a run has no test images.
        KeyboardInterrupt: once what is complete has been written.
    """
    images = {run: spread_images(run) for run in runs}
    rows: dict[Run, list[Row]] = {run: [] for run in runs}
    for run in runs:
        for mode in plan.modes:
            if not run.is_current(mode):
                logger.warning("Not timed: %s", explain_missing(run, mode))
    for device in plan.devices:
        _benchmark_on(device, plan, images, rows)
    return rows


def _benchmark_on(
    device: str, plan: TimingPlan, images: Images, rows: Mapping[Run, list[Row]]
) -> None:
    """Add the rows of a device to those of each run; each is written once it is complete."""
    wanted = choices(list(rows), plan, device)
    found = {
        choice: _attempt(partial(_open, choice, images, plan))
        for choice in bar(wanted, f"Opening {len(wanted)} networks on {device}", plan.progress)
    }
    timings = Timings({}, interrupted=False)
    if opened := [each for each in found.values() if isinstance(each, Variant)]:
        milliseconds = warm_up(opened, plan.progress)
        most = _limit(opened, milliseconds, plan)
        found |= _score(opened, milliseconds, most, plan)
        ready = [each is found[each.choice] for each in opened]
        if any(ready):
            kept, passes = list(compress(opened, ready)), list(compress(most, ready))
            timings = time_session(kept, passes, images, plan)
    interrupted = timings.interrupted
    for choice in bar(wanted, "Looking at memory and placement", plan.progress):
        result = found[choice]
        if isinstance(result, Variant):
            if choice not in timings.values:
                continue
            work = partial(_measure, result, timings.values[choice])
            try:
                result = _attempt(partial(work, look=not interrupted))
            except KeyboardInterrupt:
                interrupted, result = True, _attempt(partial(work, look=False))
        row = Row(
            mode=choice.mode,
            options=choice.options,
            runtime=choice.runtime,
            device=device,
            batch=plan.batch,
            threads=choice.threads,
            **result,
        )
        upsert_rows(choice.run, [row])
        rows[choice.run].append(row)
    for run in rows:
        _forget_sessions(run)
    if interrupted:
        counts = len(timings.values), len(wanted)
        logger.warning("Interrupted: the %d of %d rows that were complete are kept.", *counts)
        raise KeyboardInterrupt


def _open(choice: Choice, images: Images, plan: TimingPlan) -> Variant:
    return open_variant(choice, to_input(images[choice.run]), plan.batch)


def _attempt(work: Callable[[], Any]) -> Any:
    """What `work` gives, or what a row says in its place."""
    try:
        return work()
    except Unavailable as error:
        return {"status": "unavailable", "reason": str(error)}
    except Exception as error:  # runtimes' errors have no base class of their own
        settle()
        return {"status": "failed", "reason": in_words(error)}


def _limit(
    variants: Sequence[Variant], milliseconds: Sequence[float], plan: TimingPlan
) -> list[int]:
    """The most passes of each variant."""
    compared = references([each.choice for each in variants])
    return limits(milliseconds, compared, plan.passes)


def _score(
    variants: Sequence[Variant],
    milliseconds: Sequence[float],
    most: Sequence[int],
    plan: TimingPlan,
) -> dict[Choice, Values]:
    """Score what is not known; say before how long that and the timing will take.

    Returns:
        What a row says of a variant whose output is no probability.
    """

    def attempt(work: Callable[..., Any], variant: Variant, shown: bool) -> Any:
        choice = variant.choice
        return _attempt(partial(work, choice.run, choice.mode, variant.session, progress=shown))

    text = f"Comparing the predictions of {len(variants)} networks"
    known = [attempt(is_settled, each, False) for each in bar(variants, text, plan.progress)]
    works = [
        _foresee(each, taken, passes, plan)
        for each, taken, passes in zip(variants, milliseconds, most, strict=True)
    ]
    for place, first in _first_of_each(variants, known).items():
        works[first] = replace(works[first], images=_count_images(place[0]))
    control = Work(milliseconds[0], plan.passes)
    told = len(variants), variants[0].choice.device, estimate([*works, control])
    logger.info("%d networks on %s: %s.", *told)
    found = [
        attempt(score_mode, each, plan.progress) if settled is False else settled
        for each, settled in zip(variants, known, strict=True)
    ]
    return {
        each.choice: result
        for each, result in zip(variants, found, strict=True)
        if isinstance(result, dict)
    }


def _foresee(variant: Variant, milliseconds: float, passes: int, plan: TimingPlan) -> Work:
    """What is to be done for a row, but for scoring."""
    kinds = (plan.batch == 1) + (variant.session.run_on_device is not None)
    to_look = variant.choice.device == "cpu" and _known_peak(variant) is None
    return Work(
        milliseconds,
        passes,
        others=kinds * (1 + passes // FROM_FILES),
        per_pass=plan.batch,
        load_ms=variant.session.load_ms if to_look else None,
    )


def _first_of_each(
    variants: Sequence[Variant], settled: Sequence[Any]
) -> dict[tuple[Run, str, str], int]:
    """Index of the first variant of each run, mode and place that is to be scored there."""
    first: dict[tuple[Run, str, str], int] = {}
    for index, (each, known) in enumerate(zip(variants, settled, strict=True)):
        if known is False:
            first.setdefault((each.choice.run, each.choice.mode, place_of(each.session)), index)
    return first


def _count_images(run: Run) -> int:
    return sum(len(part["ids"]) for part in (read_test(run), read_val(run)))


def _measure(variant: Variant, timed: Values, *, look: bool) -> Values:
    """The values of a row with what was timed.

    Args:
        variant: that was timed.
        timed: what was found.
        look: whether to look at its memory too, which takes a process of its own.
    """
    choice, session = variant.choice, variant.session
    found = measure(choice.run, choice.mode, session, progress=False)
    peak = _known_peak(variant)
    if look and peak is None and choice.device == "cpu":
        peak = peak_memory_mb(session, variant.batch)
    return found | timed | {"peak_memory_mb": peak}


def _known_peak(variant: Variant) -> float | None:
    """The memory that the same network took in the same place before."""
    choice = variant.choice
    network = choice.run.hash_network(choice.mode, choice.runtime)
    place = (choice.runtime, choice.device, variant.batch, choice.threads)
    same = (
        row.peak_memory_mb
        for row in read_rows(choice.run)
        if (row.network, row.place, row.precision) == (network, place, choice.precision)
    )
    return next(same, None)


def _forget_sessions(run: Run) -> None:
    """Remove the sessions that no row names any more."""
    known, named = read_sessions(run), {row.session for row in read_rows(run)}
    if known.keys() - named:
        write_json(run.benchmarks, {name: known[name] for name in known if name in named})
