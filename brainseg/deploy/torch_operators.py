"""What the operators of exported networks compute, in torch, and in which forms they are known."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Given = Mapping[str, Any]
"""The attributes of a node, by name."""

DEFAULTS: dict[str, dict[str, Any]] = {
    "Conv": {"auto_pad": "NOTSET"},
    "ConvTranspose": {"auto_pad": "NOTSET", "output_shape": None},
    "MaxPool": {"auto_pad": "NOTSET", "ceil_mode": 0, "dilations": [1, 1]},
    "Resize": {"antialias": 0, "axes": None, "keep_aspect_ratio_policy": "stretch"},
}
"""Attributes that are known with ONNX's default alone."""

PLACE, ROUNDING = "coordinate_transformation_mode", "nearest_mode"


def name_unknown(kind: str, given: Given, inputs: Sequence[str]) -> str | None:
    """What of a node torch would not compute as ONNX says, by name; `None` where it does.

    Args:
        kind: of operator.
        given: its attributes.
        inputs: names of its inputs, empty for one that is left out.
    """
    if kind not in OPERATORS:
        return kind
    usual = DEFAULTS.get(kind, {})
    other = {name: given[name] for name in usual if name in given and not _is(given, name, usual)}
    if kind == "Resize" and _interpolation(given) is None:
        other |= {name: given[name] for name in ("mode", PLACE, ROUNDING) if name in given}
        return f"Resize ({_told(other) or 'half_pixel'})"
    if kind.startswith("Reduce") and not any(inputs[1:]):
        return f"{kind} (without axes as an input)"
    return f"{kind} ({_told(other)})" if other else None


def _is(given: Given, name: str, usual: Given) -> bool:
    value = given[name]
    return bool((list(value) if isinstance(usual[name], list) else value) == usual[name])


def _told(attributes: Given) -> str:
    return ", ".join(f"{name}={value}" for name, value in attributes.items())


def _interpolation(given: Given) -> str | None:
    """Torch's name of how an image is enlarged, `None` where it does not do so."""
    mode, place = given.get("mode", "nearest"), given.get(PLACE, "half_pixel")
    if (mode, place) == ("linear", "half_pixel"):
        return "bilinear"
    floors = (place, given.get(ROUNDING)) == ("asymmetric", "floor")
    return "nearest" if mode == "nearest" and floors else None


def _enlarge(
    given: Given, image: Tensor, _: Any, scales: Tensor | None = None, *size: Tensor
) -> Tensor:
    shape = size[0].tolist()[2:] if size else None
    factors = None if size or scales is None else scales.tolist()[2:]
    mode = _interpolation(given) or "nearest"
    return functional.interpolate(image, shape, factors, mode=mode)


def _convolve(given: Given, image: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    top, left, bottom, right = given.get("pads", (0, 0, 0, 0))
    if (top, left) == (bottom, right):
        padding = (top, left)
    else:
        image, padding = functional.pad(image, (left, right, top, bottom)), (0, 0)
    return functional.conv2d(
        image,
        weight,
        bias,
        tuple(given.get("strides", (1, 1))),
        padding,
        tuple(given.get("dilations", (1, 1))),
        given.get("group", 1),
    )


def _convolve_transposed(
    given: Given, image: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    top, left, bottom, right = given.get("pads", (0, 0, 0, 0))
    whole = functional.conv_transpose2d(
        image,
        weight,
        bias,
        tuple(given.get("strides", (1, 1))),
        0,
        tuple(given.get("output_padding", (0, 0))),
        given.get("group", 1),
        tuple(given.get("dilations", (1, 1))),
    )
    return functional.pad(whole, (-left, -right, -top, -bottom))  # ONNX pads the input of the other


def _max_pool(given: Given, image: Tensor) -> Tensor:
    top, left, bottom, right = given.get("pads", (0, 0, 0, 0))
    padded = functional.pad(image, (left, right, top, bottom), value=-torch.inf)
    return functional.max_pool2d(
        padded, tuple(given["kernel_shape"]), tuple(given.get("strides", (1, 1)))
    )


def _depth_to_space(given: Given, image: Tensor) -> Tensor:
    """Pixels first (DCR): torch's pixel_shuffle takes them the other way round (CRD)."""
    size = given["blocksize"]
    if given.get("mode", "DCR") == "DCR":
        count, channels, height, width = image.shape
        turned = image.reshape(count, size * size, channels // size**2, height, width)
        image = turned.transpose(1, 2).reshape(image.shape)
    return functional.pixel_shuffle(image, size)


OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Conv": _convolve,
    "ConvTranspose": _convolve_transposed,
    "MaxPool": _max_pool,
    "DepthToSpace": _depth_to_space,
    "Resize": _enlarge,
    "Relu": lambda _, x: functional.relu(x),
    "LeakyRelu": lambda given, x: functional.leaky_relu(x, given.get("alpha", 0.01)),
    "Sigmoid": lambda _, x: x.sigmoid(),
    "Add": lambda _, x, y: x + y,
    "Sub": lambda _, x, y: x - y,
    "Mul": lambda _, x, y: x * y,
    "Div": lambda _, x, y: x / y,
    "Concat": lambda given, *parts: torch.cat(parts, given["axis"]),
    "GlobalAveragePool": lambda _, x: x.mean((2, 3), keepdim=True),
    "GlobalMaxPool": lambda _, x: x.amax((2, 3), keepdim=True),
    "ReduceMean": lambda given, x, axes: x.mean(axes.tolist(), bool(given.get("keepdims", 1))),
    "ReduceMax": lambda given, x, axes: x.amax(axes.tolist(), bool(given.get("keepdims", 1))),
}
"""Operator of ONNX → its attributes and inputs to its output."""
