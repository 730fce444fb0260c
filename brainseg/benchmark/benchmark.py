"""Latency and accuracy of runs, modes and runtimes on each device, as rows of `deploy.json`."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from brainseg.benchmark.estimate import estimate
from brainseg.benchmark.plan import TimingPlan
from brainseg.benchmark.rounds import limits
from brainseg.benchmark.session import (
    Images,
    Session,
    Values,
    references,
    time_session,
)
from brainseg.benchmark.variant import Choice, Variant, choices, open_variant, spread_images
from brainseg.data.parts import read_test, read_val, to_input
from brainseg.experiment import explain_missing
from brainseg.files import write_json
from brainseg.rows import Row, read_rows, read_sessions, upsert_rows
from brainseg.run import Run
from brainseg.runtime.memory import peak_memory_mb
from brainseg.runtime.session import Unavailable
from brainseg.scoring.measure import measure
from brainseg.scoring.score import is_settled, score_mode
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
    opened = [each for each in found.values() if isinstance(each, Variant)]
    timed = Session({}, interrupted=False)
    if opened:
        milliseconds = {
            each.choice: each.warm_up() for each in bar(opened, "Warming up", plan.progress)
        }
        found |= _score(opened, milliseconds, plan)
        ready = [each for each in opened if each is found[each.choice]]
        if ready:
            timed = time_session(ready, _most(ready, milliseconds, plan), images, plan)
    for choice in bar(wanted, "Looking at memory and placement", plan.progress):
        result = found[choice]
        if isinstance(result, Variant):
            if choice not in timed.values:
                continue  # interrupted
            result = _measure(result, timed.values[choice], look=not timed.interrupted)
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
    if timed.interrupted:
        kept = len(timed.values), len(wanted)
        logger.warning("Interrupted: the %d of %d rows that were complete are kept.", *kept)
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
        return {"status": "failed", "reason": str(error)}


def _most(
    variants: Sequence[Variant], milliseconds: Mapping[Choice, float], plan: TimingPlan
) -> list[int]:
    """The most passes of each variant, and of the first one's twin."""
    wanted = [each.choice for each in variants]
    own = [milliseconds[choice] for choice in wanted]
    return [*limits(own, references(wanted), plan.passes), plan.passes]


def _score(
    variants: Sequence[Variant], milliseconds: Mapping[Choice, float], plan: TimingPlan
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
    images = {run: _count_images(run) for run in {each.choice.run for each in variants}}
    own = [milliseconds[each.choice] for each in variants]
    to_score = [
        images[each.choice.run] if settled is False else 0
        for each, settled in zip(variants, known, strict=True)
    ]
    most = _most(variants, milliseconds, plan)
    load_ms = [each.session.load_ms for each in variants if _known_peak(each) is None]
    expected = estimate([*own, own[0]], most, [*to_score, 0], load_ms)
    logger.info("%d networks on %s: %s.", len(variants), variants[0].choice.device, expected)
    found = [
        attempt(score_mode, each, plan.progress) if settled is False else settled
        for each, settled in zip(variants, known, strict=True)
    ]
    return {
        each.choice: result
        for each, result in zip(variants, found, strict=True)
        if isinstance(result, dict)
    }


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
    choice, network = variant.choice, variant.choice.run.hash_network(variant.choice.mode)
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
