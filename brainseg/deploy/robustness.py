"""What a network loses when its weights are rounded to fewer bits (`robustness.json`)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import ModelProto

from brainseg.data.parts import read_test, read_val
from brainseg.deploy.opened import opened
from brainseg.deploy.rewrites import OUTPUT_AXIS, asymmetric, symmetric_per_channel
from brainseg.errors import InputError, check_known
from brainseg.evaluation.cases import THRESHOLD
from brainseg.evaluation.differences import paired_interval
from brainseg.evaluation.metrics import confusion, mean_iou, mean_ious
from brainseg.evaluation.patients import name_patients, sum_by_patient
from brainseg.files import hash_file, write_json
from brainseg.run import Run
from brainseg.scoring.record import unmasked
from brainseg.scoring.score import predict_part
from brainseg.vocabulary import BITS, MAPPINGS, REFERENCE

POSSIBLE = range(2, 9)
"""Bits of a weight: with one there is no step beside zero, and 8 are what the modes store."""

Part = Mapping[str, NDArray]
Masks = NDArray[np.bool_]


def measure_robustness(run: Run, bits: Sequence[int] = BITS) -> list[str]:
    """Score the export of `run` with weights of fewer bits, on validation and test.

    The weights of all convolutions are rounded and kept as float (fake quantization); activations
    are float. Each mapping of `MAPPINGS` at each number of bits is written as soon as it is scored,
    so that nothing is lost when this is interrupted; what is known of the same export is not scored
    again.

    `robustness.json` holds the SHA-256 of the `export`; its `exact` scores by split: the names of
    the `patients`, and their pixel `counts`, P×4; and in `rounded`, for each mapping and number of
    bits, the same of the rounded network, the `change` of mean IoU with its 95 % `interval` over
    patients, and the share of pixels that is `flipped` to the other side of the threshold.

    Args:
        run: exported.
        bits: of the weights, each from 2 to 8.

    Returns:
        What was done, a short phrase each; empty where all of it was known.

    Raises:
        InputError: the run has not been exported, or lacks its slices.
    """
    source = run.onnx(REFERENCE)
    if not source.exists():
        raise InputError(f"{run.path} has no {source.name}. Run `brainseg export {run.path}`.")
    found = _read(run, hash_file(source))
    known = {(each["mapping"], each["bits"]) for each in found["rounded"]}
    missing = [(mapping, each) for mapping in MAPPINGS for each in bits]
    missing = [each for each in missing if each not in known]
    if missing:
        model, parts = onnx.load(source), {"val": read_val(run), "test": read_test(run)}
        masks = {name: _segment(model, part, f"fp32 on {name}") for name, part in parts.items()}
        found["exact"] = {name: _score_exact(part, masks[name]) for name, part in parts.items()}
        for mapping, each in missing:
            rounded = round_weights(model, mapping, each)
            scores = {
                name: _score(part, masks[name], rounded, f"{each} bits ({mapping}) on {name}")
                for name, part in parts.items()
            }
            found["rounded"].append({"mapping": mapping, "bits": each, **scores})
            write_json(run.robustness, found)
    return [f"scored weights of {each} bits ({mapping})" for mapping, each in missing]


def parse_bits(text: str) -> list[int]:
    """Numbers of bits, typed with commas between.

    Raises:
        InputError: one is not a whole number from 2 to 8.
    """
    given = [each.strip() for each in text.split(",")]
    if wrong := [each for each in given if each not in map(str, POSSIBLE)]:
        raise InputError(
            f"{wrong[0]!r} bits cannot be used. Expected whole numbers from {POSSIBLE[0]} to "
            f"{POSSIBLE[-1]} with commas between, such as {','.join(map(str, BITS))}."
        )
    return list(dict.fromkeys(map(int, given)))


def round_weights(model: ModelProto, mapping: str, bits: int) -> ModelProto:
    """The network with the weights of all convolutions rounded to `bits`, and kept as float.

    Args:
        model: with float weights.
        mapping: a key of `MAPPINGS`.
        bits: from 2 to 8.
    """
    check_known("mapping", [mapping], MAPPINGS)
    changed = ir.from_proto(model)
    for axis, weight in _weights(changed.graph):
        values = weight.const_value.numpy()
        integers, scale, zero = (
            asymmetric(values, bits)
            if mapping == "asymmetric"
            else symmetric_per_channel(values, axis, bits)
        )
        rounded = ((integers - (0 if zero is None else zero)) * scale).astype(np.float32)
        weight.const_value = ir.tensor(rounded, name=weight.name)
    return ir.to_proto(changed)


def _weights(graph: ir.Graph) -> Iterator[tuple[int, Any]]:
    """The constant weight of each convolution once, with the axis of its output channels."""
    seen = set()
    for node in graph:
        if node.op_type not in OUTPUT_AXIS:
            continue
        weight: Any = node.inputs[1]
        if weight.const_value is not None and weight.name not in seen:
            seen.add(weight.name)
            yield OUTPUT_AXIS[node.op_type], weight


def _read(run: Run, export: str) -> dict[str, Any]:
    """What is known of this export."""
    found = run.read(run.robustness) if run.robustness.exists() else {}
    same = found.get("export") == export
    return found if same else {"export": export, "exact": {}, "rounded": []}


def _segment(model: ModelProto, part: Part, what: str) -> Masks:
    return predict_part(opened(model), part, what) >= THRESHOLD


def _count(part: Part, masks: Masks) -> tuple[list[str], NDArray[np.float64]]:
    """Names of the patients, and their pixel counts P×4."""
    known = ~unmasked(part)
    patients = part["patients"][known].tolist()
    counts = confusion(masks[known], part["masks"][known] > 0)
    return name_patients(patients), sum_by_patient(counts, patients)[0]


def _score_exact(part: Part, masks: Masks) -> dict[str, Any]:
    patients, counts = _count(part, masks)
    whole = counts.astype(int).tolist()
    return {"patients": patients, "counts": whole, "mean_iou": mean_iou(counts)}


def _score(part: Part, exact: Masks, rounded: ModelProto, what: str) -> dict[str, Any]:
    masks = _segment(rounded, part, what)
    (patients, before), (_, after) = (_count(part, each) for each in (exact, masks))
    interval = paired_interval(before, after, patients, mean_ious)
    change = float(mean_ious(after.sum(axis=0)) - mean_ious(before.sum(axis=0)))
    return {
        "counts": after.astype(int).tolist(),
        "mean_iou": mean_iou(after),
        "change": None if np.isnan(change) else change,
        "interval": None if interval is None else list(interval),
        "flipped": float(np.mean(exact != masks)),
    }
