"""Which threshold `predict` uses, and what is told of it and of test-time augmentation."""

import logging
from functools import cache, partial
from pathlib import Path
from typing import Any

from brainseg.errors import InputError
from brainseg.run import Run
from brainseg.vocabulary import BEST

logger = logging.getLogger(__name__)


def choose_threshold(
    given: str, tta: str, model: Path, mode: str, device: str, threads: int | None
) -> float:
    """The threshold of `predict`, measured on validation slices where it, or `tta`, asks for that.

    Args:
        given: a number, or `BEST`.
        tta: way of test-time augmentation; where there is one, whether it pays is told.
        model: a run, a package or a file.
        mode: of a run.
        device: on which a run is measured.
        threads: likewise.

    Raises:
        InputError: it is no number between 0 and 1, or the best one is not known.
    """
    is_run = Run(model).state.exists()
    if given != BEST:
        from brainseg.predict.settings import parse_threshold

        chosen = parse_threshold(given)
        if tta != "none" and is_run:
            _validated(model, mode, tta, device, threads)
        return chosen
    if not is_run:
        return _packaged_threshold(model)
    return float(_validated(model, mode, tta, device, threads)["best"]["threshold"])


def _packaged_threshold(model: Path) -> float:
    from brainseg.predict.packaged import is_package, read_manifest

    known = read_manifest(model)["best_threshold"] if is_package(model) else None
    if known is None:
        raise InputError(
            f"--threshold {BEST} is measured on the validation slices of a run. {model} does not "
            "say it: give its run, or a number."
        )
    return known


def _validated(
    model: Path, mode: str, tta: str, device: str, threads: int | None
) -> dict[str, Any]:
    """What is known from validation slices, and told; measured where it is not."""
    from brainseg.lock import locked
    from brainseg.predict.segment import segment
    from brainseg.predict.settings import Settings
    from brainseg.runtime.open import open_session
    from brainseg.scoring.models import find_file
    from brainseg.scoring.validation import validate

    run = Run(model)
    ways = tuple(dict.fromkeys(("none", tta)))
    open_once = cache(partial(open_session, find_file(model, mode), device, threads))
    with locked(run.path):  # what is known already needs no network
        found = validate(
            run, mode, ways, lambda images, way: segment(open_once(), images, Settings(tta=way))
        )
    for way in ways:
        usual, best = found["tta"][way]["usual"], found["tta"][way]["best"]
        logger.info(
            "%d validation slices, tta %s: mean IoU %.4f at threshold 0.5, %.4f at %.2f; "
            "%.0f ms per slice.",
            *(found["n"], way, usual["mean_iou"], best["mean_iou"], best["threshold"]),
            found["tta"][way]["ms"],
        )
    return dict(found["tta"][tta])
