"""What to keep in float, so that static quantization loses no more than was allowed.

NNCF 3.4's `quantize_with_accuracy_control` takes ONNX files too. It is not used: it quantizes by
itself, so that none of the ranges, rounding and corrections of `int8_static` would count; it takes
layers back one by one, with a pass over the validation split for each; and it knows no time.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from brainseg.benchmark.timing import ratio, time_rounds
from brainseg.data.parts import spread, to_input
from brainseg.deploy.opened import opened
from brainseg.deploy.sensitivity import logits_of, nodes_around, rank_activations
from brainseg.evaluation.cases import THRESHOLD
from brainseg.evaluation.metrics import confusion, mean_iou
from brainseg.scoring.record import unmasked
from brainseg.scoring.score import predict_part
from brainseg.terminal import bar

COUNTS = (1, 2, 4, 8, 16, 32)
"""Activations that are kept in float, with the layers around them, as far as there are as many."""

ERROR_IMAGES = 4
"""Images, spread over the validation split, on which errors of the logits are measured."""

ROUNDS = 40
"""In which all candidates are timed, in random order on the same image."""

logger = logging.getLogger(__name__)

Point = dict[str, Any]
"""A candidate: `activations` kept in float, `float_layers`, `loss`, `logit_error`, `time`,
`time_interval`, `speedup`."""


def keep_within(
    exported: ModelProto,
    model: ModelProto,
    make: Callable[[Collection[str]], ModelProto],
    val: Mapping[str, NDArray],
    max_drop: float,
) -> tuple[ModelProto, dict[str, Any]]:
    """Keep the most sensitive activations in float: the fastest candidate within the budget.

    The list of `rank_activations` is made once. Where everything in 8 bits is within the budget,
    nothing else is tried. The test split plays no part.

    Args:
        exported: the fp32 network, with which times are compared.
        model: from `static.rewrite`.
        make: names of nodes that stay float to the quantized network.
        val: the validation split: `images` and `masks`, N×H×W, and what `unmasked` takes.
        max_drop: of `mean_iou` against `model` on the validation split.

    Returns:
        The quantized network, and what was found out: `float_layers`, the number of `activations`
        that stay float, `within`, `loss`, `slowdown` (time per image over that of all in 8 bits),
        `curve` (each `Point`, the time as the same ratio and `speedup` over fp32), and the
        `sensitivity` of each activation.
    """
    reference = _mean_iou(model, val, "the float network")
    first = make(())
    loss = reference - _mean_iou(first, val, "all in 8 bits")
    if loss <= max_drop:
        facts = {"float_layers": [], "activations": 0, "within": True, "loss": loss}
        return first, facts | {"slowdown": 1.0, "curve": [], "sensitivity": {}}
    images = to_input(val["images"][spread(len(val["images"]), ERROR_IMAGES)])
    sensitivity = rank_activations(model, first, images)
    counts = [0, *(count for count in COUNTS if count <= len(sensitivity))]
    kept = [nodes_around(model, [*sensitivity][:count]) for count in counts]
    candidates = [first, *(make(sorted(nodes)) for nodes in kept[1:])]
    exact = logits_of(model, images)
    points: list[Point] = []
    for count, nodes, candidate in zip(counts, kept, candidates, strict=True):
        found = _mean_iou(candidate, val, f"{count} activations in float") if count else None
        points.append(
            {
                "activations": count,
                "float_layers": layer_names(model, nodes),
                "loss": loss if found is None else reference - found,
                "logit_error": float(np.mean((logits_of(candidate, images) - exact) ** 2)),
            }
        )
    for point, times in zip(points, _time([exported, *candidates], val["images"]), strict=True):
        point.update(times)
    chosen = choose(points, max_drop)
    best, within = points[chosen], points[chosen]["loss"] <= max_drop
    if not within:
        logger.warning(
            "With %d layers in float the validation loss is %.4f, above the budget of %.4f, and "
            "with others it is no less. Another method of calibration may help (--method).",
            *(len(best["float_layers"]), best["loss"], max_drop),
        )
    return candidates[chosen], {
        "float_layers": best["float_layers"],
        "activations": best["activations"],
        "within": within,
        "loss": best["loss"],
        "slowdown": best["time"],
        "curve": points,
        "sensitivity": sensitivity,
    }


def choose(points: Sequence[Point], max_drop: float) -> int:
    """The place of the fastest point within the budget, else of the one that loses least."""
    places = range(len(points))
    within = [place for place in places if points[place]["loss"] <= max_drop]
    if within:
        return min(within, key=lambda place: points[place]["time"])
    return min(places, key=lambda place: points[place]["loss"])


def layer_names(model: ModelProto, nodes: Collection[str]) -> list[str]:
    """The modules that convolutions come from, or their own names where no weight tells it."""
    return [
        module_of(node.input[1])
        for node in model.graph.node
        if node.op_type == "Conv" and node.name in nodes
    ]


def module_of(weight: str) -> str:
    """The module that a weight belongs to."""
    return weight.removeprefix("0.").removesuffix(".weight")


def _mean_iou(model: ModelProto, part: Mapping[str, NDArray], what: str) -> float:
    """Of the images that can be scored, as in a row."""
    known = ~unmasked(part)
    scored = {name: part[name][known] for name in ("images", "masks")}
    probabilities = predict_part(opened(model), scored, f"{what} on validation")
    return mean_iou(confusion(probabilities >= THRESHOLD, scored["masks"] > 0)) or 0.0


def _time(models: Sequence[ModelProto], slices: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """Time all side by side: what a point holds of each but the first, which is fp32."""
    rng, images = np.random.default_rng(0), to_input(slices[spread(len(slices), ROUNDS)])
    sessions = [opened(model) for model in models]
    passes = [lambda i, s=session: s.run(images[i : i + 1]) for session in sessions]
    time_rounds(passes, range(3), len(images), rng)
    rounds = bar(range(ROUNDS), "Timing what is kept in float")
    exported, first, *others = time_rounds(passes, rounds, len(images), rng)
    points = []
    for each in (first, *others):
        slower, interval = ratio(each, first, rng)
        faster, _ = ratio(exported, each, rng)
        points.append({"time": slower, "time_interval": interval, "speedup": faster})
    return points
