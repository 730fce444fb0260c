"""Quantization of an exported network: one function per mode."""

import tempfile
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.transformers.float16 import convert_float_to_float16

from brainseg.data.parts import read_val, to_input
from brainseg.deploy.bias import correct_bias
from brainseg.deploy.budget import keep_within, module_of
from brainseg.deploy.calibration import choose_calibration
from brainseg.deploy.equalize import equalize
from brainseg.deploy.options import Chosen, choose_options
from brainseg.deploy.qat import METHOD, quantize_tuned, read_tuning
from brainseg.deploy.ranges import calibrate
from brainseg.deploy.rewrites import replace_constants, store_weights
from brainseg.deploy.rounding import Integers, learn_rounding
from brainseg.deploy.saturation import weights_of_seven
from brainseg.deploy.static import insert_qdq, reduce_range, rewrite
from brainseg.errors import InputError, check_known
from brainseg.files import replacing
from brainseg.run import Run
from brainseg.terminal import quiet
from brainseg.vocabulary import QAT_MODE, REFERENCE, STATIC_MODE, quantized_modes

Options = dict[str, Any]
Quantizer = Callable[[ModelProto, Run, Options], tuple[ModelProto, dict[str, Any]]]
"""The fp32 network, its run and the options to the quantized network and facts about it."""


def quantize(run: Run, mode: str, chosen: Chosen | None = None) -> Path:
    """Quantize `model.fp32.onnx` of `run` into `model.<mode>.onnx`.

    `model.<mode>.json` beside it keeps the options, the calibration images, what was left in float,
    and the hashes of what it was made from.

    Args:
        run: exported; for `int8_static` with its validation slices.
        mode: one of `quantized_modes()`.
        chosen: options; see `choose_options`.

    Raises:
        InputError: there is no such mode or option, the run has not been exported, or lacks its
            validation slices.
    """
    check_known("mode", [mode], quantized_modes())
    options = choose_options(mode, chosen or {}, run.read_made(mode).get("options"))
    source = run.onnx(REFERENCE)
    if not source.exists():
        raise InputError(f"{run.path} has no {source.name}. Run `brainseg export {run.path}`.")
    with replacing(run.onnx(mode)) as target:
        model, facts = QUANTIZERS[mode](onnx.load(source), run, options)
        properties = {entry.key: entry.value for entry in model.metadata_props}
        onnx.helper.set_model_props(model, properties | {"mode": mode})
        onnx.save(model, target)
    run.note_made(mode, options=options, **facts)
    return run.onnx(mode)


@quiet()
def _half(model: ModelProto, run: Run, options: Options) -> tuple[ModelProto, dict[str, Any]]:
    """16-bit weights and arithmetic; input and output stay 32-bit, the file is half as large."""
    half = ONNXModel(convert_float_to_float16(model, keep_io_types=True))
    half.topological_sort()  # the converter appends the cast of the input at the end
    return half.model, {}


@quiet()
def _dynamic(model: ModelProto, run: Run, options: Options) -> tuple[ModelProto, dict[str, Any]]:
    """8-bit convolutions whose input is scaled anew in every pass (onnxruntime's dynamic mode).

    Weights are unsigned: on CPUs without VNNI the kernel for signed ones is several times slower.
    Transposed convolutions have no 8-bit kernel: they compute in float, from weights that are
    stored in 8 bits.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source.onnx", Path(folder) / "target.onnx"
        onnx.save(model, source)
        quantize_dynamic(source, target, weight_type=QuantType.QUInt8)
        return store_weights(onnx.load(target)), {}


def _weights(model: ModelProto, run: Run, options: Options) -> tuple[ModelProto, dict[str, Any]]:
    """Weights stored in 8 bits (Eq. 14), computed from in float (Eq. 15)."""
    return store_weights(model, per_channel=options["per_channel"]), {}


def _static(model: ModelProto, run: Run, options: Options) -> tuple[ModelProto, dict[str, Any]]:
    """8-bit convolutions with ranges from calibration on validation images (paper, II-F)."""
    val, max_drop = read_val(run), options["max_drop"]
    ids, images = choose_calibration(val, options["images"], options["seed"])
    facts: dict[str, Any] = {
        "calibration": {"part": "val", "ids": ids},
        "float_layers": [],
    }
    rewritten, inputs = rewrite(model), to_input(images)
    if options["equalize"]:
        rewritten = equalize(rewritten, inputs)
    with tempfile.TemporaryDirectory() as folder:
        ranges = Path(folder) / "ranges.json"
        calibrate(rewritten, inputs, options["method"], ranges)
        seven = weights_of_seven(options["weight_bits"], rewritten, ranges, inputs)
        facts["seven_bits"] = [module_of(weight) for weight in seven]

        @cache
        def learned() -> Integers:
            plain = insert_qdq(rewritten, ranges, seven=seven)
            return learn_rounding(rewritten, plain, inputs, options["seed"])

        def make(keep_float: Collection[str]) -> ModelProto:
            quantized = insert_qdq(rewritten, ranges, keep_float, seven)
            if options["learn_rounding"]:
                quantized = replace_constants(quantized, learned())
            if options["correct_bias"]:
                quantized = correct_bias(rewritten, quantized, inputs)
            return store_weights(quantized, per_channel=True)

        if max_drop is None:
            return make(()), facts
        quantized, found = keep_within(model, rewritten, make, val, max_drop)
        return quantized, facts | found


def _qat(model: ModelProto, run: Run, options: Options) -> tuple[ModelProto, dict[str, Any]]:
    """As `int8_static`, with the weights and ranges of the run's fine-tuning."""
    facts = {
        "calibration": read_tuning(run).get("calibration"),
        "method": METHOD,
        "reduce_range": reduce_range(),
    }
    return quantize_tuned(rewrite(model), run), facts


QUANTIZERS: dict[str, Quantizer] = {
    "fp16": _half,
    "int8_dynamic": _dynamic,
    "int8_weights": _weights,
    STATIC_MODE: _static,
    QAT_MODE: _qat,
}
"""Mode → how it is made from the fp32 network."""
