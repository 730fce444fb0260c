"""Every word that more than one room spells: modes, runtimes, devices, parts, classes, metrics.

A mode, a class or a metric is added here, and nowhere else is a list of them typed again. Look the
names up when they are needed rather than when a module is imported: tests add modes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Option:
    """A choice that a quantization mode offers; a flag of `brainseg quantize`.

    Attributes:
        default: its value where none is given.
        kind: type of its values; `None` is one too where it is the default.
        help: what it does, for people.
        choices: its values, where they are names.
        low: the smallest number.
        high: the largest; that of 32 bits, which seeds of pandas have.
        telling: whether it changes what is deployed, so that tables name it.
    """

    default: Any
    kind: type
    help: str
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float = 2**32 - 1
    telling: bool = False


@dataclass(frozen=True)
class Mode:
    """A form in which a network is deployed: `model.<name>.onnx`.

    Attributes:
        name: as it is typed, and as it stands in the names of files.
        sentence: what it does to weights and activations, for people.
        options: name of each option that it takes.
        showcase: rank among the modes that stand for quantization in a figure; 0 for none.
        on_gpu: whether all of it runs on a GPU, which scores it then where there is one.
        trained: whether it is fine-tuned on the training images; it is made only where named.
    """

    name: str
    sentence: str
    options: Mapping[str, Option] = field(default_factory=dict)
    showcase: int = 0
    on_gpu: bool = False
    trained: bool = False


@dataclass(frozen=True)
class Runtime:
    """What opens an exported file and runs it.

    Attributes:
        name: as it is typed.
        devices: on which brainseg uses it.
        module: the Python module that it needs, if it is one.
        precisions: by device, other arithmetic in which it can run the weights of the fp32 file.
        usual: whether it takes part where no runtime is named.
        suffix: of the files that it takes.
        modes: that are converted for it, where it does not take the ONNX file.
    """

    name: str
    devices: tuple[str, ...]
    module: str | None
    precisions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    usual: bool = True
    suffix: str = ".onnx"
    modes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Metric:
    """A score of the test split (SPEC section 8).

    Attributes:
        label: short, for tables.
        sentence: what it is, for people.
        better: `max` or `min`.
    """

    label: str
    sentence: str
    better: str


RESEARCH_ONLY = "For research use only. Not a medical device."
"""What every output of a network for people says."""

KEEP_ASPECT = "keep_aspect"
"""Key of an exported file's metadata: whether the network was trained on padded images."""

LIKENESS = "likeness"
"""Key of an exported file's metadata: the grey levels of the validation images, as JSON."""

REFERENCE = "fp32"
"""The mode that all others are compared with."""

PAPER_MODE = "int8_dynamic"
"""The mode that computes as the paper's dynamic range quantization does."""

STATIC_MODE = "int8_static"
"""The mode whose activations are in 8 bits, too, with ranges from calibration."""

QAT_MODE = "int8_qat"
"""The mode that is fine-tuned: quantization-aware training."""

TUNING = "qat"
"""Folder of a run with what its fine-tuning leaves."""

CHECKPOINT = "checkpoint"
"""Stands for a mode where the checkpoint itself is meant, before any export."""

TRUTH = "truth"
"""Stands for a mode where the masks themselves are measured."""

FLOAT_MODES = (REFERENCE, CHECKPOINT)
"""What stands for the network itself: its plain export, or the checkpoint where there is none."""

CALIBRATIONS = ("minmax", "percentile", "entropy", "mse")
"""How static quantization takes the range of an activation from what it saw."""

MAPPINGS: dict[str, str] = {
    "symmetric": "a scale per output channel, as in int8_static",
    "asymmetric": "a range per tensor, as in the paper's Eq. 14–15",
}
"""How `brainseg robustness` rounds weights to fewer bits, and a phrase for people."""

BITS = (8, 7, 6, 5, 4)
"""Bits of the weights that `brainseg robustness` tries."""

