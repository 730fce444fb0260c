"""Post-training quantization of an exported network: one function per mode."""

from collections.abc import Callable, Sequence
from pathlib import Path

from brainseg.deploy.quiet import quiet
from brainseg.errors import InputError
from brainseg.files import replacing
from brainseg.run import Run


def quantize(run: Run, mode: str) -> Path:
    """Quantize `model.fp32.onnx` of `run` into `model.<mode>.onnx`.

    Raises:
        InputError: there is no such mode, or the run has not been exported.
    """
    check_modes([mode])
    source = run.onnx("fp32")
    if not source.exists():
        raise InputError(f"{run.path} has no {source.name}. Run `brainseg export {run.path}`.")
    with replacing(run.onnx(mode)) as target, quiet():
        MODES[mode](source, target)
        _name_mode(target, mode)
    return run.onnx(mode)


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


def _dynamic(source: Path, target: Path) -> None:
    """8-bit convolutions whose input is scaled anew in every pass (onnxruntime's dynamic mode).

    Transposed convolutions stay float: onnxruntime has no 8-bit kernel for them. Weights are
    unsigned, with a zero point, as in the paper's Eq. 14: on CPUs without VNNI the kernel for
    signed ones is several times slower.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(source, target, weight_type=QuantType.QUInt8)


MODES: dict[str, Callable[[Path, Path], None]] = {"int8_dynamic": _dynamic}
"""Post-training mode → function that reads an fp32 ONNX file and writes the quantized one."""


def _name_mode(path: Path, mode: str) -> None:
    import onnx

    model = onnx.load(path)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    properties.pop("parity", None)  # was measured on the fp32 file
    onnx.helper.set_model_props(model, properties | {"mode": mode})
    onnx.save(model, path)
