"""Post-training quantization of an exported network: one function per mode.

onnx and onnxruntime are imported where a network is quantized, so that asking which modes there
are, or whether one is up to date, takes no time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainseg.errors import InputError
from brainseg.files import is_fresh, read_json, replacing, write_json
from brainseg.rows import REFERENCE, quantization_options
from brainseg.run import Run
from brainseg.terminal import quiet

if TYPE_CHECKING:
    from onnx import ModelProto

Options = dict[str, Any]
Quantizer = Callable[["ModelProto", Run, Options], tuple["ModelProto", dict[str, Any]]]
"""The fp32 network, its run and the options to the quantized network and facts about it."""

DEFAULTS: dict[str, Options] = {
    "fp16": {},
    "int8_dynamic": {},
    "int8_weights": {"per_channel": False},
    "int8_static": {"method": "minmax", "images": 200, "seed": 0, "max_drop": None},
}
"""Post-training mode → its options: `per_channel` (one scale per output channel instead of the
paper's one range per tensor); how ranges are measured, on how many validation images, drawn with
which seed; and the loss of `mean_iou` on validation that is allowed (`None`: no search)."""


def quantize(run: Run, mode: str, given: Mapping[str, Any] | None = None) -> Path:
    """Quantize `model.fp32.onnx` of `run` into `model.<mode>.onnx`.

    `model.<mode>.json` beside it keeps the options, the calibration images and what was left in
    float.

    Args:
        run: exported; for `int8_static` with its validation slices.
        mode: a key of `MODES`.
        given: options to change; the others stay as they were last time, or are `DEFAULTS`. Those
            of other modes are ignored.

    Raises:
        InputError: there is no such mode or calibration method, the run has not been exported, or
            lacks its validation slices.
    """
    check_modes([mode])
    options = choose_options(mode, quantization_options(run, mode) | dict(given or {}))
    source = run.onnx(REFERENCE)
    if not source.exists():
        raise InputError(f"{run.path} has no {source.name}. Run `brainseg export {run.path}`.")
    import onnx

    with replacing(run.onnx(mode)) as target:
        model, facts = MODES[mode](onnx.load(source), run, options)
        _name_mode(model, mode)
        onnx.save(model, target)
    write_json(run.quantization(mode), {"mode": mode, "options": options, **facts})
    return run.onnx(mode)


def is_quantized(run: Run, mode: str, given: Mapping[str, Any] | None = None) -> bool:
    """Whether the file of `mode` is newer than the export, and was made with the given options.

    Options that are not given may be what they are: a repeated command leaves a choice alone.
    """
    file, facts = run.onnx(mode), run.quantization(mode)
    if not (run.is_current(mode) and is_fresh(facts, file)):
        return False
    asked = {key: value for key, value in (given or {}).items() if key in DEFAULTS[mode]}
    return read_json(facts)["options"].items() >= asked.items()


def choose_options(mode: str, given: Mapping[str, Any]) -> Options:
    """The options of a mode: what was given, and its defaults for the rest.

    Raises:
        InputError: the calibration method or the number of images cannot be used.
    """
    defaults = DEFAULTS[mode]
    options = {key: given.get(key, value) for key, value in defaults.items()}
    methods = ("minmax", "percentile", "entropy")
    if options.get("method", "minmax") not in methods:
        raise InputError(
            f"Unknown calibration method {options['method']}. Choose from: {', '.join(methods)}."
        )
    if options.get("images", 1) < 1:
        raise InputError(f"Expected at least 1 calibration image, found {options['images']}.")
    return options


def check_modes(modes: Sequence[str]) -> None:
    """Refuse a mode that is not one of `MODES`.

    Raises:
        InputError: it lists those that there are.
    """
    if unknown := set(modes) - MODES.keys():
        raise InputError(
            f"Unknown quantization mode {', '.join(sorted(unknown))}. "
            f"Choose from: {', '.join(MODES)}."
        )


@quiet()
def _half(model: ModelProto, run: Run, options: Options) -> tuple[ModelProto, dict[str, Any]]:
    """16-bit weights and arithmetic; input and output stay 32-bit, the file is half as large."""
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import convert_float_to_float16

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
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from brainseg.deploy.rewrites import store_weights

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source.onnx", Path(folder) / "target.onnx"
        onnx.save(model, source)
        quantize_dynamic(source, target, weight_type=QuantType.QUInt8)
        return store_weights(onnx.load(target)), {}


def _weights(model: ModelProto, run: Run, options: Options) -> tuple[ModelProto, dict[str, Any]]:
    """Weights stored in 8 bits (Eq. 14), computed from in float (Eq. 15)."""
    from brainseg.deploy.rewrites import store_weights

    return store_weights(model, per_channel=options["per_channel"]), {}


def _static(model: ModelProto, run: Run, options: Options) -> tuple[ModelProto, dict[str, Any]]:
    """8-bit convolutions with ranges from calibration on validation images (paper, II-F)."""
    from brainseg.data.parts import read_val, to_input
    from brainseg.deploy.budget import keep_within
    from brainseg.deploy.calibration import choose_calibration
    from brainseg.deploy.static import calibrate, quantize_graph, reduce_range, rewrite

    val, method, max_drop = read_val(run), options["method"], options["max_drop"]
    ids, images = choose_calibration(val, options["images"], options["seed"])
    facts: dict[str, Any] = {
        "calibration": {"part": "val", "ids": ids},
        "reduce_range": reduce_range(),
        "float_layers": [],
    }
    rewritten = rewrite(model)
    with tempfile.TemporaryDirectory() as folder:
        ranges = Path(folder) / "ranges.json"
        calibrate(rewritten, to_input(images), method, ranges)
        if max_drop is None:
            return quantize_graph(rewritten, ranges, method), facts
        quantized, found = keep_within(rewritten, ranges, method, val, max_drop)
        return quantized, facts | found


MODES: dict[str, Quantizer] = {
    "fp16": _half,
    "int8_dynamic": _dynamic,
    "int8_weights": _weights,
    "int8_static": _static,
}
"""Post-training mode → how it is made from the fp32 network."""


def _name_mode(model: ModelProto, mode: str) -> None:
    import onnx

    properties = {entry.key: entry.value for entry in model.metadata_props}
    properties.pop("parity", None)  # was measured on the fp32 file
    onnx.helper.set_model_props(model, properties | {"mode": mode})