MODES: dict[str, Mode] = {
    mode.name: mode
    for mode in (
        Mode(REFERENCE, "The network as it was trained, in 32 bits.", on_gpu=True),
        Mode("fp16", "Weights and arithmetic in 16 bits.", on_gpu=True),
        Mode(
            PAPER_MODE,
            "Weights in 8 bits; activations are quantized anew in every pass.",
            showcase=2,
        ),
        Mode(
            "int8_weights",
            "Weights stored in 8 bits, arithmetic in 32 (the paper's Eq. 14–15).",
            {
                "per_channel": Option(
                    False,
                    bool,
                    "a scale per output channel instead of the paper's one per tensor",
                    telling=True,
                )
            },
        ),
        Mode(
            STATIC_MODE,
            "Weights and activations in 8 bits; ranges are measured on validation images, so the "
            "change on validation flatters it a little.",
            {
                "method": Option(
                    "minmax",
                    str,
                    "how the ranges are measured",
                    choices=CALIBRATIONS,
                    telling=True,
                ),
                "equalize": Option(
                    False,
                    bool,
                    "scale channels between convolutions so that none takes the others' levels",
                    telling=True,
                ),
                "weight_bits": Option(
                    "auto",
                    str,
                    "of weights: 8, 7 (CPUs where 8 saturate), mixed, or auto, what this CPU needs",
                    choices=("auto", "7", "8", "mixed"),
                    telling=True,
                ),
                "images": Option(200, int, "validation images to calibrate on", low=1),
                "seed": Option(0, int, "draws those images", low=0),
                "learn_rounding": Option(
                    False, bool, "learn which weights to round up and which down", telling=True
                ),
                "correct_bias": Option(
                    False, bool, "shift biases by the mean error of each channel", telling=True
                ),
                "max_drop": Option(
                    None,
                    float,
                    "keep layers in float until mean IoU on validation loses no more than this",
                    low=0,
                    telling=True,
                ),
            },
            showcase=1,
        ),
        Mode(
            QAT_MODE,
            "As int8_static, after a fine-tuning on the training images in which weights learn to "
            "live with 8 bits.",
            {
                "epochs": Option(2, int, "passes over the training images", low=1),
                "lr": Option(1e-5, float, "the highest learning rate", low=1e-8),
            },
            trained=True,
        ),
    )
}
"""Name → mode, in the order in which they are made and shown."""

BEST = "best"
"""Typed for the threshold with the best score on the run's validation slices."""

EVERY = "all"
"""Typed for all runtimes that are installed."""

REFERENCE_RUNTIME = "onnxruntime"
"""The runtime whose fp32 row all others on a device are compared with."""

RUNTIMES: dict[str, Runtime] = {
    runtime.name: runtime
    for runtime in (
        Runtime(REFERENCE_RUNTIME, ("cpu", "cuda"), "onnxruntime", {"cuda": ("tf32",)}),
        Runtime("openvino", ("cpu",), "openvino", {"cpu": ("bf16",)}),
        Runtime("onnxruntime-web", ("cpu",), None, usual=False),
        Runtime(
            "litert",
            ("cpu",),
            "ai_edge_litert",
            usual=False,
            suffix=".tflite",
            modes=(REFERENCE, PAPER_MODE),
        ),
    )
}
"""Name → runtime, in the order in which they are shown."""

AGREEING = 32
"""Test images, spread over the split, on which predictions in another place are compared with those
that are kept, before their scores are taken over."""

DEVICES = ("cpu", "cuda")

PLANES = ("sagittal", "coronal", "axial")
"""Of slices, in the order of the axes across them: left to right, back to front, feet to head."""

PARTS = ("train", "val", "test")
"""The parts of a split."""

NEGATIVE = "notumor"
"""The class of slices without a tumour."""

TUMORS = ("glioma", "meningioma", "pituitary")
CLASSES = (*TUMORS, NEGATIVE)
"""In the order in which they are shown."""

STUDY = ("none", "ag", "se", "cbam")
"""The paper's variants, in the order of its Table I; other networks are shown after them."""

USUAL_MODEL = "resunet"
"""The model of a configuration that names none, as those of older runs."""

METRICS: dict[str, Metric] = {
    "mean_iou": Metric("Mean IoU", "Mean IoU of background and tumour", "max"),
    "tumor_iou": Metric("Tumour IoU", "IoU of tumour over all pixels", "max"),
    "dice": Metric("Dice", "Dice of images with tumour", "max"),
    "hd95_px": Metric("HD95, px", "95th percentile Hausdorff distance, pixels", "min"),
    "detection_rate": Metric(
        "Detected", "Share of images with tumour where the prediction meets it", "max"
    ),
    "false_positive_rate": Metric(
        "False positives", "Share of images without tumour with any predicted pixel", "min"
    ),
}
"""Name in files → metric (SPEC section 8)."""

MEASURES: dict[str, str] = {
    "area_share": "area, share of the head's area",
    "surface_distance": "nearest edge to the head's surface, in head diameters",
    "centre_distance": "centroid to the head's centre, in head diameters",
    "roundness": "roundness of the outline, 1 is a disc",
    "solidity": "solidity of the outline, 1 is convex",
    "sharpness": "step of intensity across the outline, share of the head's contrast",
    "ring_contrast": "rim brighter than core, share of the head's contrast",
    "heterogeneity": "standard deviation over mean of the intensities inside",
}
"""Measure of a drawn tumour (`evaluation.tumor`) → label of an axis, with its unit."""


def quantized_modes() -> list[str]:
    """The modes that are made from the fp32 file."""
    return [name for name in MODES if name != REFERENCE]


def all_modes() -> list[str]:
    """The quantized modes that `all` stands for: those that need no training."""
    return [name for name in quantized_modes() if not MODES[name].trained]


def with_reference(modes: Iterable[str]) -> list[str]:
    """`modes` with fp32 in front, each once: nothing is compared without it."""
    return list(dict.fromkeys([REFERENCE, *modes]))


def rank(name: str | None, names: Iterable[str]) -> tuple[int, str]:
    """Sort key: `names` in their order, then others by name."""
    order = list(names)
    return (order.index(name) if name in order else len(order), str(name))
